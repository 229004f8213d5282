//! `[[server.handler]]`: what processes packets.
//!
//! Decides which kinds of handlers there are, what each needs, and that no two want the same
//! packets or the same file. Never decides who gets a packet: that is the law's route.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use paquebot_protocol::TargetPattern;

use super::claim::Claim;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::retry::RetryPolicy;
use super::section::Section;

const RETRY_DEFAULT: RetryPolicy =
    RetryPolicy { initial: Duration::from_secs(1), max: Duration::from_mins(5) };
/// A packet that waits a month between two tries has been forgotten.
const RETRY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(30 * 24);
/// The kinds of this version, and those of later ones.
const KINDS: [(&str, Word); 2] = [("file", Word::File), ("discard", Word::Discard)];
const KINDS_LATER: [&str; 3] = ["http", "exec", "log"];
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
        /// The file, absolute.
        path: PathBuf,
        /// How a packet is written.
        format: FileFormat,
    },
    /// Keeps nothing.
    Discard,
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
#[derive(Debug, Clone, Copy)]
enum Word {
    File,
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
        let retry = section
            .table("retry")
            .and_then(|retry| RetryPolicy::read(retry, RETRY_DEFAULT, RETRY, &["give_up_after"]));
        // Without a kind nothing is known about the other keys, so they are not complained about.
        let kind = match section.required("kind", &kind::choice(&KINDS, &KINDS_LATER))? {
            Word::File => read_file(&mut section),
            Word::Discard => Ok(read_discard(&mut section)),
        };
        section.unavailable(&["timeout", "concurrency"]);
        section.finish();
        Ok(Self { name: name?, targets: targets.into_values()?, kind: kind?, retry: retry? })
    }
}

fn read_file(section: &mut Section<'_>) -> Result<HandlerKind, Reported> {
    let path = section.required("path", &kind::plain_path(section.loading().folder()));
    if let Ok(path) = &path {
        section.claim("path", Claim::File(path.clone()));
    }
    let format = section.optional("format", &kind::choice(&FORMATS, &[]), FileFormat::Ndjson);
    section.unavailable(&["rotate"]);
    Ok(HandlerKind::File { path: path?, format: format? })
}

fn read_discard(section: &mut Section<'_>) -> HandlerKind {
    for key in ["path", "format", "rotate"] {
        section.without_effect(key, "a handler of kind \"discard\" writes nothing");
    }
    HandlerKind::Discard
}
