//! Patience: whether somebody still waits for packets to be stored, and for room.
//!
//! Whoever hands packets over and then gives up says so here, so that nothing is stored later of which
//! an error was told. What is on its way into a commit is stored all the same: the answer says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Room is waited for.
const WAITS: u8 = 0;

/// What finds no room at once is refused.
const RAN_OUT: u8 = 1;

/// Nobody hears the answer.
const GONE: u8 = 2;

/// Whether somebody still waits; shared by all that was handed over together.
#[derive(Debug, Clone, Default)]
pub struct Patience(Arc<AtomicU8>);

impl Patience {
    /// From here on packets that find no room are refused; [`Spool::hurry`](super::Spool::hurry) tells
    /// those that wait already.
    pub fn run_out(&self) {
        self.0.fetch_max(RAN_OUT, Ordering::AcqRel);
    }

    /// From here on nothing is stored of which nobody would hear;
    /// [`Spool::hurry`](super::Spool::hurry) tells those that wait already.
    pub fn leave(&self) {
        self.0.fetch_max(GONE, Ordering::AcqRel);
    }

    /// Whether room is still waited for.
    pub(super) fn waits(&self) -> bool {
        self.0.load(Ordering::Acquire) == WAITS
    }

    /// Whether nobody would hear the answer.
    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }
}
