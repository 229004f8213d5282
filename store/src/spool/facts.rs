//! What a spool says of itself and of what it has done.

use std::time::Duration;

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{
    Chain, ClientId, Lane, LedgerId, Millis, Number, PacketId, Run, SpoolId, TargetId,
};

use crate::schema::RetiredRow;

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
    /// The ledger that its packets were last sent to.
    pub ledger: Option<LedgerId>,
}

/// What opening a spool found.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Who it is.
    pub identity: Identity,
    /// The client that it was made for, if it says so.
    pub made_for: Option<ClientId>,
    /// Its lanes, in order.
    pub lanes: Vec<LaneState>,
    /// What became of the packets of lanes that are gone.
    pub retired: RetiredTotals,
    /// What recovery did after a crash, in sentences for the log.
    pub notes: Vec<String>,
    /// What was damaged or lost, and what was done about it, in sentences for the log (R10).
    pub damage: Vec<String>,
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
    /// How many packets are held and not yet acknowledged.
    pub pending_packets: u64,
    /// The bytes of the runs that hold them.
    pub pending_bytes: u64,
    /// How many numbers are under tombstones and not yet acknowledged: they are among the totals,
    /// and some may turn out to have been handled (R8).
    pub declared: u64,
    /// What became of packets that were not handled.
    pub totals: LaneTotals,
    /// Whether it has ended: it is empty, gets no other packet, and goes once the server has heard that
    /// it is retired (R6).
    pub retiring: bool,
}

impl LaneState {
    /// How many packets were handled, as far as is known by now.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.acked_through.0.saturating_add(self.declared).saturating_sub(self.totals.sum())
    }
}

/// What became of a lane's packets, since its first (R8): `acked_through` less these was handled, but
/// for those that are declared and not yet acknowledged.
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

impl LaneTotals {
    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let Self { dead_lettered, damaged, purged, evicted, expired } = *self;
        [damaged, purged, evicted, expired].into_iter().fold(dead_lettered, u64::saturating_add)
    }

    pub(super) fn from_row(row: [u64; 5]) -> Self {
        let [dead_lettered, damaged, purged, evicted, expired] = row;
        Self { dead_lettered, damaged, purged, evicted, expired }
    }

    pub(super) fn row(&self) -> [u64; 5] {
        let Self { dead_lettered, damaged, purged, evicted, expired } = *self;
        [dead_lettered, damaged, purged, evicted, expired]
    }

    /// Where packets that are gone for this reason are counted.
    pub(super) fn of(&mut self, reason: SkipReason) -> &mut u64 {
        match reason {
            SkipReason::Expired => &mut self.expired,
            SkipReason::Evicted => &mut self.evicted,
            SkipReason::Purged => &mut self.purged,
            SkipReason::Refused => &mut self.dead_lettered,
            // A later version's reason: this one wrote none.
            SkipReason::Damaged | SkipReason::Unknown => &mut self.damaged,
        }
    }
}

/// What became of the packets of lanes that are gone, in all of them together (R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetiredTotals {
    /// How many lanes that were.
    pub lanes: u64,
    /// How many packets were stored in them.
    pub accepted: u64,
    /// Those that were not handled; all others were.
    pub totals: LaneTotals,
}

impl RetiredTotals {
    /// Takes up a lane of which everything is acknowledged.
    pub(super) fn add(&mut self, next: Number, totals: &LaneTotals) {
        let LaneTotals { dead_lettered, damaged, purged, evicted, expired } = *totals;
        let sums = &mut self.totals;
        for (sum, count) in [
            (&mut self.lanes, 1),
            (&mut self.accepted, next.before().0),
            (&mut sums.dead_lettered, dead_lettered),
            (&mut sums.damaged, damaged),
            (&mut sums.purged, purged),
            (&mut sums.evicted, evicted),
            (&mut sums.expired, expired),
        ] {
            *sum = sum.saturating_add(count);
        }
    }

