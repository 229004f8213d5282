//! Parcels: what a source hands over to be stored in one commit, all of it or nothing.
//!
//! Beside packets a parcel may say how far the source has come ([`Position`]), so that a crash neither
//! loses nor repeats an event; and under which key a packet was handed over ([`Key`]), so that a
//! sender who did not hear the answer may repeat it.

use std::collections::{BTreeMap, BTreeSet};

use paquebot_protocol::{Batch, Lane, Number, TargetId};

use super::facts::Stored;
use super::size;
use super::stage::Waiting;
use super::writer::Writer;
use crate::error::AppendError;
use crate::reply::{Promise, Reply};

/// The longest position: source, place and where it stands, in bytes.
pub(crate) const POSITION_BYTES_MAX: usize = 8 * 1024;

/// What is stored in one commit.
pub struct Parcel {
    /// The packets, in order.
    pub parts: Vec<Part>,
    /// How far their source has come with them.
    pub positions: Vec<Position>,
    /// Called when all of it is durable, with an answer for each part, or when none of it will be.
    pub reply: Reply<Result<Vec<Stored>, AppendError>>,
}

/// Packets to one target.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whom they are addressed to.
    pub target: TargetId,
    /// The packets.
    pub batch: Batch,
    /// Under which key they are handed over, if under any.
    pub key: Option<Key>,
}

/// The key under which packets are handed over: for as long as it is remembered the same key stores
/// nothing again, and gets the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// A hash of the source's name: each source has keys of its own.
    pub source: u64,
    /// A hash of the key.
    pub key: u128,
    /// A hash of what was handed over under it.
    pub content: u64,
}

/// How far a source has come at one of its places: a file that it follows, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The source's name.
    pub source: String,
    /// The place.
    pub place: Vec<u8>,
    /// How far it is there, as the source writes it; nothing when the place is to be forgotten.
    pub at: Option<Vec<u8>>,
}

impl Position {
    fn bytes(&self) -> usize {
        self.source.len() + self.place.len() + self.at.as_ref().map_or(0, Vec::len)
    }
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (parts, positions) = (self.parts.len(), self.positions.len());
        write!(f, "Parcel({parts} parts, {positions} positions)")
    }
}

impl Writer {
    /// Numbers a parcel for the next commit, lets it wait for room, or refuses it.
    pub(super) fn take_parcel(&mut self, parcel: Parcel) {
        if let Err(error) = self.check_parcel(&parcel) {
            return Promise::new(parcel.reply).keep(Err(error));
        }
        match self.make_way(&parcel) {
            Ok(()) => {
                self.tell_full(None);
                self.stage_parcel(parcel);
            }
            Err(error) => {
                let is_room = matches!(
                    error,
                    AppendError::Full { .. } | AppendError::LaneFull { .. } | AppendError::DiskFull
                );
                self.tell_full(Some(&error).filter(|_| is_room));
                self.park(parcel, error);
            }
        }
    }

    /// Tells everybody that there was no room for what came last, or that there was.
    fn tell_full(&mut self, error: Option<&AppendError>) {
        if self.full || error.is_some() {
            self.full = error.is_some();
            self.shared.status().full = error.map(ToString::to_string);
        }
    }

    /// What is in the way of a parcel whatever the room.
    fn check_parcel(&mut self, parcel: &Parcel) -> Result<(), AppendError> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone().into());
        }
        if let Some(long) = parcel.positions.iter().find(|one| one.bytes() > POSITION_BYTES_MAX) {
            return Err(AppendError::PositionTooLong { found: long.bytes() });
        }
        let mut new_targets = BTreeSet::new();
        for part in parcel.parts.iter().filter(|part| !part.batch.is_empty()) {
            if self.answer_of(part)?.is_none()
                && self.stage.lane_of(&self.lanes, &part.target).is_none()
            {
                new_targets.insert(&part.target);
            }
        }
        if !new_targets.is_empty() && !self.find_lanes(new_targets.len()) {
            return Err(AppendError::LanesFull { max: self.options.lanes_max });
        }
        Ok(())
    }

    /// The answer that a part got before under its key.
    fn answer_of(&self, part: &Part) -> Result<Option<Stored>, AppendError> {
        let Some(key) = part.key else { return Ok(None) };
        let known = self.stage.find_key(&key).or_else(|| self.keys.find(&key));
        let Some((known, stored)) = known else { return Ok(None) };
        if known.content == key.content {
            return Ok(Some(Stored { again: true, ..stored }));
        }
        Err(AppendError::KeyReused { spool: stored.spool, lane: stored.lane, number: stored.first })
    }

    /// Sees to it that there is room for all of a parcel.
    fn make_way(&mut self, parcel: &Parcel) -> Result<(), AppendError> {
        let mut bytes_of: BTreeMap<&TargetId, u64> = BTreeMap::new();
        for part in &parcel.parts {
            *bytes_of.entry(&part.target).or_default() += size::batch_bytes(&part.batch);
        }
        for (target, bytes) in &bytes_of {
            if self.is_parked(target) {
                let (used_bytes, max_bytes) = (self.file_bytes(), self.options.max_bytes);
                return Err(AppendError::Full { used_bytes, max_bytes });
            }
            self.find_room(target, *bytes)?;
        }
        if bytes_of.len() > 1 {
            return self.check_room(bytes_of.values().sum(), 0);
        }
        Ok(())
    }

    /// Making room may have committed what was staged, and lanes with it, so that everything is
    /// looked up here.
    fn stage_parcel(&mut self, parcel: Parcel) {
        let Parcel { parts, positions, reply } = parcel;
        let promise = Promise::new(reply);
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            match self.stage_part(part) {
                Ok(stored) => answers.push(stored),
                // What was staged before it stays, so that its numbers are not used twice.
                Err(error) => return promise.keep(Err(error)),
            }
        }
        self.stage.positions.extend(positions);
        self.stage.waiting.push(Waiting { promise, answers });
    }

    fn stage_part(&mut self, part: Part) -> Result<Stored, AppendError> {
        let spool = self.identity.spool;
        if part.batch.is_empty() {
            // Nothing to make durable: there is no packet whose number could be told.
            let (lane, first) = (Lane(0), Number::NONE);
            return Ok(Stored { spool, lane, first, count: 0, again: false });
        }
        if let Some(stored) = self.answer_of(&part)? {
            return Ok(stored);
        }
        let Part { target, batch, key } = part;
        let known = self.stage.lane_of(&self.lanes, &target);
        let lane = known.unwrap_or_else(|| {
            let lane = Lane(self.next_lane + self.stage.new_lanes() as u64);
            self.stage.open_lane(lane, target);
            lane
        });
        let numbered = self.stage.number(&self.lanes, lane, batch);
        let used_up = || AppendError::Failed("the lane's numbers used up".into());
        let (first, count) = numbered.ok_or_else(used_up)?;
        let stored = Stored { spool, lane, first, count, again: false };
        if let Some(key) = key {
            self.stage.add_key(key, stored);
        }
        Ok(stored)
    }
}
