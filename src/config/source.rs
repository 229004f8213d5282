//! `[[client.source]]`: what turns events into packets.
//!
//! Decides which kinds of sources there are and what each needs. Never listens.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::address::{Listen, Reach};
use super::claim::Claim;
use super::kind;
use super::loading::Reported;
use super::policy::read_ttl;
use super::problem::Fault;
use super::section::Section;

const MAX_CONNECTIONS_DEFAULT: u64 = 1024;
/// A process can't hold more files open than this on any system we know.
pub(super) const MAX_CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
/// The kinds of this version, and those of later ones.
const KINDS: [(&str, Word); 1] = [("http", Word::Http)];
const KINDS_LATER: [&str; 6] = ["tail", "directory", "exec", "timer", "host", "stdin"];

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
    },
}

/// The word in the file for a kind.
#[derive(Debug, Clone, Copy)]
enum Word {
    Http,
}

impl Source {
    /// Reads every source of a client.
    pub(super) fn read_all(client: &mut Section<'_>) -> Result<Vec<Self>, Reported> {
        let sources: Vec<_> = client.tables("source")?.into_iter().map(Self::read).collect();
        sources.into_iter().collect()
    }

    fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let name = section.required("name", &kind::name());
        if let Ok(name) = &name {
            section.claim("name", Claim::SourceName(name.clone()));
        }
        // Without a kind nothing is known about the other keys, so they are not complained about.
        let kind = match section.required("kind", &kind::choice(&KINDS, &KINDS_LATER))? {
            Word::Http => read_http(&mut section, name.as_deref().ok()),
        };
        let ttl = read_ttl(&mut section);
        section.unavailable(&["when", "headers", "content_type"]);
        section.unavailable(&["on_error", "target_on_error"]);
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
    Ok(SourceKind::Http {
        listen: listen?,
        max_connections: max_connections?,
        allow_origins: origins.into_values()?,
    })
}
