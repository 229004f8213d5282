//! The lane table in memory: every lane as of the last commit, so that no append reads the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use paquebot_protocol::{Chain, Lane, Millis, Number, TargetId};

use super::catalog::Piece;
use super::facts::{LaneState, LaneTotals, RetiredTotals, Tombstone};
use super::letters;
use super::tombstone::{Added, Tombstones};
use super::writer::Waived;
use crate::schema::LaneRow;

/// A lane as of the last commit.
#[derive(Debug, Clone)]
pub(super) struct LaneEntry {
    pub(super) target: TargetId,
    pub(super) next: Number,
    pub(super) acked: Number,
    /// At `next - 1`.
    pub(super) chain: Chain,
    pub(super) totals: LaneTotals,
    /// What the ledger last said of how many numbers it skipped.
    pub(super) skipped: u64,
    /// When packets at its head may outlive their time, by the spool's clock.
    pub(super) expires: Option<Millis>,
    /// When its last packet was stored, by the spool's clock.
    pub(super) stored: Millis,
    /// Whether it has ended (R6).
    pub(super) retiring: bool,
    /// What stands in place of packets that will never come.
    pub(super) gone: Arc<Tombstones>,
    /// What the active segment holds of it, in order.
    pub(super) active: Vec<Piece>,
    /// The bytes of its pieces in sealed segments.
    pub(super) sealed_bytes: u64,
    /// The bytes of its runs that hold something pending, as last told to everybody.
    pub(super) pending_bytes: u64,
}

impl LaneEntry {
    /// A lane without packets.
    pub(super) fn new(lane: Lane, target: TargetId) -> Self {
        let chain = Chain::start(&target, lane);
        Self {
            target,
            next: Number::FIRST,
            acked: Number::NONE,
            chain,
            totals: LaneTotals::default(),
            skipped: 0,
            expires: None,
            stored: Millis::default(),
            retiring: false,
            gone: Arc::default(),
            active: Vec::new(),
            sealed_bytes: 0,
            pending_bytes: 0,
        }
    }

    /// A lane as its row says.
    pub(super) fn from_row(row: LaneRow) -> Self {
        Self {
            target: row.target,
            next: row.next,
            acked: row.acked,
            chain: row.chain,
            totals: LaneTotals::from_row(row.totals),
            skipped: row.skipped,
            expires: row.expires,
            stored: row.stored,
            retiring: row.retiring,
            gone: Arc::default(),
            active: Vec::new(),
            sealed_bytes: 0,
            pending_bytes: 0,
        }
    }

    /// The lane's row.
    pub(super) fn row(&self) -> LaneRow {
        LaneRow {
            target: self.target.clone(),
            next: self.next,
            acked: self.acked,
            chain: self.chain,
            totals: self.totals.row(),
            skipped: self.skipped,
            expires: self.expires,
            stored: self.stored,
            retiring: self.retiring,
        }
    }

    /// Since when nothing has come, if it is empty and has not ended.
    pub(super) fn idle_since(&self) -> Option<Millis> {
        let ends = !self.retiring && !letters::is_own(&self.target);
        (ends && self.acked.next() == self.next).then_some(self.stored)
    }

    /// How many packets are held and not yet acknowledged.
    pub(super) fn pending_packets(&self) -> u64 {
        self.next.before().since(self.acked).saturating_sub(self.declared())
    }

    /// How many numbers are under tombstones and not yet acknowledged.
    fn declared(&self) -> u64 {
        self.gone.count_after(self.acked)
    }

    /// The lane for everybody.
    pub(super) fn state(&self, lane: Lane) -> LaneState {
        LaneState {
            lane,
            target: self.target.clone(),
            acked_through: self.acked,
            next: self.next,
            pending_packets: self.pending_packets(),
            pending_bytes: self.pending_bytes,
            declared: self.declared(),
            totals: self.totals,
            skipped: self.skipped,
            retiring: self.retiring,
        }
    }

    /// Packets may go: those up to `through`, but never more than was durable when somebody can have
    /// said so (R3). `skipped` says of those under tombstones how many were not handled (R8). Gives
    /// the tombstones that go, by their last numbers.
    pub(super) fn acknowledge(&mut self, waived: Waived) -> Vec<Number> {
        let through = waived.through.min(self.next.before());
        let covered = through.since(self.acked);
        self.totals.dead_lettered += waived.dead_lettered.min(covered);
        let declared = self.gone.between(self.acked, through);
        if !declared.is_empty() {
            let all: u64 = declared.iter().map(|(_, count)| count).sum();
            // A ledger that counts less than before has lost its memory, and says nothing of these.
            let skipped = waived.skipped.checked_sub(self.skipped).unwrap_or(all);
            let mut handled = all.saturating_sub(skipped);
            for (reason, count) in declared {
                let total = self.totals.of(reason);
                *total = total.saturating_sub(count.min(handled));
                handled = handled.saturating_sub(count);
            }
        }
        if through >= self.acked {
            self.skipped = waived.skipped;
        }
        self.acked = self.acked.max(through);
        if self.gone.after(Number::NONE).is_none_or(|first| first.last > self.acked) {
            return Vec::new();
        }
        Arc::make_mut(&mut self.gone).forget_through(self.acked)
    }

