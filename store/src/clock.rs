//! The only place in this room that reads a clock, and only to measure how long something took or
//! waited. Times that mean something to a user come in with what is recorded.

use std::time::Instant;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the room's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
