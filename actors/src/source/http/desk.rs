//! The desk of the source `http`: what one packet and many have in common, who may post, to whom,
//! how much, and what the answer looks like.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use paquebot_protocol::TargetId;
use paquebot_store::Stored;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::problem::Problem;
use crate::meters::SourceMeters;
use crate::permit::Permit;
use crate::source::outlet::Outlet;
use crate::source::recipe::Kitchen;

/// How long a body may take: nobody keeps room in memory for longer.
const BODY_MAX: Duration = Duration::from_secs(30);

/// The default and the longest wait for `?wait=handled`.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// What the routes share.
#[derive(Debug)]
pub(super) struct Desk {
    /// The source's name: its keys are its own.
    pub(super) source: String,
    pub(super) outlet: Outlet,
    pub(super) meters: SourceMeters,
    pub(super) allow_origins: Vec<String>,
    /// How events become packets, where that is not all said by the request.
    pub(super) kitchen: Option<Kitchen>,
    pub(super) ttl: Option<Duration>,
    pub(super) parse_duration: fn(&str) -> Result<Duration, String>,
    /// Ends every wait for "handled" when the source stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// What a request says behind `?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    wait: Option<String>,
    timeout: Option<String>,
}

impl Desk {
    /// Reads a body of at most `limit` bytes, with room in memory for it first: what a request says
    /// of its length, or else the limit.
    pub(super) async fn body(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<(Bytes, Permit), Problem> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let announced = announced.and_then(|length| length.parse().ok()).unwrap_or(limit);
        let permit = self.outlet.reserve(announced.min(limit)).await;
        let permit = permit.map_err(|error| Problem::from(&error))?;
        match tokio::time::timeout(BODY_MAX, to_bytes(body, limit)).await {
            Ok(Ok(bytes)) => Ok((bytes, permit)),
            Ok(Err(error)) if error.to_string().contains("length limit") => {
                Err(Problem::too_large(format!("expected at most {limit} bytes, found more")))
            }
            Ok(Err(error)) => Err(Problem::bad_request(format!("the body ended early: {error}"))),
            Err(_) => {
                let detail = format!(
                    "expected the whole body within {} s, found a part",
                    BODY_MAX.as_secs()
                );
                Err(Problem::bad_request(detail))
            }
        }
    }

    /// Browsers send `Origin`: a page that someone happens to visit must not store packets.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get("origin") else { return Ok(()) };
        let known = |allowed: &String| origin.as_bytes() == allowed.as_bytes();
        if self.allow_origins.iter().any(known) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("origin {origin:?} is not in allow_origins")))
    }

    /// A target that a source may use.
    pub(super) fn target(&self, text: &str) -> Result<TargetId, Problem> {
        let target: TargetId =
            text.parse().map_err(|error| Problem::bad_target(format!("target: {error}")))?;
        if target.is_reserved() {
            let detail = format!("target: expected no '$' at the start, found {text:?}");
            return Err(Problem::bad_target(detail));
        }
        Ok(target)
    }

    /// A time to live as a sender writes it, in milliseconds.
    pub(super) fn ttl(&self, text: &str) -> Result<u64, Problem> {
        let found = |error| Problem::bad_request(format!("time to live: {error}"));
        let ttl = (self.parse_duration)(text).map_err(found)?;
        if ttl.is_zero() {
            return Err(found(format!("expected more than nothing, found {text:?}")));
        }
        Ok(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }

    /// For how long a packet is worth sending whose sender does not say: the source's word counts
    /// before that of the policy for its target.
    pub(super) fn ttl_of(&self, target: &TargetId) -> Option<u64> {
        let ttl = self.ttl.or_else(|| self.outlet.ttl_of(target))?;
        Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deadline(&self, query: &WaitQuery) -> Result<Option<Duration>, Problem> {
        match query.wait.as_deref() {
            None | Some("stored") => return Ok(None),
            Some("handled") => {}
            Some(other) => {
                let detail = format!("wait: expected stored or handled, found {other:?}");
                return Err(Problem::bad_request(detail));
            }
        }
        let Some(text) = &query.timeout else { return Ok(Some(WAIT_DEFAULT)) };
        let found = |error| Problem::bad_request(format!("timeout: {error}"));
        let timeout = (self.parse_duration)(text).map_err(found)?;
        if timeout > WAIT_MAX {
            return Err(found(format!(
                "expected at most {} min, found {text:?}",
                WAIT_MAX.as_secs() / 60
            )));
        }
        Ok(Some(timeout))
    }
}

/// The answer for one packet.
#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    /// Nothing when it is none of the events that become packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    state: &'static str,
}

impl Receipt {
    pub(super) fn new(stored: &Stored, at: u64, target: &TargetId, state: &'static str) -> Self {
        let id = stored.id_at(at);
        let (id, number) = (Some(id.to_string()), Some(id.number.0));
        Self { id, target: target.to_string(), number, state }
    }

    /// The answer for an event that becomes no packet.
    pub(super) fn filtered(target: &TargetId) -> Self {
        Self { id: None, target: target.to_string(), number: None, state: "filtered" }
    }
}
