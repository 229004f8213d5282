//! Packets that their server can never take become dead letters (`letters.rs`), in a commit of their
//! own: all that was asked for, or none of it.

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Batch, Lane, Number, Run};

use super::facts::{Stored, Tombstone};
use super::letters::{self, Doomed, is_own, letter, target};
use super::parcel::Part;
use super::read::Trouble;
use super::stage::Waiting;
use super::writer::Writer;
use crate::error::AppendError;
use crate::reply::Promise;

/// How much is read at once in the writer's thread.
const READ_BYTES: usize = 256 * 1024;

impl Writer {
    /// Makes dead letters of packets, in a commit of its own.
    pub(super) fn doom(&mut self, doomed: Doomed) {
        self.commit_what_waits();
        let Doomed { lane, first, through, reason, promise } = doomed;
        let staged = self.stage_letters(lane, first, through, &reason);
        let count = match staged {
            Ok(0) => return promise.keep(Ok(0)),
            Ok(count) => count,
            Err(error) => return promise.keep(Err(error)),
        };
        let told = move |outcome: Result<Vec<Stored>, AppendError>| {
            promise.keep(outcome.map(|_| count));
        };
        self.stage
            .waiting
            .push(Waiting { promise: Promise::new(Box::new(told)), answers: Vec::new() });
        self.commit();
    }

    /// Commits what waits: it may be about the same packets as what comes now.
    pub(super) fn commit_what_waits(&mut self) {
        if !self.stage.is_empty() || !self.drops.is_empty() || !self.burials.is_empty() {
            self.commit();
        }
    }

    /// Puts packets aside as letters for the next commit, with the tombstones that take their place;
    /// gives how many.
    fn stage_letters(
        &mut self,
        lane: Lane,
        first: Number,
        through: Number,
        reason: &str,
    ) -> Result<u64, AppendError> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone().into());
        }
        let known = self.lanes.get(lane).filter(|entry| !is_own(&entry.target));
        let (Some(entry), Some(letters)) = (known, target()) else { return Ok(0) };
        let addressee = entry.target.clone();
        let (mut next, through) = (first.max(entry.acked.next()), through.min(entry.next.before()));
        let at_ms = (self.options.clock.0)().wall_ms;
        let (mut batch, mut tombstones, mut count) = (Batch::default(), Vec::new(), 0);
        while next <= through {
            let held = self.looking.look(|reader| reader.held(lane, next, READ_BYTES));
            let held = held.map_err(unreadable)?;
            let Some(last) = held.runs.last().map(|(_, run)| run.last()) else { break };
            for (_, run) in held.runs {
                let Some(run) = run.part(next.max(run.first()), through) else { continue };
                for (number, record) in run.records() {
                    let id = run.packet_id(lane, number).to_string();
                    batch.push(&letter(&id, addressee.as_str(), reason, at_ms, record));
                    count += 1;
                }
                tombstones.extend(gone(&run, SkipReason::Refused));
            }
            next = last.next();
        }
        if count == 0 {
            return Ok(0);
        }
        self.find_room_for_letters(&batch)?;
        self.stage_part(Part { target: letters.clone(), batch, key: None })?;
        self.stage.burials.extend(tombstones.into_iter().map(|tombstone| (lane, tombstone)));
        Ok(count)
    }

    /// Whether the letters' share has room for more; the first always has.
    fn find_room_for_letters(&self, batch: &Batch) -> Result<(), AppendError> {
        let lane = target().and_then(|target| self.lanes.lane_of(target));
        let used_bytes =
            lane.and_then(|lane| self.lanes.get(lane)).map_or(0, |entry| entry.pending_bytes);
        let share_bytes = letters::bytes_max(self.options.max_bytes);
        if used_bytes > 0 && used_bytes.saturating_add(batch.bytes() as u64) > share_bytes {
            return Err(AppendError::LaneFull { used_bytes, share_bytes });
        }
        Ok(())
    }
}

/// The tombstone that takes a run's place.
pub(super) fn gone(run: &Run, reason: SkipReason) -> Option<Tombstone> {
    let (first, last, chain) = (run.first(), run.last(), Some(run.head().chain));
    let chain_after = run.chain_at(last)?;
    Some(Tombstone { first, last, chain, chain_after, reason })
}

pub(super) fn unreadable(trouble: Trouble) -> AppendError {
    match trouble {
        Trouble::Missing(at) => AppendError::Failed(format!("no packet {at} that can be read")),
        Trouble::Fault(fault) => AppendError::from(fault),
    }
}
