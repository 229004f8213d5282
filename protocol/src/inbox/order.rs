//! What the inbox orders, what it says of what arrives, and what it does not put up with.

use crate::chain::Chain;
use crate::frame::Ack;
use crate::id::{Lane, Number};

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Order {
    /// Take the lease of the lane and look up its cursor; report `Inbox::acquired`.
    Acquire {
        /// The lane.
        lane: Lane,
        /// The lowest number that the client still holds.
        first: Number,
    },
    /// Say `lane_opened`.
    Opened {
        /// The lane.
        lane: Lane,
        /// The opening that it answers.
        generation: u32,
        /// Where the lane goes on.
        cursor: Number,
        /// The chain there, if the ledger knows the lane.
        chain: Option<Chain>,
        /// How many numbers were passed by skips without having been handled.
        skipped: u64,
    },
    /// Hand the packets up to `through` to the router; report `Inbox::settled` or
    /// `Inbox::failed`.
    Dispatch {
        /// The lane.
        lane: Lane,
        /// The cursor that the outcome moves on from.
        cursor: Number,
        /// The last packet.
        through: Number,
        /// The chain there.
        chain: Chain,
    },
    /// Move the cursor over packets that will never come; report `Inbox::settled`.
    Pass {
        /// The lane.
        lane: Lane,
        /// The cursor that this moves on from.
        cursor: Number,
        /// The last of them.
        through: Number,
        /// The chain there.
        chain: Chain,
    },
    /// Say `ack`.
    Ack(Ack),
}

/// What became of a run or a skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Taken whole.
    Taken,
    /// Taken from the number after this one on; the shell cuts the rest off.
    TakenAfter(Number),
    /// Belongs to an opening that has ended, or was handled before: nothing to do.
    Ignored,
}

/// The client said something that it must not say; the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A lane that is not open.
    #[error("lane {lane} is not open")]
    NotOpen {
        /// The lane.
        lane: Lane,
    },
    /// Numbers are missing that no skip declared.
    #[error("lane {lane}: expected number {expected}, found {found}")]
    Gap {
        /// The lane.
        lane: Lane,
        /// The number that goes on.
        expected: Number,
        /// The number that came.
        found: Number,
    },
    /// The packets do not go on from the history that the ledger knows.
    #[error("lane {lane}: expected chain {expected} before number {first}, found another history")]
    History {
        /// The lane.
        lane: Lane,
        /// The number that goes on.
        first: Number,
        /// The chain before it.
        expected: Chain,
    },
    /// A lane that is retired while there is work in it.
    #[error("lane {lane} is retired before its last packet was acknowledged")]
    RetiredEarly {
        /// The lane.
        lane: Lane,
    },
    /// More lanes than allowed.
    #[error("expected at most {max} lanes, found one more")]
    TooManyLanes {
        /// The limit.
        max: usize,
    },
    /// More bytes in a lane than its window.
    #[error("lane {lane}: expected at most {max} bytes in flight, found {found}")]
    Window {
        /// The lane.
        lane: Lane,
        /// The window.
        max: u64,
        /// What arrived.
        found: u64,
    },
    /// A lane changed its target.
    #[error("lane {lane}: expected the target it was opened with, found another")]
    Target {
        /// The lane.
        lane: Lane,
    },
}
