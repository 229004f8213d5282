//! Lanes that end (R6): so that a client whose targets are ever new ones neither runs into its limit of
//! lanes nor leaves a row for each of them, here and at its server.
//!
//! A lane that is empty, its last drop durable, and has had no packet for `retire_after` by the spool's
//! clock is marked as ended in a commit, and so is the one that has been idle longest when a new
//! target needs a lane and there may be no more. The next packet to its target goes into a lane with a
//! new number. The connection then says `retire`; when the server is known to have heard it, the row
//! goes in a commit that adds what became of its packets to the sums of all lanes that are gone (R8).
//! A crash in between does no harm: it is said again.
//!
//! Never ends a lane that holds something, and never uses a number again.

use std::time::Instant;

use paquebot_protocol::Lane;
use redb::WriteTransaction;

use super::commit::{Runs, Written};
use super::facts::LaneState;
use super::mark::Row;
use super::stage::Stage;
use super::writer::Writer;
use crate::clock;
use crate::fault::Fault;
use crate::schema;

/// Lanes that end in one commit: it stays a small one.
const RETIRE_AT_ONCE: usize = 1_000;

impl Writer {
    /// Ends lanes that have been idle for long.
    pub(super) fn retire_idle(&mut self) {
        if self.idle_due().is_none_or(|due| due > clock::now()) {
            return;
        }
        self.looked_for_idle = clock::now();
        let (now, after) = (self.shared.now(), self.options.retire_after.into());
        let idle = self.lanes.idle_after(None).take_while(|(since, _)| since.after(after) <= now);
        let idle = idle.map(|(_, lane)| lane).filter(|lane| !self.stage.touches(*lane));
        let ending: Vec<Lane> = idle.take(RETIRE_AT_ONCE).collect();
        if !ending.is_empty() {
            self.stage.ending.extend(ending);
            self.commit();
        }
    }

    /// When to look for lanes that have been idle for long; not all the time when that fails.
    pub(super) fn idle_due(&self) -> Option<Instant> {
        let (since, _) = self.lanes.idle_after(None).next().filter(|_| self.failed.is_none())?;
        let at = since.after(self.options.retire_after.into());
        let due = clock::now().checked_add(at.since(self.shared.now()).into())?;
        Some(due.max(self.looked_for_idle.checked_add(self.options.tidy_every)?))
    }

    /// Whether there may be so many lanes more, for which others end if need be.
    pub(super) fn find_lanes(&mut self, more: usize) -> bool {
        if self.is_place_for_lanes(more) {
            return true;
        }
        // What is acknowledged and waits for its commit makes lanes idle.
        let waits = self.frees() && self.failed.is_none();
        if waits {
            self.commit();
        }
        waits && self.is_place_for_lanes(more)
    }

    pub(super) fn is_place_for_lanes(&mut self, more: usize) -> bool {
        loop {
            let (opening, ending) = (self.stage.new_lanes(), self.stage.ending.len());
            if self.lanes.len() + opening + more <= self.options.lanes_max + ending {
                return true;
            }
            let mut idle = self.lanes.idle_after(self.stage.looked);
            let Some((since, lane)) = idle.find(|(_, lane)| !self.stage.touches(*lane)) else {
                return false;
            };
            self.stage.looked = Some((since, lane));
            self.stage.ending.insert(lane);
        }
    }

    /// Puts lanes aside that go with the next commit, which may take its time.
    pub(super) fn forget_heard(&mut self, lanes: Vec<Lane>) {
        let ended = |lane: &Lane| self.lanes.get(*lane).is_some_and(|entry| entry.retiring);
        self.forgetting.extend(lanes.into_iter().filter(ended));
        if !self.forgetting.is_empty() {
            self.drops_since.get_or_insert_with(clock::now);
        }
    }

    /// Whether something waits to be let go.
    pub(super) fn frees(&self) -> bool {
        !self.drops.is_empty() || !self.forgetting.is_empty()
    }

    /// Marks lanes that end, and lets go of those that are forgotten.
    pub(super) fn write_retirements(
        &self,
        stage: &Stage,
        runs: &mut Runs<'_>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        for lane in &stage.ending {
            let entry = self.changed(*lane, &mut written.lanes);
            if let Some(entry) = entry.filter(|entry| entry.idle_since().is_some()) {
                entry.retiring = true;
                written.retiring.push(*lane);
            }
        }
        for lane in &self.forgetting {
            // What a tombstone hid may still stand there, and would be found without a lane.
            runs.retain_in((lane.0, 0)..=(lane.0, u64::MAX), |_, _| false)?;
            written.lanes.remove(lane);
            written.retired.push(*lane);
        }
        Ok(())
    }

    /// Writes the sums of the lanes that are gone, with those that go now.
    pub(super) fn write_retired(
        &self,
        transaction: &WriteTransaction,
        lanes: &[Lane],
    ) -> Result<(), Fault> {
        let mut sums = self.lanes.retired();
        for entry in lanes.iter().filter_map(|lane| self.lanes.get(*lane)) {
            sums.add(entry.next, &entry.totals);
        }
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_RETIRED, Row::Retired(sums.row()).encode()?.as_slice())?;
        Ok(())
    }

    /// Lanes as they are, for everybody.
    pub(super) fn states_of(&self, lanes: &[Lane]) -> Vec<LaneState> {
        lanes.iter().filter_map(|lane| Some(self.lanes.get(*lane)?.state(*lane))).collect()
    }

    /// The rows of these lanes are gone: memory follows.
    pub(super) fn forget(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.forgetting.remove(lane);
            self.shared.lanes().remove(lane);
            self.lanes.forget(*lane);
        }
    }
}
