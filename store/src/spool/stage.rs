//! Parcels on their way into the next commit: their packets are numbered, and cut into runs.
//!
//! Nothing here changes the lane table: when the commit fails, all of this is thrown away and the
//! numbers are free again, because nobody has heard of them (R2).

use std::collections::{BTreeSet, HashMap};

use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{Batch, Chain, Lane, Millis, Number, Origin, Run, TargetId};

use super::facts::{Stored, Tombstone};
use super::lanes::{LaneEntry, Lanes};
use super::parcel::{Key, Position};
use super::size;
use crate::counts::Count;
use crate::error::AppendError;
use crate::reply::Promise;

/// A promise that the next commit keeps.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) promise: Promise<Vec<Stored>, AppendError>,
    /// An answer for each part of a parcel.
    pub(super) answers: Vec<Stored>,
}

/// What the next commit stores.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) waiting: Vec<Waiting>,
    pub(super) lanes: Vec<StagedLane>,
    by_lane: HashMap<Lane, usize>,
    new_lanes: HashMap<TargetId, Lane>,
    /// Lanes that end with it: they are empty, and no packet of it goes there.
    pub(super) ending: BTreeSet<Lane>,
    /// How far idle lanes were looked through for one that can end.
    pub(super) looked: Option<(Millis, Lane)>,
    /// The bytes of all records.
    pub(super) bytes: u64,
    /// Tombstones that stand or fall with it: dead letters, or packets that they have become again, are
    /// among what it stores.
    pub(super) burials: Vec<(Lane, Tombstone)>,
    /// How far sources have come with it.
    pub(super) positions: Vec<Position>,
    /// What counts its packets, each with how many.
    pub(super) counted: Vec<(Count, u64)>,
    /// The keys under which packets are stored, each with its answer.
    pub(super) keys: Vec<(Key, Stored)>,
    /// Where each of them stands.
    by_key: HashMap<(u64, u128), usize>,
}

/// What the next commit stores in one lane.
#[derive(Debug)]
pub(super) struct StagedLane {
    pub(super) lane: Lane,
    pub(super) target: TargetId,
    /// The first number that is handed out.
    first: Number,
    /// The number after the last.
    pub(super) next: Number,
    /// At `first - 1`.
    chain: Chain,
    batches: Vec<Batch>,
    bytes: usize,
    /// The shortest time to live among its packets.
    pub(super) ttl_min_ms: Option<u64>,
}

impl Stage {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ending.is_empty()
    }

    /// Whether the next commit changes this lane.
    pub(super) fn touches(&self, lane: Lane) -> bool {
        self.by_lane.contains_key(&lane) || self.ending.contains(&lane)
    }

    /// The bytes of records that wait for one lane.
    pub(super) fn bytes_of(&self, lane: Lane) -> u64 {
        let staged = self.by_lane.get(&lane).and_then(|at| self.lanes.get(*at));
        staged.map_or(0, |staged| staged.bytes as u64)
    }

    /// How many lanes it touches.
    pub(super) fn lanes_count(&self) -> u64 {
        (self.lanes.len() + self.ending.len()) as u64
    }

    /// How many lanes it makes.
    pub(super) fn new_lanes(&self) -> usize {
        self.new_lanes.len()
    }

    /// What is stored under a key, if it is one of this commit.
    pub(super) fn find_key(&self, key: &Key) -> Option<(Key, Stored)> {
        self.keys.get(*self.by_key.get(&(key.source, key.key))?).copied()
    }

    /// Packets are stored under a key.
    pub(super) fn add_key(&mut self, key: Key, stored: Stored) {
        self.by_key.insert((key.source, key.key), self.keys.len());
        self.keys.push((key, stored));
    }

    /// The lane for packets to `target`, if there is or will be one.
    pub(super) fn lane_of(&self, lanes: &Lanes, target: &TargetId) -> Option<Lane> {
        let known = || lanes.lane_of(target).filter(|lane| !self.ending.contains(lane));
        self.new_lanes.get(target).copied().or_else(known)
    }

    /// Opens a lane for `target`.
    pub(super) fn open_lane(&mut self, lane: Lane, target: TargetId) {
        self.add_lane(lane, &LaneEntry::new(lane, target.clone()));
        self.new_lanes.insert(target, lane);
    }

    /// Numbers the packets of `batch`, which go into `lane`. `None` when its numbers are used up.
    pub(super) fn number(
        &mut self,
        lanes: &Lanes,
        lane: Lane,
        batch: Batch,
    ) -> Option<(Number, u64)> {
        let at = match self.by_lane.get(&lane) {
            Some(at) => *at,
            None => self.add_lane(lane, lanes.get(lane)?),
        };
        let staged = self.lanes.get_mut(at)?;
        let first = staged.next;
        let count = batch.count() as u64;
        staged.next = first.plus(count).filter(|next| next.0 < u64::MAX)?;
        staged.bytes += batch.bytes();
        staged.ttl_min_ms = [staged.ttl_min_ms, batch.ttl_min_ms()].into_iter().flatten().min();
        self.bytes += size::batch_bytes(&batch);
        staged.batches.push(batch);
        Some((first, count))
    }

    fn add_lane(&mut self, lane: Lane, entry: &LaneEntry) -> usize {
        self.by_lane.insert(lane, self.lanes.len());
        self.lanes.push(StagedLane {
            lane,
            target: entry.target.clone(),
            first: entry.next,
            next: entry.next,
            chain: entry.chain,
            batches: Vec::new(),
            bytes: 0,
            ttl_min_ms: None,
        });
        self.lanes.len() - 1
    }
}

impl StagedLane {
    /// Cuts the lane's packets into runs; gives the chain after them too.
    pub(super) fn cut(&self, origin: Origin) -> (Vec<Run>, Chain) {
        cut(&self.batches, self.bytes, origin, self.first, self.chain)
    }
}

/// Packets of several batches, which have `bytes` of records in all, as runs from `first` on.
fn cut(
    batches: &[Batch],
    bytes: usize,
    origin: Origin,
    first: Number,
    chain: Chain,
) -> (Vec<Run>, Chain) {
    let (mut runs, mut chain, mut next, mut remaining) = (Vec::new(), chain, first, bytes);
    let mut open: Option<(RunBuilder, usize)> = None;
    for batch in batches {
        let mut at = 0;
        while at < batch.count() {
            let (builder, records_max) = open.get_or_insert_with(|| {
                let records_max = size::records_max(remaining);
                (RunBuilder::new(origin, next, chain, records_max.min(remaining)), records_max)
            });
            let end = builder.fill(batch, at, *records_max);
            next = next.plus((end - at) as u64).unwrap_or(next);
            at = end;
            if at < batch.count() {
                finish(&mut open, &mut runs, &mut chain, &mut remaining);
            }
        }
    }
    finish(&mut open, &mut runs, &mut chain, &mut remaining);
    (runs, chain)
}

fn finish(
    open: &mut Option<(RunBuilder, usize)>,
    runs: &mut Vec<Run>,
    chain: &mut Chain,
    remaining: &mut usize,
) {
    if let Some((builder, _)) = open.take() {
        *chain = builder.chain();
        *remaining = remaining.saturating_sub(builder.bytes());
        runs.extend(builder.finish());
    }
}
