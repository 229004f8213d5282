//! Attempts that failed: how often the packet after a lane's cursor was tried in vain, and since
//! when, so that a restart of the server begins no count anew (R11).
//!
//! A lane has at most one row, for its packets go in order. It is written for the latest opening of
//! the spool and for the packet after the cursor alone, and goes in the transaction that moves the
//! cursor past that packet, whatever became of it.

use paquebot_protocol::{Lane, LaneKey, Number};
use redb::{ReadableTable, ReadableTableMetadata};

use super::facts::{Fence, Tried};
use super::fence::number_of;
use super::sheet::Sheet;
use crate::error::RecordError;
use crate::fault::Fault;

impl Sheet<'_> {
    /// Writes down what an attempt came to, or says why not.
    pub(super) fn put_tried(
        &mut self,
        fence: Fence,
        lane: Lane,
        tried: Tried,
    ) -> Result<Result<(), RecordError>, Fault> {
        if !self.has_room {
            return Ok(Err(RecordError::DiskFull));
        }
        let latest = self.spool(fence.spool)?;
        if latest.is_none_or(|on| (on.opened, on.nonce) != (fence.opened, fence.nonce)) {
            return Ok(Err(RecordError::Fenced { spool: fence.spool }));
        }
        let key = LaneKey { spool: fence.spool, lane };
        let (expected, found) = (tried.number.before(), self.cursor_row(key)?.at);
        if found != expected {
            return Ok(Err(RecordError::Moved { key, expected, found }));
        }
        if expected == Number::NONE && self.is_retired(key)? {
            return Ok(Err(RecordError::Retired { key }));
        }
        let Tried { number, attempts, first_attempt_ms, last_attempt_ms } = tried;
        let row = (number.0, attempts, first_attempt_ms, last_attempt_ms);
        let key = (number_of(key.spool), lane.0);
        self.tried.insert(key, row)?;
        self.wrote = true;
        Ok(Ok(()))
    }

    /// What is known of the packet after the cursor, if it was tried.
    pub(super) fn tried(&self, key: LaneKey, cursor: Number) -> Result<Option<Tried>, Fault> {
        let row = self.tried.get((number_of(key.spool), key.lane.0))?;
        let tried = row.map(|row| {
            let (number, attempts, first_attempt_ms, last_attempt_ms) = row.value();
            Tried { number: Number(number), attempts, first_attempt_ms, last_attempt_ms }
        });
        Ok(tried.filter(|tried| tried.number == cursor.next()))
    }

    /// The cursor has come to `through`: what was tried up to there has its outcome.
    pub(super) fn forget_tried(&mut self, key: LaneKey, through: Number) -> Result<(), Fault> {
        // Nearly always, and known without a look at the tree.
        if self.tried.is_empty()? {
            return Ok(());
        }
        let row = (number_of(key.spool), key.lane.0);
        let passed = self.tried.get(row)?.is_some_and(|tried| tried.value().0 <= through.0);
        if passed {
            self.tried.remove(row)?;
        }
        Ok(())
    }
}
