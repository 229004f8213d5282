//! `[[server.handler]]`: what processes packets.
//!
//! Decides which kinds of handlers there are, what each needs, and that no two want the same
//! packets or the same file. Never decides who gets a packet: that is the law's route.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use paquebot_protocol::TargetPattern;

use super::claim::Claim;
use super::destination::Destination;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
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
/// The kinds of this version, and those of later ones.
/// Some give up within seconds, none after longer than this.
const GIVE_UP_AFTER: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_hours(3650 * 24);
const KINDS: [(&str, Word); 3] =
    [("file", Word::File), ("http", Word::Http), ("discard", Word::Discard)];
const KINDS_LATER: [&str; 2] = ["exec", "log"];
/// What the handlers that write to a disk, or nowhere, can do nothing with.
const OF_A_DESTINATION: [&str; 5] =
    ["url", "headers", "rejected_statuses", "timeout", "concurrency"];
const NOT_ASKED: &str = "only a handler of kind \"http\" asks somebody else";
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
        /// When the next file begins; never, if not set.
        rotate: Option<Rotate>,
    },
    /// POSTs each packet somewhere, at least once.
    Http(Box<Destination>),
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
    Http,
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
        let retry = section.table("retry");
        // Without a kind nothing is known about the other keys, so they are not complained about.
        let word = section.required("kind", &kind::choice(&KINDS, &KINDS_LATER))?;
        let kind = match word {
            Word::File => read_file(&mut section),
            Word::Http => read_http(&mut section),
            Word::Discard => Ok(read_discard(&mut section)),
        };
        let giving_up = match word {
            Word::Http => GivingUp::Within(GIVE_UP_AFTER),
            Word::File => GivingUp::WithoutEffect("a file takes each packet once there is room"),
            Word::Discard => GivingUp::WithoutEffect("a handler of kind \"discard\" cannot fail"),
        };
        let retry =
            retry.and_then(|retry| RetryPolicy::read(retry, RETRY_DEFAULT, RETRY, giving_up));
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
    for key in OF_A_DESTINATION {
        section.without_effect(key, NOT_ASKED);
    }
    let is_set = section.has("rotate");
    let rotate = section.table("rotate");
    let rotate = rotate.and_then(|rotate| is_set.then(|| Rotate::read(rotate)).transpose());
    Ok(HandlerKind::File { path: path?, format: format?, rotate: rotate? })
}

fn read_http(section: &mut Section<'_>) -> Result<HandlerKind, Reported> {
    for key in ["path", "format", "rotate"] {
        section.without_effect(key, "a handler of kind \"http\" writes no file");
    }
    Destination::read(section).map(|destination| HandlerKind::Http(Box::new(destination)))
}

fn read_discard(section: &mut Section<'_>) -> HandlerKind {
    for key in ["path", "format", "rotate"] {
        section.without_effect(key, "a handler of kind \"discard\" writes nothing");
    }
    for key in OF_A_DESTINATION {
        section.without_effect(key, NOT_ASKED);
    }
    HandlerKind::Discard
}
