//! What became of the dead letters that were to be replayed.

use paquebot_protocol::PacketId;
use serde::Serialize;

/// So many problems are told in full.
const PROBLEMS_MAX: usize = 10;

/// What became of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Replayed {
    /// They are dead letters no more.
    pub handled: u64,
    /// They stay: their handler will not have them.
    pub rejected: u64,
    /// They stay: their handler did not manage this time.
    pub failed: u64,
    /// They stay, and were not tried.
    pub left: u64,
    /// Some of what was in the way.
    pub problems: Vec<Problem>,
}

/// Why a letter stays.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// The packet.
    pub id: String,
    /// Why.
    pub reason: String,
}

impl Replayed {
    /// How many were tried.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.handled + self.rejected + self.failed
    }

    /// How many stay.
    #[must_use]
    pub fn still_dead(&self) -> u64 {
        self.rejected + self.failed + self.left
    }

    /// Takes note of what was in the way, as far as there is room.
    pub(super) fn problem(&mut self, id: PacketId, reason: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { id: id.to_string(), reason: reason.to_owned() });
        }
    }
}
