//! Handlers that are paused by hand: on record, so that a restart resumes none.

use redb::ReadableTable;

use super::facts::PausedHandler;
use super::sheet::Sheet;
use crate::error::LedgerError;
use crate::fault::Fault;
use crate::schema;

impl Sheet<'_> {
    /// Pauses one; one that is paused stays so as it was.
    pub(super) fn pause(
        &mut self,
        paused: &PausedHandler,
    ) -> Result<Result<(), LedgerError>, Fault> {
        if !self.has_room {
            return Ok(Err(LedgerError::DiskFull));
        }
        let PausedHandler { handler, since_ms, by } = paused;
        let mut table = self.transaction.open_table(schema::PAUSED)?;
        if table.get(handler.as_str())?.is_none() {
            table.insert(handler.as_str(), (*since_ms, by.as_str()))?;
            self.wrote = true;
        }
        Ok(Ok(()))
    }

    /// Resumes one; gives whether it was paused.
    pub(super) fn resume(&mut self, handler: &str) -> Result<Result<bool, LedgerError>, Fault> {
        let mut table = self.transaction.open_table(schema::PAUSED)?;
        let was_paused = table.remove(handler)?.is_some();
        self.wrote |= was_paused;
        Ok(Ok(was_paused))
    }
}
