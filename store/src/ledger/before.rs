//! What a transaction changed, as it was before: a failed one may or may not be what is read of its
//! file afterwards, and those who waited for it were told that it failed (R4, R10).

use redb::WriteTransaction;

use crate::fault::Fault;
use crate::schema::{self, CursorRow, TriedRow};

/// Rows as they were before the transaction, the last change last.
#[derive(Debug, Default)]
pub(super) struct Before(Vec<Row>);

/// One row; nothing when it was not there.
#[derive(Debug)]
pub(super) enum Row {
    Spool(u128, Option<Vec<u8>>),
    Cursor((u128, u64), Option<CursorRow>),
    Tried((u128, u64), Option<TriedRow>),
    File((u64, u64), Option<Vec<u8>>),
    Total(String, Option<(u64, u64)>),
    DeadSegment(u64, Option<(u64, u64)>),
    DeadGone(String, Option<u64>),
}

impl Before {
    /// Forgets: the transaction is durable, or another begins.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A row is about to be changed, or has been, in the transaction.
    pub(super) fn was(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Puts every row back.
    pub(super) fn restore(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut spools = transaction.open_table(schema::SPOOLS)?;
        let mut cursors = transaction.open_table(schema::CURSORS)?;
        let mut tried = transaction.open_table(schema::TRIED)?;
        let mut files = transaction.open_table(schema::FILES)?;
        let mut totals = transaction.open_table(schema::TOTALS)?;
        let mut dead_segments = transaction.open_table(schema::DEAD_SEGMENTS)?;
        let mut dead_gone = transaction.open_table(schema::DEAD_GONE)?;
        for row in self.0.iter().rev() {
            match row {
                Row::Spool(key, Some(row)) => drop(spools.insert(key, row.as_slice())?),
                Row::Spool(key, None) => drop(spools.remove(key)?),
                Row::Cursor(key, Some(row)) => drop(cursors.insert(key, row)?),
                Row::Cursor(key, None) => drop(cursors.remove(key)?),
                Row::Tried(key, Some(row)) => drop(tried.insert(key, row)?),
                Row::Tried(key, None) => drop(tried.remove(key)?),
                Row::File(key, Some(row)) => drop(files.insert(key, row.as_slice())?),
                Row::File(key, None) => drop(files.remove(key)?),
                Row::Total(key, Some(row)) => drop(totals.insert(key.as_str(), row)?),
                Row::Total(key, None) => drop(totals.remove(key.as_str())?),
                Row::DeadSegment(key, Some(row)) => drop(dead_segments.insert(key, row)?),
                Row::DeadSegment(key, None) => drop(dead_segments.remove(key)?),
                Row::DeadGone(key, Some(row)) => drop(dead_gone.insert(key.as_str(), row)?),
                Row::DeadGone(key, None) => drop(dead_gone.remove(key.as_str())?),
            }
        }
        Ok(())
    }
}
