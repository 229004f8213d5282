//! Tries: a request is made again under its key until its answer is heard, or the time is up.
//!
//! The key makes that safe: whatever became of an earlier try, nothing is stored twice. What a client
//! refuses is not tried again; that it broke off, or is being started again, is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use paquebot_actors::clock;
use serde_json::Value;

use super::problem;
use crate::config::duration_in_words;
use crate::door::{Answer, Door};
use crate::exit::{Code, Failure};

/// How long a client may take beyond the time that it is given.
const MARGIN: Duration = Duration::from_secs(10);

/// The longest time that a client lets a request wait.
const ASKED_MAX: Duration = Duration::from_secs(5 * 60);

/// Between tries.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The tries of one request.
pub(super) struct Tries<'d> {
    door: &'d Door,
    deadline: Option<Instant>,
    pause: Duration,
    /// Whether "stored" is not enough.
    for_handled: bool,
    /// Whether a client may have had it.
    reached: bool,
}

impl<'d> Tries<'d> {
    /// Tries at `door` for as long as `timeout`, until it is stored, or handled.
    pub(super) fn new(door: &'d Door, timeout: Duration, for_handled: bool) -> Self {
        let deadline = clock::instant().checked_add(timeout);
        Self { door, deadline, pause: PAUSE_MIN, for_handled, reached: false }
    }

    /// Makes the request that `request` gives for the time that it may take, until there is an answer
    /// that no other try would change.
    pub(super) fn ask(
        &mut self,
        request: impl Fn(&str) -> Result<Request<Full<Bytes>>, Failure>,
    ) -> Result<Answer, Failure> {
        loop {
            let left = self.left();
            let asked = left.min(ASKED_MAX);
            let began = clock::instant();
            let request = request(&duration_in_words(asked).replace(' ', "%20"))?;
            let failure = match self.door.ask(request, asked.saturating_add(MARGIN)) {
                Ok(answer) => {
                    self.reached = true;
                    if answer.status == StatusCode::ACCEPTED && self.for_handled {
                        // The client let it wait no longer, or is stopping.
                        if self.pause() {
                            continue;
                        }
                        return Ok(answer);
                    }
                    let has_waited = asked < left && began.elapsed() >= asked;
                    if answer.status == StatusCode::TOO_MANY_REQUESTS && has_waited {
                        continue;
                    }
                    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                    if !passes(&body) {
                        return Ok(answer);
                    }
                    problem(self.door, answer.status.as_u16(), &body)
                }
                Err(failure) if failure.code == Code::Unavailable && !self.reached => {
                    return Err(failure);
                }
                Err(failure) if [Code::Unavailable, Code::Io].contains(&failure.code) => failure,
                Err(failure) => return Err(failure),
            };
            self.reached = true;
            if !self.pause() {
                let message = format!("{}: whether it is stored is not known", failure.message);
                return Err(Failure::new(Code::TryLater, message));
            }
        }
    }

    /// Waits a little; whether there is time for another try.
    pub(super) fn pause(&mut self) -> bool {
        if self.left() <= self.pause {
            return false;
        }
        std::thread::sleep(self.pause);
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        true
    }

    fn left(&self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(clock::instant());
        self.deadline.map_or(Duration::MAX, left)
    }
}

/// Whether a problem is one that passes by itself within a moment: a store heals, a client is started
/// again.
pub(super) fn passes(problem: &Value) -> bool {
    let code = problem.get("type").and_then(Value::as_str).and_then(|urn| urn.rsplit(':').next());
    matches!(code, Some("store-failed" | "stopping"))
}
