//! `[[client.source]]`: what turns events into packets.
//!
//! Decides which kinds of sources there are and what each needs. Never listens.

mod directory;
mod exec;
mod host;
mod timer;

use std::ops::RangeInclusive;
use std::time::Duration;

use paquebot_actors::source::{
    DIRECTORY_FIELDS, DirectoryOptions, ExecOptions, HOST_FIELDS, HTTP_FIELDS, HostOptions,
    LineOptions, LongLine, STDIN_FIELDS, StartAt, TAIL_FIELDS, TIMER_FIELDS, Ticks,
};

use super::address::{Listen, Reach};
use super::claim::Claim;
use super::kind;
use super::loading::Reported;
use super::policy::read_ttl;
use super::problem::Fault;
use super::recipe::Recipe;
use super::section::Section;

const MAX_CONNECTIONS_DEFAULT: u64 = 1024;
/// A process can't hold more files open than this on any system we know.
pub(super) const MAX_CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
/// The kinds of sources.
const KINDS: [(&str, Word); 7] = [
    ("http", Word::Http),
    ("tail", Word::Tail),
    ("directory", Word::Directory),
    ("exec", Word::Exec),
    ("timer", Word::Timer),
    ("host", Word::Host),
    ("stdin", Word::Stdin),
];
const START_AT: [(&str, StartAt); 2] = [("end", StartAt::End), ("beginning", StartAt::Beginning)];
const LONG_LINE: [(&str, LongLine); 2] =
    [("split", LongLine::Split), ("truncate", LongLine::Truncate)];
const LINE_BYTES_DEFAULT: u64 = 256 * 1024;

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, unique among sources: the key of its position and a label.
    pub name: String,
    /// What kind it is, with what that kind needs.
    pub kind: SourceKind,
    /// For how long its packets are worth sending, unless an event says otherwise.
    pub ttl: Option<Duration>,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A request is the event.
    Http {
        /// Where it listens.
        listen: Listen,
        /// The most connections at a time.
        max_connections: u64,
        /// The web pages' origins that may send, in lower case; requests of others are refused.
        allow_origins: Vec<String>,
        /// How requests become packets, where the config says something of that.
        recipe: Option<Recipe>,
    },
    /// A line that is written to a file is the event.
    Tail {
        /// Patterns of paths, absolute; never empty.
        paths: Vec<String>,
        /// Where a file is begun that was never seen before.
        start_at: StartAt,
        /// How lines are cut.
        lines: LineOptions,
        /// How they become packets.
        recipe: Recipe,
    },
    /// A file that is put into a directory is the event.
    Directory {
        /// Which files, and what becomes of them.
        options: DirectoryOptions,
        /// How they become packets.
        recipe: Recipe,
    },
    /// What a command writes is the event.
    Exec {
        /// Which command, and what of its output.
        options: ExecOptions,
        /// How it becomes packets.
        recipe: Recipe,
    },
    /// That some time has passed, or has come, is the event.
    Timer {
        /// When.
        ticks: Ticks,
        /// The data of its packet: a text or a template.
        data: String,
        /// How it becomes a packet.
        recipe: Recipe,
    },
    /// That a figure of this machine passes a threshold, or comes back, is the event.
    Host {
        /// Which figure, and when.
        options: HostOptions,
        /// How it becomes a packet.
        recipe: Recipe,
    },
    /// A line on the standard input is the event.
    Stdin {
        /// How lines are cut.
        lines: LineOptions,
        /// How they become packets.
        recipe: Recipe,
    },
}

impl SourceKind {
    /// What the events of such a source offer to `when` and to templates.
    #[must_use]
    pub fn fields(&self) -> &'static [&'static str] {
        match self {
            Self::Http { .. } => &HTTP_FIELDS,
            Self::Tail { .. } => &TAIL_FIELDS,
            Self::Directory { .. } => &DIRECTORY_FIELDS,
            Self::Exec { options, .. } => exec::fields_of(&options.output),
            Self::Timer { .. } => &TIMER_FIELDS,
            Self::Host { .. } => &HOST_FIELDS,
            Self::Stdin { .. } => &STDIN_FIELDS,
        }
    }
}

/// The word in the file for a kind.
#[derive(Debug, Clone, Copy)]
enum Word {
    Http,
    Tail,
    Directory,
    Exec,
    Timer,
    Host,
    Stdin,
}

