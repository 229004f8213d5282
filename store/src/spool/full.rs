//! When there is no room: whose share is used up, who waits, and what makes way (R5, R9).
//!
//! Each lane has a share, so that none can take the room of the others: half of the spool while
//! others hold packets, or what its policy says; and the last part of the room is never given to the
//! lane that holds most. What makes way are the oldest packets of lanes whose policy says so, a
//! segment's worth at a time, because only a whole file gives space back.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::Arc;

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Held, Lane, Run, TargetId};

use super::bury::Burial;
use super::catalog::Piece;
use super::facts::Tombstone;
use super::lanes::LaneEntry;
use super::letters;
use super::parcel::{Parcel, Part};
use super::writer::Writer;
use crate::error::AppendError;
use crate::reply::Promise;

/// The share of one lane while others hold packets: one part in so many.
const SHARE: u64 = 2;

/// What the lane that holds most must leave: one part in so many.
const LEFT_SHARE: u64 = 8;

/// Bytes of packets that wait for room in memory; more are refused.
const PARKED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much of its share a lane gives up at once when it makes way for itself: one part in so many.
const OWN_SHARE: u64 = 8;

/// How often the oldest packets are made to go for one append, a segment's worth at a time: the longest
/// packet takes the room of several small segments.
const EVICTIONS_MAX: usize = 32;

/// What happens to packets for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// They are refused.
    #[default]
    Reject,
    /// Whoever hands them over waits.
    Block,
    /// The oldest packets of such lanes make way, declared.
    DropOldest,
}

/// How packets to a target are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LanePolicy {
    /// What happens when there is no room.
    pub when_full: WhenFull,
    /// The most bytes of runs that its lane may hold.
    pub max_bytes: Option<u64>,
}

/// Asks for the policy of a target.
#[derive(Clone)]
pub struct Policies(pub Arc<dyn Fn(&TargetId) -> LanePolicy + Send + Sync>);

impl Default for Policies {
    fn default() -> Self {
        Self(Arc::new(|_| LanePolicy::default()))
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policies")
    }
}

/// Packets that wait for room, in the order in which they came, each with what is in its way.
#[derive(Default)]
pub(super) struct Parked {
    waiting: VecDeque<(Parcel, AppendError)>,
    bytes: usize,
}

impl Parked {
    /// Says to everyone who waits that the spool is closed.
    pub(super) fn close(&mut self) {
        for (parcel, _) in self.waiting.drain(..) {
            Promise::new(parcel.reply).keep(Err(AppendError::Closed));
        }
    }

