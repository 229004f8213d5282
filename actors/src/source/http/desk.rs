//! The desk of the source `http`: what one packet and many have in common, who may post, to whom,
//! how much, and what the answer looks like.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures_util::future::join_all;
use paquebot_protocol::TargetId;
use paquebot_store::{AppendError, Part, Stored};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::Sleep;

use super::problem::Problem;
use crate::meters::SourceMeters;
use crate::permit::Permit;
use crate::receipts::{End, Outcome};
use crate::source::outlet::Outlet;
use crate::source::recipe::Kitchen;

/// How long a body may take: nobody keeps room in memory for longer.
const BODY_MAX: Duration = Duration::from_secs(30);

/// The default and the longest time that a request may wait, for room and for "handled".
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
    /// Ends every wait for room and for "handled" when the source stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// What a request says behind `?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    wait: Option<String>,
    timeout: Option<String>,
}

/// What a request waits for, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// Whether it waits until packets have their final outcome.
    pub(super) for_handled: bool,
    /// How long at most, for room and for that together.
    pub(super) timeout: Duration,
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

    /// What a request waits for, as it says behind `?`.
    pub(super) fn wait(&self, query: &WaitQuery) -> Result<Wait, Problem> {
        let for_handled = match query.wait.as_deref() {
            None | Some("stored") => false,
            Some("handled") => true,
            Some(other) => {
                let detail = format!("wait: expected stored or handled, found {other:?}");
                return Err(Problem::bad_request(detail));
            }
        };
        let Some(text) = &query.timeout else {
            return Ok(Wait { for_handled, timeout: WAIT_DEFAULT });
        };
        let found = |error| Problem::bad_request(format!("timeout: {error}"));
        let timeout = (self.parse_duration)(text).map_err(found)?;
        if timeout > WAIT_MAX {
            return Err(found(format!(
                "expected at most {} min, found {text:?}",
                WAIT_MAX.as_secs() / 60
            )));
        }
        Ok(Wait { for_handled, timeout })
    }

    /// Resolves when the time of a request is over, or the source stops.
    async fn time_is_up(&self, timer: Pin<&mut Sleep>) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = timer => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Hands packets over, several lots by themselves but at once, so that they share a commit; waits
    /// until each is stored or refused, and for room until the time of the request is up.
    pub(super) async fn store(
        &self,
        lots: Vec<(Vec<Part>, Permit)>,
        mut timer: Pin<&mut Sleep>,
    ) -> Vec<Result<Vec<Stored>, Problem>> {
        let requester = self.outlet.requester();
        let store = |(parts, permit)| self.outlet.store(parts, permit, &requester, &self.meters);
        let storing: Vec<_> = lots.into_iter().map(store).collect();
        let storing = join_all(storing);
        let stored = requester.wait(storing, self.time_is_up(timer.as_mut())).await;
        let refused = |error| self.refused(&error, &timer);
        stored.into_iter().map(|stored| stored.map_err(refused)).collect()
    }

    /// Why packets were not stored.
    fn refused(&self, error: &AppendError, timer: &Sleep) -> Problem {
        let is_full = matches!(error, AppendError::Full { .. } | AppendError::LaneFull { .. });
        if is_full && *self.stopping.borrow() {
            return Problem::from(&AppendError::Closed);
        }
        let problem = Problem::from(error);
        if is_full && timer.is_elapsed() { problem.and("none came in time") } else { problem }
    }

    /// How packets ended, if that is heard before the time of the request is up.
    pub(super) async fn outcome(
        &self,
        ended: oneshot::Receiver<Outcome>,
        timer: Pin<&mut Sleep>,
    ) -> Option<Outcome> {
        tokio::select! {
            biased;
            outcome = ended => outcome.ok(),
            () = self.time_is_up(timer) => None,
        }
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
    pub(super) state: &'static str,
}

impl Receipt {
    /// The answer for the packet at a place of what was stored: it says "stored" when nothing more is
    /// known.
    pub(super) fn new(
        stored: &Stored,
        at: u64,
        target: &TargetId,
        outcome: Option<&Outcome>,
    ) -> Result<Self, Problem> {
        let id = stored.id_at(at);
        let state = match outcome.map(|outcome| outcome.of(id.number)) {
            None | Some(End::Unknown) => "stored",
            Some(End::Handled) => "handled",
            Some(End::DeadLettered) => return Err(Problem::dead_lettered(id)),
            Some(End::Skipped(reason)) => return Err(Problem::skipped(id, reason)),
        };
        let (id, number) = (Some(id.to_string()), Some(id.number.0));
        Ok(Self { id, target: target.to_string(), number, state })
    }

    /// The answer for an event that becomes no packet.
    pub(super) fn filtered(target: &TargetId) -> Self {
        Self { id: None, target: target.to_string(), number: None, state: "filtered" }
    }
}