impl Source {
    /// Reads every source of a client.
    pub(super) fn read_all(
        client: &mut Section<'_>,
        packet_bytes_max: u64,
    ) -> Result<Vec<Self>, Reported> {
        let sources: Vec<_> = client
            .tables("source")?
            .into_iter()
            .map(|section| Self::read(section, packet_bytes_max))
            .collect();
        sources.into_iter().collect()
    }

    fn read(mut section: Section<'_>, packet_bytes_max: u64) -> Result<Self, Reported> {
        let name = section.required("name", &kind::name());
        if let Ok(name) = &name {
            section.claim("name", Claim::SourceName(name.clone()));
        }
        // Without a kind nothing is known about the other keys, so they are not complained about.
        let named = name.as_deref().ok();
        let kind = match section.required("kind", &kind::choice(&KINDS, &[]))? {
            Word::Http => read_http(&mut section, named),
            Word::Tail => read_tail(&mut section, named, packet_bytes_max),
            Word::Directory => directory::read(&mut section, named),
            Word::Exec => exec::read(&mut section, named, packet_bytes_max),
            Word::Timer => timer::read(&mut section, named),
            Word::Host => host::read(&mut section, named),
            Word::Stdin => read_stdin(&mut section, named, packet_bytes_max),
        };
        let ttl = read_ttl(&mut section);
        section.finish();
        Ok(Self { name: name?, kind: kind?, ttl: ttl? })
    }
}

fn read_http(section: &mut Section<'_>, name: Option<&str>) -> Result<SourceKind, Reported> {
    let listen = section.required("listen", &kind::listen(section.loading().folder()));
    if let Ok(listen) = &listen {
        section.claim("listen", Claim::Listen(listen.clone()));
        if listen.reach() == Reach::Network {
            let fault = Fault::OpenSource { listen: listen.to_string() };
            let help = "`token_file` is not available in this version: listen on 127.0.0.1 or \
                        unix:/path, or keep others out with a firewall";
            section.warn("listen", fault, help);
        }
    }
    let max_connections =
        section.optional("max_connections", &kind::count(MAX_CONNECTIONS), MAX_CONNECTIONS_DEFAULT);
    let origins = section.list("allow_origins", &kind::origin());
    for origin in &origins.items {
        let source = name.unwrap_or_default().to_owned();
        section.claim_item(origin, Claim::Origin { source, origin: origin.value.clone() });
    }
    section.without_effect("target", "each request names the target of its packet");
    section.unavailable(&["token_file", "tls"]);
    let recipe = Recipe::read_of_requests(section, name, &HTTP_FIELDS);
    Ok(SourceKind::Http {
        listen: listen?,
        max_connections: max_connections?,
        allow_origins: origins.into_values()?,
        recipe: recipe?,
    })
}

fn read_tail(
    section: &mut Section<'_>,
    name: Option<&str>,
    packet_bytes_max: u64,
) -> Result<SourceKind, Reported> {
    let paths = section.full_list("paths", &kind::glob(section.loading().folder()));
    let start_at = section.optional("start_at", &kind::choice(&START_AT, &[]), StartAt::End);
    let lines = read_lines(section, packet_bytes_max);
    let recipe = Recipe::read(section, name, &TAIL_FIELDS);
    Ok(SourceKind::Tail {
        paths: paths.into_values()?,
        start_at: start_at?,
        lines: lines?,
        recipe: recipe?,
    })
}

fn read_stdin(
    section: &mut Section<'_>,
    name: Option<&str>,
    packet_bytes_max: u64,
) -> Result<SourceKind, Reported> {
    section.claim("kind", Claim::StandardInput);
    let lines = read_lines(section, packet_bytes_max);
    let recipe = Recipe::read(section, name, &STDIN_FIELDS);
    Ok(SourceKind::Stdin { lines: lines?, recipe: recipe? })
}

/// How lines are cut: none may be longer than a packet.
fn read_lines(section: &mut Section<'_>, packet_bytes_max: u64) -> Result<LineOptions, Reported> {
    let most = packet_bytes_max.max(1);
    let usual = LINE_BYTES_DEFAULT.min(most);
    let bytes_max = section.optional("max_line_bytes", &kind::size(1..=most), usual);
    let long = section.optional("long_line", &kind::choice(&LONG_LINE, &[]), LongLine::Split);
    let bytes_max = usize::try_from(bytes_max?).unwrap_or(usize::MAX);
    Ok(LineOptions { bytes_max, long: long? })
}
