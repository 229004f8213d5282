//! The board of a handler: whether it works, for whoever wants to look.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;

/// Why, at most, in bytes: what a destination answers is not ours.
const ERROR_BYTES_MAX: usize = 300;

/// Whether a handler works: the handler writes, anyone may read.
#[derive(Debug, Clone, Default)]
pub struct HandlerBoard(Arc<Mutex<HandlerState>>);

/// How a handler is.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct HandlerState {
    /// `ok` or `failing`.
    pub state: &'static str,
    /// Since when, RFC 3339.
    pub since: String,
    /// What was in the way when it last failed.
    pub last_error: Option<String>,
}

impl Default for HandlerState {
    fn default() -> Self {
        Self { state: OK, since: clock::rfc3339(clock::wall_ms()), last_error: None }
    }
}

const OK: &str = "ok";
const FAILING: &str = "failing";

impl HandlerBoard {
    /// How it is.
    #[must_use]
    pub fn read(&self) -> HandlerState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It works; says whether that is news.
    pub(super) fn is_ok(&self) -> bool {
        self.turn(OK, None)
    }

    /// It fails; says whether that is news.
    pub(super) fn is_failing(&self, why: &str) -> bool {
        let end = why.floor_char_boundary(ERROR_BYTES_MAX);
        self.turn(FAILING, why.get(..end))
    }

    fn turn(&self, state: &'static str, error: Option<&str>) -> bool {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = error {
            board.last_error = Some(error.to_owned());
        }
        let news = board.state != state;
        if news {
            board.state = state;
            board.since = clock::rfc3339(clock::wall_ms());
        }
        news
    }
}
