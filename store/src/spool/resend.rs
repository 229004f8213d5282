//! What becomes of dead letters (`letters.rs`): they are stored anew, or removed for good.

use std::collections::BTreeSet;

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Batch, Lane, Number, Packet, Run, TargetId};

use super::bury::Burial;
use super::doom::{gone, unreadable};
use super::facts::{LaneState, Stored};
use super::letters::{Resent, opened, target};
use super::parcel::Part;
use super::size;
use super::stage::Waiting;
use super::writer::{Waived, Writer};
use crate::error::AppendError;
use crate::reply::Promise;

/// The header of a packet that was a dead letter: the id that it was born with.
const REPLAYED_FROM: &str = "paquebot-replayed-from";

/// What is to be done with letters.
#[derive(Debug)]
pub(super) enum OfLetters {
    Resend(Promise<Resent, AppendError>),
    Discard(Promise<u64, AppendError>),
}

impl Writer {
    /// Does something with letters.
    pub(super) fn of_letters(&mut self, places: &[Number], of: OfLetters) {
        self.commit_what_waits();
        match of {
            OfLetters::Resend(promise) => self.resend(places, promise),
            OfLetters::Discard(promise) => self.discard(places, promise),
        }
    }

    fn resend(&mut self, places: &[Number], promise: Promise<Resent, AppendError>) {
        let (mut done, mut stopped, mut seen) = (Vec::new(), None, BTreeSet::new());
        for place in places.iter().filter(|place| seen.insert(**place)) {
            match self.stage_packet(*place) {
                Ok(Some(stored)) => done.push((*place, stored)),
                Ok(None) => {}
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        if done.is_empty() {
            return promise.keep(Ok(Resent { stored: done, stopped }));
        }
        let answers = done.iter().map(|(_, stored)| *stored).collect();
        let told = move |outcome: Result<Vec<Stored>, AppendError>| {
            promise.keep(outcome.map(|_| Resent { stored: done, stopped }));
        };
        self.stage.waiting.push(Waiting { promise: Promise::new(Box::new(told)), answers });
        self.commit();
    }

    /// Puts a letter's packet aside for the next commit, and the letter's end; nothing when there is
    /// no such letter.
    fn stage_packet(&mut self, place: Number) -> Result<Option<Stored>, AppendError> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone().into());
        }
        let Some((lane, run)) = self.run_of_letter(place)? else { return Ok(None) };
        let letter = run.records().next().and_then(|(at, record)| opened(at, &run, record));
        let (Some(letter), Some(gone)) = (letter, gone(&run, SkipReason::Purged)) else {
            return Err(AppendError::Failed(format!("no letter at {place}")));
        };
        let id = letter.id.to_string();
        let mut packet = Packet::decode(&letter.record)
            .map_err(|error| AppendError::Failed(format!("packet {id}: {error}")))?;
        // The first id that it had, however often it comes back.
        packet.meta.headers.entry(REPLAYED_FROM).or_insert(&id);
        let mut batch = Batch::default();
        batch.push(&packet);
        self.find_room_to_resend(&letter.target, &batch)?;
        let stored = self.stage_part(Part { target: letter.target, batch, key: None })?;
        self.stage.burials.push((lane, gone));
        Ok(Some(stored))
    }

    /// Whether a packet can be stored without others making way for it.
    fn find_room_to_resend(&mut self, to: &TargetId, batch: &Batch) -> Result<(), AppendError> {
        if self.stage.lane_of(&self.lanes, to).is_none() && !self.is_place_for_lanes(1) {
            return Err(AppendError::LanesFull { max: self.options.lanes_max });
        }
        if self.is_parked(to) {
            let (used_bytes, max_bytes) = (self.file_bytes(), self.options.max_bytes);
            return Err(AppendError::Full { used_bytes, max_bytes });
        }
        self.check_share_of(to, size::batch_bytes(batch))
    }

    fn discard(&mut self, places: &[Number], promise: Promise<u64, AppendError>) {
        let mut tombstones = Vec::new();
        let mut of = None;
        for place in places {
            match self.run_of_letter(*place) {
                Ok(Some((lane, run))) => {
                    of = Some(lane);
                    tombstones.extend(gone(&run, SkipReason::Purged));
                }
                Ok(None) => {}
                Err(error) => return promise.keep(Err(error)),
            }
        }
        match of {
            Some(lane) => self.bury(Burial { lane, tombstones, promise }),
            None => promise.keep(Ok(0)),
        }
    }

    /// The letter at a place as a run of its own, and its lane; nothing when it is not there.
    fn run_of_letter(&mut self, place: Number) -> Result<Option<(Lane, Run)>, AppendError> {
        let Some(lane) = target().and_then(|target| self.lanes.lane_of(target)) else {
            return Ok(None);
        };
        let held = self.looking.look(|reader| reader.held(lane, place, 1)).map_err(unreadable)?;
        let run = held.runs.first().and_then(|(_, run)| run.part(place, place));
        Ok(run.map(|run| (lane, run)))
    }

    /// The lane that has the letters, for everybody.
    pub(super) fn letters(&self) -> Option<LaneState> {
        let lane = self.lanes.lane_of(target()?)?;
        Some(self.lanes.get(lane)?.state(lane))
    }

    /// Letters that went leave the head of their lane, which nobody else acknowledges.
    pub(super) fn let_go_of_letters(&mut self) {
        let lane = target().and_then(|target| self.lanes.lane_of(target));
        let Some((lane, entry)) = lane.and_then(|lane| Some((lane, self.lanes.get(lane)?))) else {
            return;
        };
        let head = entry.acked.next();
        let mut through = entry.acked;
        for gone in entry.gone.from(head) {
            if gone.first > through.next() {
                break;
            }
            through = gone.last;
        }
        if through > entry.acked {
            let skipped = entry.skipped.saturating_add(through.since(entry.acked));
            self.waive(lane, Waived { through, dead_lettered: 0, skipped });
        }
    }
}