    /// Refuses those that wait no longer, with what is in their way; whether there were some.
    fn refuse_impatient(&mut self) -> bool {
        let before = self.waiting.len();
        for (parcel, error) in mem::take(&mut self.waiting) {
            if parcel.waits() {
                self.waiting.push_back((parcel, error));
            } else {
                self.bytes = self.bytes.saturating_sub(parcel.bytes());
                Promise::new(parcel.reply).keep(Err(error));
            }
        }
        self.waiting.len() < before
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Writer {
    /// Sees to it that there is room for `bytes` of packets to `target`, whatever that takes.
    pub(super) fn find_room(&mut self, target: &TargetId, bytes: u64) -> Result<(), AppendError> {
        let lane = self.stage.lane_of(&self.lanes, target);
        let policy = self.policy_of(target);
        let mut full = match self.check_share(lane, policy, bytes) {
            Ok(()) => return Ok(()),
            Err(full) => full,
        };
        if policy.when_full != WhenFull::DropOldest {
            return Err(full);
        }
        for _ in 0..EVICTIONS_MAX {
            // A lane that has used up its own share makes way for itself alone.
            let some = match (&full, lane) {
                (AppendError::LaneFull { share_bytes, .. }, Some(lane)) => {
                    self.evict_own(lane, bytes.max(share_bytes / OWN_SHARE))
                }
                _ => self.evict(),
            };
            if !some {
                break;
            }
            self.clear_stuck();
            match self.check_share(lane, policy, bytes) {
                Ok(()) => return Ok(()),
                Err(error) => full = error,
            }
        }
        Err(full)
    }

    /// Sees to it that there is room for `bytes` of packets to several targets together, each of which
    /// has found room for its own.
    pub(super) fn find_room_for_all(
        &mut self,
        targets: &[&TargetId],
        bytes: u64,
    ) -> Result<(), AppendError> {
        let mut found = self.check_room(bytes, 0);
        let drops = |writer: &mut Self, target: &TargetId| {
            writer.policy_of(target).when_full == WhenFull::DropOldest
        };
        if found.is_ok() || !targets.iter().all(|target| drops(self, target)) {
            return found;
        }
        for _ in 0..EVICTIONS_MAX {
            if found.is_ok() || !self.evict() {
                break;
            }
            self.clear_stuck();
            found = self.check_room(bytes, 0);
        }
        found
    }

    /// Moves what others still hold in a segment forward, so that its file goes: else the packets that
    /// made way there would have done so for nothing.
    fn clear_stuck(&mut self) {
        if self.moving.is_some() || self.moved.is_some() || self.failed.is_some() {
            return;
        }
        let Some(segment) = self.stuck() else { return };
        let pieces = self.pieces_to_move(segment);
        self.looking.load(segment, pieces, usize::MAX);
        self.looking.sealed.forget_all();
        self.loaded();
        if self.moved.is_some() {
            self.commit();
        }
    }

    /// Whether `bytes` more of packets to `target` fit its share and the spool as they are.
    pub(super) fn check_share_of(
        &mut self,
        target: &TargetId,
        bytes: u64,
    ) -> Result<(), AppendError> {
        let (lane, policy) = (self.stage.lane_of(&self.lanes, target), self.policy_of(target));
        self.check_share(lane, policy, bytes)
    }

    /// Whether `bytes` more fit the lane's share and the spool.
    pub(super) fn check_share(
        &self,
        lane: Option<Lane>,
        policy: LanePolicy,
        bytes: u64,
    ) -> Result<(), AppendError> {
        let held =
            lane.and_then(|lane| self.lanes.get(lane)).map_or(0, |entry| entry.pending_bytes);
        let staged = lane.map_or(0, |lane| self.stage.bytes_of(lane));
        let share_bytes = self.share_of(held, policy);
        let used_bytes = held + staged;
        if used_bytes + bytes > share_bytes {
            return Err(AppendError::LaneFull { used_bytes, share_bytes });
        }
        self.check_room(bytes, self.kept_from(held))
    }

    /// The share of a lane that holds so much.
    pub(super) fn share_of(&self, held: u64, policy: LanePolicy) -> u64 {
        let others = self.pending_bytes > held;
        let share = others.then_some(self.options.max_bytes / SHARE);
        policy.max_bytes.or(share).unwrap_or(u64::MAX)
    }

    /// What a lane that holds so much must leave.
    pub(super) fn kept_from(&self, held: u64) -> u64 {
        let holds_most = held > self.pending_bytes / 2;
        if holds_most { self.options.max_bytes / LEFT_SHARE } else { 0 }
    }

    /// How packets to a target are kept.
    pub(super) fn policy_of(&mut self, target: &TargetId) -> LanePolicy {
        if let Some(policy) = self.policies.get(target) {
            return *policy;
        }
        let policy = self.ask_policy(target);
        // As many as there may be lanes.
        if self.policies.len() < self.options.lanes_max {
            self.policies.insert(target.clone(), policy);
        }
        policy
    }

    /// The same, asked anew. Dead letters have a share of their own, and never make way.
    fn ask_policy(&self, target: &TargetId) -> LanePolicy {
        if letters::is_own(target) {
            let max_bytes = Some(letters::bytes_max(self.options.max_bytes));
            return LanePolicy { when_full: WhenFull::Reject, max_bytes };
        }
        (self.options.policies.0)(target)
    }

    /// Whether packets to a target have to wait because earlier ones do.
    pub(super) fn is_parked(&self, target: &TargetId) -> bool {
        let mut parts = self.parked.waiting.iter().flat_map(|(parcel, _)| &parcel.parts);
        parts.any(|part| part.target == *target)
    }

    /// Lets packets wait for room, when their policy says so and not too many wait already.
    pub(super) fn park(&mut self, parcel: Parcel, error: AppendError) {
        let bytes = parcel.bytes();
        let blocks = |part: &Part| self.policy_of(&part.target).when_full == WhenFull::Block;
        let waits = parcel.waits() && parcel.parts.iter().any(blocks);
        let waits = waits && self.parked.bytes + bytes <= PARKED_BYTES_MAX;
        self.is_full(&error, &parcel.parts, !waits);
        if !waits {
            return Promise::new(parcel.reply).keep(Err(error));
        }
        self.parked.bytes += bytes;
        self.parked.waiting.push_back((parcel, error));
    }

    /// Somebody waits no longer: those behind may have room.
    pub(super) fn hurry(&mut self) {
        if self.parked.refuse_impatient() {
            self.unpark();
        }
    }

    /// Tries those that wait again, each target's in order.
    pub(super) fn unpark(&mut self) {
        let Parked { waiting, .. } = mem::take(&mut self.parked);
        for (parcel, _) in waiting {
            self.take_parcel(parcel);
        }
    }

    /// Declares about `bytes` of a lane's oldest packets gone; whether there were some.
    fn evict_own(&mut self, lane: Lane, bytes: u64) -> bool {
        // What is staged may be what the share is full of.
        self.commit();
        let Some(from) = self.lanes.get(lane).map(|entry| entry.acked.next()) else { return false };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let held = self.looking.look(|reader| reader.held(lane, from, bytes));
        let evicted = |(_, run): &(_, Run)| {
            let (first, last, chain) = (run.first(), run.last(), Some(run.head().chain));
            let chain_after = run.chain_at(last)?;
            Some(Tombstone { first, last, chain, chain_after, reason: SkipReason::Evicted })
        };
        let tombstones: Vec<_> = held.iter().flat_map(|h| &h.runs).filter_map(evicted).collect();
        let some = !tombstones.is_empty() && self.failed.is_none();
        if some {
            self.bury(Burial { lane, tombstones, promise: Promise::new(Box::new(|_| {})) });
            self.commit();
        }
        some
    }

    /// Declares the oldest packets gone that may make way, a segment's worth; whether there were
    /// some.
    fn evict(&mut self) -> bool {
        let mut oldest = self.oldest_pieces();
        if oldest.is_empty() && self.active_pieces().any(|(lane, _)| self.makes_way(lane)) {
            // What is staged goes first: its numbers come before those of the next segment.
            self.commit();
            if self.failed.is_none() && self.rotate().is_ok() {
                oldest = self.oldest_pieces();
            }
        }
        let mut some = false;
        for (lane, piece) in oldest {
            let Some(tombstone) = self.evicted(lane, piece) else { continue };
            let promise = Promise::new(Box::new(|_| {}));
            self.bury(Burial { lane, tombstones: vec![tombstone], promise });
            some = true;
        }
        self.looking.sealed.forget_all();
        if some {
            self.commit();
        }
        some
    }

    /// What the oldest segment holds of lanes that make way.
    fn oldest_pieces(&self) -> Vec<(Lane, Piece)> {
        let files = self.shared.files();
        let pieces = |(segment, _)| -> Vec<(Lane, Piece)> {
            let pieces = files.catalog.pieces_of(segment);
            pieces.filter(|(lane, _)| self.makes_way(*lane)).collect()
        };
        files.catalog.segments().map(pieces).find(|pieces| !pieces.is_empty()).unwrap_or_default()
    }

    fn makes_way(&self, lane: Lane) -> bool {
        let policy = |entry: &LaneEntry| self.ask_policy(&entry.target);
        self.lanes.get(lane).map(policy).unwrap_or_default().when_full == WhenFull::DropOldest
    }

    fn evicted(&mut self, lane: Lane, piece: Piece) -> Option<Tombstone> {
        let chain = match self.looking.look_chain(lane, piece.first.before()) {
            Ok(Held::Chain(chain)) => Some(chain),
            _ => None,
        };
        // Without the chain after them they stay: what follows could not be proved.
        let Ok(Held::Chain(chain_after)) = self.looking.look_chain(lane, piece.last) else {
            return None;
        };
        let (first, last) = (piece.first, piece.last);
        Some(Tombstone { first, last, chain, chain_after, reason: SkipReason::Evicted })
    }
}

/// The policies that were asked for.
pub(super) type PoliciesKnown = HashMap<TargetId, LanePolicy>;
