//! What the outbox orders, and what it does not put up with.

use crate::chain::Chain;
use crate::id::{Lane, Number};

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Order {
    /// Say `open_lane`; the shell knows the target.
    Open {
        /// The lane.
        lane: Lane,
        /// The generation to open it with.
        generation: u32,
        /// The lowest number still held.
        first: Number,
        /// The lowest number never assigned.
        next: Number,
    },
    /// Ask the store what it holds of the lane's chain at `cursor`, and whether that proves the
    /// ledger's (`Held::proves`). Report `Outbox::proven`, or give up this connection and re-key.
    Prove {
        /// The lane.
        lane: Lane,
        /// The generation that the answer belongs to.
        generation: u32,
        /// Where the ledger goes on.
        cursor: Number,
        /// The ledger's chain there.
        chain: Option<Chain>,
    },
    /// Send one run or skip that begins at `from`, and report `Outbox::sent`; or, when it has to be read
    /// first, `Outbox::loading` and then `Outbox::loaded`.
    Send {
        /// The lane.
        lane: Lane,
        /// The generation to send it under.
        generation: u32,
        /// The first packet.
        from: Number,
        /// How many packets may go.
        packets_max: u64,
    },
    /// Drop everything up to `through`: it is acknowledged.
    Drop {
        /// The lane.
        lane: Lane,
        /// The last packet.
        through: Number,
        /// How many numbers the server has passed by skips without handling them, over the lane's
        /// life: it says what became of packets that may have been on their way when their
        /// tombstone was written (R8).
        skipped: u64,
    },
}

/// The server said something that it must not say; the connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An answer about a lane that was not asked for.
    #[error("lane {lane} was never opened on this connection")]
    UnknownLane {
        /// The lane.
        lane: Lane,
    },
    /// An ack for what was never sent.
    #[error("lane {lane}: expected an ack of at most {sent}, found {through}")]
    AckBeyondSent {
        /// The lane.
        lane: Lane,
        /// The highest number sent or reported final on this connection.
        sent: Number,
        /// What was acknowledged.
        through: Number,
    },
    /// A refusal of what was never sent.
    #[error("lane {lane}: expected a refusal of packets up to {sent}, found {first} to {through}")]
    RefusedUnsent {
        /// The lane.
        lane: Lane,
        /// The highest number sent on this connection.
        sent: Number,
        /// The first that was refused.
        first: Number,
        /// The last that was refused.
        through: Number,
    },
    /// A cursor below what this client still holds: the server must jump, not the client.
    #[error("lane {lane}: expected a cursor of at least {first}, found {cursor}")]
    CursorBehind {
        /// The lane.
        lane: Lane,
        /// The number before the lowest that is held.
        first: Number,
        /// The cursor.
        cursor: Number,
    },
}