    /// Declares packets gone; nothing when they are acknowledged, not there, or declared already.
    pub(super) fn bury(&mut self, tombstone: Tombstone) -> Option<Added> {
        if tombstone.last <= self.acked || tombstone.last >= self.next {
            return None;
        }
        let added = Arc::make_mut(&mut self.gone).add(tombstone)?;
        let counted = tombstone.last.since(tombstone.first.before().max(self.acked));
        *self.totals.of(tombstone.reason) += counted;
        self.active = self.active.iter().flat_map(|piece| piece.without(&tombstone)).collect();
        Some(added)
    }

    /// Takes up a tombstone that was counted when it was put there.
    pub(super) fn bury_again(&mut self, tombstone: Tombstone) {
        Arc::make_mut(&mut self.gone).add(tombstone);
    }

    /// Takes up a run of the active segment, but for what tombstones hide of it.
    pub(super) fn add_visible(&mut self, run: Piece) {
        let hidden = self.gone.from(run.first).take_while(|hidden| hidden.first <= run.last);
        let visible = hidden.fold(vec![run], |parts, hidden| {
            parts.iter().flat_map(|part| part.without(hidden)).collect()
        });
        visible.into_iter().for_each(|part| self.add_active(part));
    }

    /// A run of the active segment was added: `first` to `last`, in number order but for runs that
    /// were moved here from an earlier segment.
    pub(super) fn add_active(&mut self, added: Piece) {
        let place = self.active.partition_point(|piece| piece.last < added.first);
        let before = place.checked_sub(1).and_then(|before| self.active.get_mut(before));
        match before {
            Some(piece) if piece.last.next() == added.first => {
                piece.last = added.last;
                piece.bytes += added.bytes;
            }
            _ => self.active.insert(place, added),
        }
    }
}

/// Every lane of the spool.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_target: HashMap<TargetId, Lane>,
    table: BTreeMap<Lane, LaneEntry>,
    /// Lanes that are empty, by when their last packet was stored.
    idle: BTreeSet<(Millis, Lane)>,
    /// How many have ended.
    retiring: usize,
    /// What became of lanes that are gone.
    retired: RetiredTotals,
}

impl Lanes {
    /// Adds a lane. The latest lane of a target takes its packets, unless it has ended.
    pub(super) fn insert(&mut self, lane: Lane, entry: LaneEntry) {
        self.idle.extend(entry.idle_since().map(|since| (since, lane)));
        if entry.retiring {
            self.retiring += 1;
            if self.by_target.get(&entry.target) == Some(&lane) {
                self.by_target.remove(&entry.target);
            }
        } else {
            let latest = self.by_target.entry(entry.target.clone()).or_insert(lane);
            *latest = lane.max(*latest);
        }
        let idle = entry.idle_since();
        let Some(before) = self.table.insert(lane, entry) else { return };
        self.retiring -= usize::from(before.retiring);
        if let Some(since) = before.idle_since().filter(|_| before.idle_since() != idle) {
            self.idle.remove(&(since, lane));
        }
    }

    /// Forgets a lane that has ended, but not what became of its packets.
    pub(super) fn forget(&mut self, lane: Lane) {
        let Some(entry) = self.table.remove(&lane) else { return };
        self.retiring -= usize::from(entry.retiring);
        self.retired.add(entry.next, &entry.totals);
    }

    /// Takes over what became of lanes that are gone.
    pub(super) fn set_retired(&mut self, retired: RetiredTotals) {
        self.retired = retired;
    }

    /// What became of lanes that are gone.
    pub(super) fn retired(&self) -> RetiredTotals {
        self.retired
    }

    /// Empty lanes that come after the place `looked` in the order of their last packets.
    pub(super) fn idle_after(
        &self,
        looked: Option<(Millis, Lane)>,
    ) -> impl Iterator<Item = (Millis, Lane)> {
        let from = looked.map_or(Bound::Unbounded, Bound::Excluded);
        self.idle.range((from, Bound::Unbounded)).copied()
    }

    /// A lane, to be changed after a commit.
    pub(super) fn get_mut(&mut self, lane: Lane) -> Option<&mut LaneEntry> {
        self.table.get_mut(&lane)
    }

    /// A lane.
    pub(super) fn get(&self, lane: Lane) -> Option<&LaneEntry> {
        self.table.get(&lane)
    }

    /// The lane that takes packets to `target`.
    pub(super) fn lane_of(&self, target: &TargetId) -> Option<Lane> {
        self.by_target.get(target).copied()
    }

    /// Every lane, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Lane, &LaneEntry)> {
        self.table.iter().map(|(lane, entry)| (*lane, entry))
    }

    /// Every lane, in order, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Lane, &mut LaneEntry)> {
        self.table.iter_mut().map(|(lane, entry)| (*lane, entry))
    }

    /// How many there are, without those that have ended and the one that has dead letters.
    pub(super) fn len(&self) -> usize {
        let own = letters::target().is_some_and(|own| self.by_target.contains_key(own));
        self.table.len() - self.retiring - usize::from(own)
    }
}