    /// How many packets were handled.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.accepted.saturating_sub(self.totals.sum())
    }

    pub(super) fn from_row(row: RetiredRow) -> Self {
        let RetiredRow { lanes, accepted, totals } = row;
        Self { lanes, accepted, totals: LaneTotals::from_row(totals) }
    }

    pub(super) fn row(&self) -> RetiredRow {
        let Self { lanes, accepted, totals } = *self;
        RetiredRow { lanes, accepted, totals: totals.row() }
    }
}

/// What stands in a lane in place of packets that will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The first of them.
    pub first: Number,
    /// The last of them.
    pub last: Number,
    /// The lane's chain before the first, unless it was destroyed with them.
    pub chain: Option<Chain>,
    /// The chain after the last.
    pub chain_after: Chain,
    /// Why they will not come.
    pub reason: SkipReason,
}

impl Tombstone {
    /// How many numbers are under it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.last.since(self.first.before())
    }
}

/// A part of a lane as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// Packets.
    Run {
        /// The run.
        run: Run,
        /// When the first of them outlives its time, by the spool's clock.
        expires: Option<Millis>,
    },
    /// No packets.
    Tombstone(Tombstone),
}

impl Stretch {
    /// The last number of it.
    #[must_use]
    pub fn last(&self) -> Number {
        match self {
            Self::Run { run, .. } => run.last(),
            Self::Tombstone(tombstone) => tombstone.last,
        }
    }
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
    /// Whether they had been stored before, under the same key.
    pub again: bool,
}

impl Stored {
    /// The id of the packet at a place of the batch; the first is at 0.
    #[must_use]
    pub fn id_at(&self, place: u64) -> PacketId {
        let number = Number(self.first.0.saturating_add(place));
        PacketId { spool: self.spool, lane: self.lane, number }
    }
}

/// A commit that stored packets, declared some gone, ended or forgot lanes, or followed a find of
/// damage, is durable.
#[derive(Debug)]
pub struct Committed {
    /// The runs that it stored, in the order of their lanes' first append.
    pub runs: Vec<StoredRun>,
    /// How many packets they hold.
    pub packets: u64,
    /// The tombstones that it put in their lanes.
    pub buried: Vec<(Lane, Tombstone)>,
    /// The lanes that ended with it: once the server has heard so, they are forgotten.
    pub retiring: Vec<Lane>,
    /// The lanes that it forgot, as they were.
    pub retired: Vec<LaneState>,
    /// Damage that was found since the last one, in sentences for the log (R10).
    pub notes: Vec<String>,
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
    /// When the first of its packets outlives its time, by the spool's clock.
    pub expires: Option<Millis>,
}

/// How a spool is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolStatus {
    /// Who it is: since it was opened, it may have taken a new id (R7).
    pub identity: Option<Identity>,
    /// The bytes of its files.
    pub file_bytes: u64,
    /// How many they may be.
    pub max_bytes: u64,
    /// How many segments there are, the active one included.
    pub segments: usize,
    /// How many lanes there are, without those that have ended.
    pub lanes: usize,
    /// What became of the packets of lanes that are gone.
    pub retired: RetiredTotals,
    /// How many packets are not yet acknowledged.
    pub pending_packets: u64,
    /// The bytes of the runs that hold them.
    pub pending_bytes: u64,
    /// Why nothing can be stored at present.
    pub failed: Option<String>,
    /// Why there was no room for the packets that came last; they were refused, or wait.
    pub full: Option<String>,
    /// What lies in its quarantine.
    pub quarantine: Quarantine,
    /// How many segments are being emptied, because they are damaged or distrusted.
    pub condemned: usize,
}

/// Damaged bytes that were put aside (R10). They are declared, so that the spool is well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// How many files there are.
    pub files: usize,
    /// The last find since the opening, in a sentence.
    pub last: Option<String>,
}
