//! What a spool says of itself and of what it has done.

use std::time::Duration;

use paquebot_protocol::{Lane, Number, Run, SpoolId, TargetId};

/// Who a spool is, in this opening (R7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its random id.
    pub spool: SpoolId,
    /// The id that it had before it was re-keyed.
    pub replaces: Option<SpoolId>,
    /// How often it has been opened, this time included.
    pub opened: u64,
    /// A random number drawn at this opening.
    pub nonce: u64,
}

/// What opening a spool found.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Who it is.
    pub identity: Identity,
    /// Its lanes, in order.
    pub lanes: Vec<LaneState>,
    /// What recovery did, in sentences for the log.
    pub notes: Vec<String>,
}

/// A lane as of the last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// The lane.
    pub lane: Lane,
    /// Whom its packets are addressed to.
    pub target: TargetId,
    /// Everything up to here was acknowledged, or otherwise dropped.
    pub acked_through: Number,
    /// The lowest number never assigned.
    pub next: Number,
    /// How many packets are not yet acknowledged.
    pub pending_packets: u64,
    /// The bytes of the runs that hold them.
    pub pending_bytes: u64,
    /// What became of packets that were not handled.
    pub totals: LaneTotals,
}

/// What became of a lane's packets, since its first (R8): `acked_through` less these was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneTotals {
    /// Became dead letters.
    pub dead_lettered: u64,
    /// Lost to damage.
    pub damaged: u64,
    /// Removed by hand.
    pub purged: u64,
    /// Removed to make room.
    pub evicted: u64,
    /// Outlived their time.
    pub expired: u64,
}

/// Packets are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The spool in which they were born.
    pub spool: SpoolId,
    /// Their lane.
    pub lane: Lane,
    /// The number of the batch's first packet; the others follow without a gap.
    pub first: Number,
    /// How many there are.
    pub count: u64,
}

/// A commit that stored packets is durable.
#[derive(Debug)]
pub struct Committed {
    /// The runs that it stored, in the order of their lanes' first append.
    pub runs: Vec<StoredRun>,
    /// How many packets they hold.
    pub packets: u64,
    /// How long the commit took, the cutting of runs included.
    pub took: Duration,
}

/// A run that is durable: the very bytes to be sent.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// Its lane.
    pub lane: Lane,
    /// Whom it is addressed to.
    pub target: TargetId,
    /// The run.
    pub run: Run,
}

/// How a spool is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolStatus {
    /// The bytes of its files.
    pub file_bytes: u64,
    /// How many they may be.
    pub max_bytes: u64,
    /// How many segments there are, the active one included.
    pub segments: usize,
    /// How many lanes there are.
    pub lanes: usize,
    /// How many packets are not yet acknowledged.
    pub pending_packets: u64,
    /// The bytes of the runs that hold them.
    pub pending_bytes: u64,
    /// Why nothing can be stored at present.
    pub failed: Option<String>,
}
