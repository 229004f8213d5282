//! `[[server.handler]]`: what processes packets.
//!
//! Decides which kinds of handlers there are, what each needs, and that no two want the same
//! packets or the same file. Never decides who gets a packet: that is the law's route.

use std::ops::RangeInclusive;
use std::time::Duration;

use paquebot_actors::handler::PathTemplate;
use paquebot_protocol::TargetPattern;

use super::claim::Claim;
use super::destination::Destination;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::program::Program;
use super::retry::{GivingUp, RetryPolicy};
use super::rotate::Rotate;
use super::section::Section;

const RETRY_DEFAULT: RetryPolicy = RetryPolicy {
    initial: Duration::from_secs(1),
    max: Duration::from_mins(5),
    give_up_after: None,
};
/// A packet that waits a month between two tries has been forgotten.
const RETRY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(30 * 24);
/// Some give up within seconds, none after longer than this.
const GIVE_UP_AFTER: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_hours(3650 * 24);
const KINDS: [(&str, Word); 5] = [
    ("file", Word::File),
    ("http", Word::Http),
    ("exec", Word::Exec),
    ("log", Word::Log),
    ("discard", Word::Discard),
];
/// What only handlers of one kind, or of some, can do something with.
const OF_OTHERS: [(&[Word], &[&str], &str); 5] = [
    (&[Word::File], &["path", "format", "rotate"], "only a handler of kind \"file\" writes a file"),
    (
        &[Word::Http],
        &["url", "headers", "rejected_statuses"],
        "only a handler of kind \"http\" asks a server",
    ),
    (&[Word::Log], &["level"], "only a handler of kind \"log\" logs packets"),
    (&[Word::Exec], &["command", "mode"], "only a handler of kind \"exec\" starts a program"),
    (
        &[Word::Http, Word::Exec],
        &["timeout", "concurrency"],
        "only a handler of kind \"http\" or \"exec\" asks somebody else",
    ),
];
const LEVELS: [(&str, LogLevel); 5] = [
    ("trace", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
];
const FORMATS: [(&str, FileFormat); 2] = [("ndjson", FileFormat::Ndjson), ("raw", FileFormat::Raw)];

/// A handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Its name, unique among handlers: a label and a name for commands.
    pub name: String,
    /// The targets whose packets it takes, unless another handler's pattern is more specific;
    /// never empty.
    pub targets: Vec<TargetPattern>,
    /// What kind it is, with what that kind needs.
    pub kind: HandlerKind,
    /// The waits between two tries of a packet that it could not handle.
    pub retry: RetryPolicy,
}

/// The kinds of handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerKind {
    /// Writes each packet to a file, once.
    File {
        /// The file, absolute; in a template there are places to fill in.
        path: PathTemplate,
        /// How a packet is written.
        format: FileFormat,
        /// When the next file begins; never, if not set.
        rotate: Option<Rotate>,
    },
    /// POSTs each packet somewhere, at least once.
    Http(Box<Destination>),
    /// Asks a program what becomes of each packet, at least once.
    Exec(Program),
    /// Shows each packet in the server's own log, at least once.
    Log {
        /// As how important.
        level: LogLevel,
    },
    /// Keeps nothing.
    Discard,
}

impl HandlerKind {
    /// The kind as the config spells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Http(_) => "http",
            Self::Exec(_) => "exec",
            Self::Log { .. } => "log",
            Self::Discard => "discard",
        }
    }
}

/// How important a line of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogLevel {
    /// For whoever looks for one thing.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What is shown if nobody says otherwise.
    Info,
    /// Something to look at.
    Warn,
    /// Something to act upon.
    Error,
}

/// How a packet is written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// One line of JSON for each packet.
    Ndjson,
    /// The packet's data alone.
    Raw,
}

/// The word in the file for a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    File,
    Http,
    Exec,
    Log,
    Discard,
}

impl Handler {
    /// Reads every handler of a server, and warns if there is none.
    pub(super) fn read_all(server: &mut Section<'_>) -> Result<Vec<Self>, Reported> {
        let sections = server.tables("handler")?;
        if sections.is_empty() {
            server.warn("handler", Fault::NoHandler, "add a [[server.handler]]");
        }
        let handlers: Vec<_> = sections.into_iter().map(Self::read).collect();
        handlers.into_iter().collect()
    }

    fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let name = section.required("name", &kind::name());
        if let Ok(name) = &name {
            section.claim("name", Claim::HandlerName(name.clone()));
        }
        let targets = section.full_list("targets", &kind::pattern());
        for target in &targets.items {
            section.claim_item(target, Claim::Pattern(target.value.clone()));
        }
        // Without a kind nothing is known about the other keys, so they are not complained about.
        let word = section.required("kind", &kind::choice(&KINDS, &[]))?;
        for (words, keys, reason) in OF_OTHERS {
            for key in keys.iter().filter(|_| !words.contains(&word)) {
                section.without_effect(key, reason);
            }
        }
        let kind = match word {
            Word::File => read_file(&mut section),
            Word::Http => Destination::read(&mut section)
                .map(|destination| HandlerKind::Http(Box::new(destination))),
            Word::Exec => Program::read(&mut section).map(HandlerKind::Exec),
            Word::Log => section
                .optional("level", &kind::choice(&LEVELS, &[]), LogLevel::Info)
                .map(|level| HandlerKind::Log { level }),
            Word::Discard => Ok(HandlerKind::Discard),
        };
        let retry = match word {
            Word::Http | Word::Exec => read_retry(&mut section, GivingUp::Within(GIVE_UP_AFTER)),
            Word::File => {
                let reason = "a file takes each packet once there is room";
                read_retry(&mut section, GivingUp::WithoutEffect(reason))
            }
            Word::Log | Word::Discard => {
                let reason = "a handler of kind \"log\" or \"discard\" cannot fail";
                section.without_effect("retry", reason);
                Ok(RETRY_DEFAULT)
            }
        };
        section.finish();
        Ok(Self { name: name?, targets: targets.into_values()?, kind: kind?, retry: retry? })
    }
}

fn read_retry(section: &mut Section<'_>, giving_up: GivingUp) -> Result<RetryPolicy, Reported> {
    let retry = section.table("retry");
    retry.and_then(|retry| RetryPolicy::read(retry, RETRY_DEFAULT, RETRY, giving_up))
}

fn read_file(section: &mut Section<'_>) -> Result<HandlerKind, Reported> {
    let path = section.required("path", &kind::path_template(section.loading().folder()));
    if let Ok(path) = &path {
        section.claim("path", Claim::File(path.as_str().into()));
    }
    let format = section.optional("format", &kind::choice(&FORMATS, &[]), FileFormat::Ndjson);
    let is_set = section.has("rotate");
    let rotate = section.table("rotate");
    let rotate = rotate.and_then(|rotate| is_set.then(|| Rotate::read(rotate)).transpose());
    Ok(HandlerKind::File { path: path?, format: format?, rotate: rotate? })
}
