//! How far each source has come: kept in the transaction of the packets that it made of what lies
//! before.

use std::collections::BTreeMap;

use redb::WriteTransaction;

use super::mark::Row;
use super::parcel::Position;
use crate::fault::Fault;
use crate::schema::{self, PositionRow};

/// A source's name, and a place of it.
type Place = (String, Vec<u8>);

/// Every position as of the last commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Positions {
    table: BTreeMap<Place, PositionRow>,
    /// Goes up with each change, so that of two rows found by their bytes the later one counts.
    revision: u64,
}

impl Positions {
    /// Takes up a row; of two for one place the later one.
    pub(super) fn insert(&mut self, row: PositionRow) {
        self.revision = self.revision.max(row.revision);
        let place = (row.source.clone(), row.place.clone());
        if self.table.get(&place).is_none_or(|known| known.revision < row.revision) {
            self.table.insert(place, row);
        }
    }

    /// The places of a source, each with how far it is there.
    pub(super) fn of(&self, source: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.table.range((source.to_owned(), Vec::new())..);
        let rows = rows.take_while(|((of, _), _)| of == source);
        rows.map(|((_, place), row)| (place.clone(), row.at.clone())).collect()
    }

    /// About how much of a file they take.
    pub(super) fn bytes(&self) -> u64 {
        let row = |((source, place), row): (&Place, &PositionRow)| {
            (2 * (source.len() + place.len()) + row.at.len() + 96) as u64
        };
        self.table.iter().map(row).sum()
    }

    /// Writes all of them into a segment that has none.
    pub(super) fn fill(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut table = transaction.open_table(schema::POSITIONS)?;
        for ((source, place), row) in &self.table {
            let bytes = Row::Position(row.clone()).encode()?;
            table.insert((source.as_str(), place.as_slice()), bytes.as_slice())?;
        }
        Ok(())
    }

    /// Writes what a commit changes, in its transaction.
    pub(super) fn write(
        &self,
        transaction: &WriteTransaction,
        changes: &[Position],
    ) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = transaction.open_table(schema::POSITIONS)?;
        for (revision, change) in (self.revision + 1..).zip(changes) {
            let key = (change.source.as_str(), change.place.as_slice());
            match row(change, revision) {
                Some(row) => _ = table.insert(key, Row::Position(row).encode()?.as_slice())?,
                None => _ = table.remove(key)?,
            }
        }
        Ok(())
    }

    /// The commit with these changes is durable.
    pub(super) fn put_in_place(&mut self, changes: Vec<Position>) {
        for change in changes {
            let revision = self.revision + 1;
            match row(&change, revision) {
                Some(row) => self.insert(row),
                None => {
                    self.table.remove(&(change.source, change.place));
                }
            }
            self.revision = revision;
        }
    }
}

/// The row of a place that is not forgotten.
fn row(change: &Position, revision: u64) -> Option<PositionRow> {
    let Position { source, place, at } = change.clone();
    Some(PositionRow { source, place, at: at?, revision })
}
