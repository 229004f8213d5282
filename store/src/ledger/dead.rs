//! Dead letters: packets that ended without being handled, in a file of their own.
//!
//! Its commits save the allocator's state (redb's quick-repair), every one of them: they are rare,
//! and the file may grow so large that looking through it after a crash would take seconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use paquebot_protocol::{Lane, LaneKey, Number, PacketId};
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

use super::facts::DeadLetter;
use super::fence::number_of;
use crate::database::{self, Length, NotMade, Trust};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::schema::{self, DeadRow};

/// Spool of the session, lane, number.
pub(super) type DeadKey = (u128, u64, u64);

const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The file of the dead letters.
#[derive(Debug)]
pub(super) struct DeadLetters {
    db: Database,
    len: Length,
    count: u64,
    bytes: u64,
}

impl DeadLetters {
    /// Makes the file.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<Self, NotMade> {
        let fill = |transaction: &WriteTransaction| {
            let mut meta = transaction.open_table(schema::META)?;
            meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
            transaction.open_table(schema::TOTALS)?.insert(schema::TOTALS_DEAD, (0, 0))?;
            transaction.open_table(schema::DEAD)?;
            Ok(())
        };
        let temporary = path.with_extension("tmp");
        let (db, len) = database::create(disk, dir, &temporary, path, CACHE_BYTES, fill)?;
        Ok(Self { db, len, count: 0, bytes: 0 })
    }

    /// Opens the file; its format is for the caller to judge.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<(Self, u64), Fault> {
        let (db, len) = database::open(disk, path, CACHE_BYTES, Trust::CleanClose)?;
        let (format, (count, bytes)) = {
            let snapshot = db.begin_read()?;
            let meta = snapshot.open_table(schema::META)?;
            let format = ReadableTable::get(&meta, schema::META_FORMAT)?;
            let format = format.ok_or_else(|| Fault::damaged("a format", "none"))?;
            let totals = snapshot.open_table(schema::TOTALS)?;
            let totals = ReadableTable::get(&totals, schema::TOTALS_DEAD)?;
            let totals = totals.ok_or_else(|| Fault::damaged("totals", "none"))?;
            (schema::decode_number("a format", format.value())?, totals.value())
        };
        Ok((Self { db, len, count, bytes }, format))
    }

    /// Adds dead letters, durably. One that is there already is replaced.
    pub(super) fn insert(&mut self, letters: &BTreeMap<DeadKey, DeadLetter>) -> Result<(), Fault> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_quick_repair(true);
        let (mut count, mut bytes) = (self.count, self.bytes);
        {
            let mut dead = transaction.open_table(schema::DEAD)?;
            for (key, letter) in letters {
                let row = schema::encode(&row_of(letter))?;
                if let Some(before) = dead.insert(key, row.as_slice())? {
                    let before: DeadRow<'_> = schema::decode("a dead letter", before.value())?;
                    count = count.saturating_sub(1);
                    bytes = bytes.saturating_sub(before.record.len() as u64);
                }
                count += 1;
                bytes += letter.record.len() as u64;
            }
            let mut totals = transaction.open_table(schema::TOTALS)?;
            totals.insert(schema::TOTALS_DEAD, (count, bytes))?;
        }
        transaction.commit()?;
        (self.count, self.bytes) = (count, bytes);
        Ok(())
    }

    /// The numbers of a lane's dead letters from `first` to `through`.
    pub(super) fn numbers(
        &self,
        key: LaneKey,
        first: Number,
        through: Number,
    ) -> Result<Vec<Number>, Fault> {
        if self.count == 0 || first > through {
            return Ok(Vec::new());
        }
        let table = self.db.begin_read()?.open_table(schema::DEAD)?;
        let (spool, lane) = (number_of(key.spool), key.lane.0);
        let range = (spool, lane, first.0)..=(spool, lane, through.0);
        let mut numbers = Vec::new();
        for row in ReadableTable::range(&table, range)? {
            numbers.push(Number(row?.0.value().2));
        }
        Ok(numbers)
    }

    /// The first `limit` dead letters.
    pub(super) fn first(&self, limit: usize) -> Result<Vec<DeadLetter>, Fault> {
        let table = self.db.begin_read()?.open_table(schema::DEAD)?;
        let mut letters = Vec::new();
        for row in ReadableTable::range::<DeadKey>(&table, ..)?.take(limit) {
            let (key, row) = row?;
            letters.push(letter_of(key.value(), schema::decode("a dead letter", row.value())?));
        }
        Ok(letters)
    }

    /// How many there are, and the bytes of their records.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.count, self.bytes)
    }

    /// The bytes of the file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Closes the file.
    pub(super) fn close(self) -> Result<(), Fault> {
        Ok(self.db.close()?)
    }
}

fn row_of(letter: &DeadLetter) -> DeadRow<'_> {
    DeadRow {
        born: letter.id.spool,
        client: letter.client.clone(),
        target: letter.target.clone(),
        handler: &letter.handler,
        reason: &letter.reason,
        attempts: letter.attempts,
        first_attempt_ms: letter.first_attempt_ms,
        last_attempt_ms: letter.last_attempt_ms,
        record: &letter.record,
    }
}

fn letter_of((_, lane, number): DeadKey, row: DeadRow<'_>) -> DeadLetter {
    DeadLetter {
        id: PacketId { spool: row.born, lane: Lane(lane), number: Number(number) },
        client: row.client,
        target: row.target,
        handler: row.handler.to_owned(),
        reason: row.reason.to_owned(),
        attempts: row.attempts,
        first_attempt_ms: row.first_attempt_ms,
        last_attempt_ms: row.last_attempt_ms,
        record: Bytes::copy_from_slice(row.record),
    }
}
