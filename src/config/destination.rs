//! Where a handler of kind `http` sends packets, and how it asks.
//!
//! Decides what may be configured and what the handler says itself. Never connects.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};

use super::entry::Entry;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Who has not answered within a day has forgotten the question.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
const CONCURRENCY_DEFAULT: u64 = 8;
/// Each takes a connection, or a process and its pipes, and this process may open 20,000 files.
const CONCURRENCY: RangeInclusive<u64> = 1..=1_000;
/// Answers by which a destination says that this packet will never do.
const REJECTED_STATUSES_DEFAULT: [u16; 4] = [400, 413, 415, 422];
/// What lies below means "handled" or "not yet".
const STATUS: RangeInclusive<u64> = 300..=599;
const HEADERS: &str = "a table of headers, each a name and a text";
/// What the handler says itself, packet by packet.
const OWN_HEADERS: [&str; 4] = ["content-type", "idempotency-key", "traceparent", "content-length"];
const OWN_PREFIX: &str = "paquebot-";
/// What belongs to a connection and not to what is sent over it.
const OF_THE_CONNECTION: [&str; 6] =
    ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Where packets are POSTed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The URL, without TLS.
    pub url: Uri,
    /// Headers that go with every packet; their values are kept out of logs.
    pub headers: HeaderMap,
    /// Answers that make a packet a dead letter.
    pub rejected_statuses: Vec<u16>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many packets may be under way at once, each of another lane.
    pub concurrency: u64,
}

impl Destination {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Reported> {
        let url = section.required("url", &kind::plain_url());
        let headers = section.pairs("headers", HEADERS, read_header).into_values();
        let statuses = if section.has("rejected_statuses") {
            section.list("rejected_statuses", &kind::count(STATUS)).into_values()
        } else {
            section.list("rejected_statuses", &kind::count(STATUS));
            Ok(REJECTED_STATUSES_DEFAULT.map(u64::from).to_vec())
        };
        let timeout = read_timeout(section);
        let concurrency = read_concurrency(section);
        section.unavailable(&["tls"]);
        let in_range = |status: u64| u16::try_from(status).ok();
        Ok(Self {
            url: url?,
            headers: headers?.into_iter().collect(),
            rejected_statuses: statuses?.into_iter().filter_map(in_range).collect(),
            timeout: timeout?,
            concurrency: concurrency?,
        })
    }
}

/// How long whoever is asked may take.
pub(super) fn read_timeout(section: &mut Section<'_>) -> Result<Duration, Reported> {
    section.optional("timeout", &kind::duration(TIMEOUT), TIMEOUT_DEFAULT)
}

/// How many are asked at once.
pub(super) fn read_concurrency(section: &mut Section<'_>) -> Result<u64, Reported> {
    section.optional("concurrency", &kind::count(CONCURRENCY), CONCURRENCY_DEFAULT)
}

fn read_header(name: &str, entry: &Entry<'_>) -> Result<(HeaderName, HeaderValue), Fault> {
    let plain = name.to_ascii_lowercase();
    if OWN_HEADERS.contains(&plain.as_str()) || plain.starts_with(OWN_PREFIX) {
        let expected = "a header that the handler does not send itself".to_owned();
        return Err(Fault::Value { expected, found: name.to_owned() });
    }
    let header = HeaderName::from_bytes(plain.as_bytes()).ok();
    let Some(header) = header.filter(|_| !OF_THE_CONNECTION.contains(&plain.as_str())) else {
        let expected = "the name of a header that goes with a request".to_owned();
        return Err(Fault::Value { expected, found: format!("{name:?}") });
    };
    let value = entry.text().and_then(|text| HeaderValue::from_str(text).ok());
    let mut value = value.ok_or_else(|| entry.unexpected("a text in visible ASCII"))?;
    value.set_sensitive(true);
    Ok((header, value))
}
