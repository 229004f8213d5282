//! Retirement: lanes that have ended for ever lose their rows, and are remembered in stretches (R6).
//!
//! A stretch takes the place of at least one cursor, so retiring never makes a ledger larger, whatever a
//! client says: of a lane without a cursor nothing was ever recorded, so nothing of it can come twice,
//! and nothing is remembered.

use paquebot_protocol::{Lane, LaneKey, Retired};
use redb::ReadableTable;

use super::facts::Fence;
use super::fence::number_of;
use super::sheet::Sheet;
use crate::error::RecordError;
use crate::fault::Fault;
use crate::schema;

impl Sheet<'_> {
    /// Ends a lane by word of its spool's latest opening, or says why not.
    pub(super) fn retire(
        &mut self,
        fence: Fence,
        lane: Lane,
    ) -> Result<Result<(), RecordError>, Fault> {
        if !self.has_room {
            return Ok(Err(RecordError::DiskFull));
        }
        let latest = self.spool(fence.spool)?;
        if latest.is_none_or(|on| (on.opened, on.nonce) != (fence.opened, fence.nonce)) {
            return Ok(Err(RecordError::Fenced { spool: fence.spool }));
        }
        let spool = number_of(fence.spool);
        let cursor = self.cursors.remove((spool, lane.0))?.map(|row| row.value().0);
        let Some(cursor) = cursor else { return Ok(Ok(())) };
        self.tried.remove((spool, lane.0))?;
        // From here on every letter of the lane counts.
        let unsettled = self.dead.unsettled((spool, lane.0), cursor.saturating_add(1), u64::MAX);
        self.stale.extend(unsettled);
        self.remember_retired(spool, lane)?;
        self.wrote = true;
        Ok(Ok(()))
    }

    /// Whether a lane has ended for ever.
    pub(super) fn is_retired(&self, key: LaneKey) -> Result<bool, Fault> {
        let spool = number_of(key.spool);
        let retired = self.transaction.open_table(schema::RETIRED)?;
        let before = retired.range((spool, 0)..=(spool, key.lane.0))?.next_back();
        Ok(before.transpose()?.is_some_and(|(_, last)| last.value() >= key.lane.0))
    }

    /// Adds a lane to the stretches beside it.
    fn remember_retired(&mut self, spool: u128, lane: Lane) -> Result<(), Fault> {
        let mut table = self.transaction.open_table(schema::RETIRED)?;
        let mut beside = Vec::new();
        if let Some(before) = table.range((spool, 0)..=(spool, lane.0))?.next_back() {
            let (first, last) = before?;
            beside.push((Lane(first.value().1), Lane(last.value())));
        }
        let next = lane.0.saturating_add(1);
        if let Some(after) = table.get((spool, next))? {
            beside.push((Lane(next), Lane(after.value())));
        }
        let mut retired: Retired = beside.iter().copied().collect();
        retired.retire(lane);
        for (first, _) in beside {
            table.remove((spool, first.0))?;
        }
        for (first, last) in retired.stretches() {
            table.insert((spool, first.0), last.0)?;
        }
        Ok(())
    }
}
