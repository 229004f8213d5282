//! One segment's file of dead letters: its tables, and what is done to them in one transaction.
//!
//! It knows positions and rows. It never knows which letters count, or whose quota they take.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use paquebot_protocol::{Lane, Number, PacketId, SpoolId};
use redb::{Database, ReadableDatabase, ReadableTable, Table, WriteTransaction};

use super::{DeadKey, Placed};
use crate::database::{self, NotMade, Outline};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::ledger::fence::number_of;
use crate::ledger::letters::{DeadLetter, StillDead};
use crate::schema::{self, DeadRow};

const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// An open segment.
#[derive(Debug)]
pub(super) struct SegmentFile {
    db: Database,
    outline: Arc<Outline>,
}

impl SegmentFile {
    /// Makes an empty one.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<Self, NotMade> {
        let temporary = path.with_extension("tmp");
        let (db, outline) = database::create(disk, dir, &temporary, path, CACHE_BYTES, prepare)?;
        Ok(Self { db, outline })
    }

    /// Opens one, verifying every byte and every row; gives its format, and each row to `each`.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        each: impl FnMut(u64, DeadRow<'_>),
    ) -> Result<(Self, u64), Fault> {
        let (db, outline) = database::open(disk, path, CACHE_BYTES)?;
        let format = scan(&db, each)?;
        Ok((Self { db, outline }, format))
    }

    /// Opens a segment only to read it, and as if it had been repaired.
    pub(super) fn overlaid(disk: &dyn Disk, path: &Path) -> Result<Database, Fault> {
        database::look(disk, path, CACHE_BYTES)
    }

    /// Reads one without writing to it, as [`SegmentFile::open`] does.
    pub(super) fn look(
        disk: &dyn Disk,
        path: &Path,
        each: impl FnMut(u64, DeadRow<'_>),
    ) -> Result<u64, Fault> {
        scan(&database::look(disk, path, CACHE_BYTES)?, each)
    }

    /// Writes the letters of `old` up to position `last` into a new file, which takes the name
    /// `path`. Each row that is kept goes to `each`.
    pub(super) fn rewrite(
        old: &Database,
        disk: &dyn Disk,
        dir: &Path,
        path: &Path,
        last: u64,
        mut each: impl FnMut(u64, DeadRow<'_>),
    ) -> Result<Self, Fault> {
        let snapshot = old.begin_read()?;
        let (rows, records) =
            (snapshot.open_table(schema::LETTERS)?, snapshot.open_table(schema::RECORDS)?);
        let fill = |transaction: &WriteTransaction| {
            prepare(transaction)?;
            let mut tables = Tables::open(transaction)?;
            for row in ReadableTable::range::<u64>(&rows, ..=last)? {
                let (position, row) = row?;
                let position = position.value();
                let record = ReadableTable::get(&records, position)?;
                let record = record.ok_or_else(|| Fault::damaged("a letter's record", "none"))?;
                let facts: DeadRow<'_> = schema::decode("a dead letter", row.value())?;
                tables.put(position, key_of(&facts), row.value(), record.value())?;
                each(position, facts);
            }
            Ok(())
        };
        let (db, outline) = database::replace(disk, dir, path, CACHE_BYTES, fill)?;
        Ok(Self { db, outline })
    }

    /// Adds and removes letters, durably, all or none.
    pub(super) fn write(
        &self,
        added: &[(u64, DeadKey, &DeadLetter)],
        removed: &[(u64, DeadKey)],
    ) -> Result<(), Fault> {
        let transaction = self.db.begin_write()?;
        {
            let mut tables = Tables::open(&transaction)?;
            for (position, key, letter) in added {
                let row = schema::encode(&row_of(*key, letter))?;
                tables.put(*position, *key, &row, &letter.record)?;
            }
            for (position, key) in removed {
                tables.letters.remove(position)?;
                tables.records.remove(position)?;
                tables.places.remove(key)?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Brings letters up to date, durably, all or none.
    pub(super) fn update(&self, still: &[(u64, &StillDead)]) -> Result<(), Fault> {
        let transaction = self.db.begin_write()?;
        {
            let mut letters = transaction.open_table(schema::LETTERS)?;
            for (position, still) in still {
                let before = letters.get(position)?.map(|row| row.value().to_vec());
                let Some(before) = before else { continue };
                let before: DeadRow<'_> = schema::decode("a dead letter", &before)?;
                let row = schema::encode(&DeadRow {
                    handler: &still.handler,
                    reason: &still.reason,
                    attempts: still.attempts,
                    last_attempt_ms: still.last_attempt_ms,
                    ..before
                })?;
                letters.insert(position, row.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Where a letter stands.
    pub(super) fn position(&self, key: DeadKey) -> Result<Option<u64>, Fault> {
        let places = self.db.begin_read()?.open_table(schema::PLACES)?;
        Ok(ReadableTable::get(&places, key)?.map(|position| position.value()))
    }

    /// The letters of a lane from `first` to `through`: number and position.
    pub(super) fn of_lane(
        &self,
        (spool, lane): (u128, u64),
        first: u64,
        through: u64,
    ) -> Result<Vec<(u64, u64)>, Fault> {
        let places = self.db.begin_read()?.open_table(schema::PLACES)?;
        let mut found = Vec::new();
        for row in ReadableTable::range(&places, (spool, lane, first)..=(spool, lane, through))? {
            let (key, position) = row?;
            found.push((key.value().2, position.value()));
        }
        Ok(found)
    }

    /// A letter with its record.
    pub(super) fn letter(&self, position: u64) -> Result<Option<DeadLetter>, Fault> {
        let snapshot = self.db.begin_read()?;
        let (rows, records) =
            (snapshot.open_table(schema::LETTERS)?, snapshot.open_table(schema::RECORDS)?);
        let row = ReadableTable::get(&rows, position)?;
        let record = ReadableTable::get(&records, position)?;
        let (Some(row), Some(record)) = (row, record) else { return Ok(None) };
        let row = schema::decode("a dead letter", row.value())?;
        Ok(Some(letter_of(&row, Bytes::copy_from_slice(record.value()))))
    }

    /// The letters from position `from` on, without their records, for as long as `each` wants more.
    pub(super) fn each_from(
        &self,
        from: u64,
        mut each: impl FnMut(Placed, DeadRow<'_>) -> bool,
    ) -> Result<(), Fault> {
        let rows = self.db.begin_read()?.open_table(schema::LETTERS)?;
        for row in ReadableTable::range::<u64>(&rows, from..)? {
            let (position, row) = row?;
            let row: DeadRow<'_> = schema::decode("a dead letter", row.value())?;
            let placed = Placed { position: position.value(), key: key_of(&row) };
            if !each(placed, row) {
                break;
            }
        }
        Ok(())
    }

    /// The bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.outline.bytes()
    }

    /// Closes it.
    pub(super) fn close(self) -> Result<(), Fault> {
        Ok(self.db.close()?)
    }
}

/// What a new segment begins with.
fn prepare(transaction: &WriteTransaction) -> Result<(), Fault> {
    let mut meta = transaction.open_table(schema::META)?;
    meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
    transaction.open_table(schema::LETTERS)?;
    transaction.open_table(schema::RECORDS)?;
    transaction.open_table(schema::PLACES)?;
    Ok(())
}

/// A segment's tables in one transaction.
struct Tables<'t> {
    letters: Table<'t, u64, &'static [u8]>,
    records: Table<'t, u64, &'static [u8]>,
    places: Table<'t, DeadKey, u64>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            letters: transaction.open_table(schema::LETTERS)?,
            records: transaction.open_table(schema::RECORDS)?,
            places: transaction.open_table(schema::PLACES)?,
        })
    }

    fn put(&mut self, position: u64, key: DeadKey, row: &[u8], record: &[u8]) -> Result<(), Fault> {
        self.letters.insert(position, row)?;
        self.records.insert(position, record)?;
        self.places.insert(key, position)?;
        Ok(())
    }
}

/// Reads every row; gives the format.
fn scan(db: &Database, mut each: impl FnMut(u64, DeadRow<'_>)) -> Result<u64, Fault> {
    let snapshot = db.begin_read()?;
    let meta = snapshot.open_table(schema::META)?;
    let format = ReadableTable::get(&meta, schema::META_FORMAT)?;
    let format = format.ok_or_else(|| Fault::damaged("a format", "none"))?;
    let format = schema::decode_number("a format", format.value())?;
    if format > schema::FORMAT {
        return Ok(format);
    }
    snapshot.open_table(schema::RECORDS)?;
    snapshot.open_table(schema::PLACES)?;
    for row in ReadableTable::range::<u64>(&snapshot.open_table(schema::LETTERS)?, ..)? {
        let (position, row) = row?;
        each(position.value(), schema::decode("a dead letter", row.value())?);
    }
    Ok(format)
}

/// The key of a letter.
pub(super) fn key_of(row: &DeadRow<'_>) -> DeadKey {
    (number_of(row.session), row.lane, row.number)
}

fn row_of((session, lane, number): DeadKey, letter: &DeadLetter) -> DeadRow<'_> {
    DeadRow {
        session: SpoolId(session.to_be_bytes()),
        lane,
        number,
        born: letter.id.spool,
        client: letter.client.clone(),
        target: letter.target.clone(),
        handler: &letter.handler,
        reason: &letter.reason,
        attempts: letter.attempts,
        first_attempt_ms: letter.first_attempt_ms,
        last_attempt_ms: letter.last_attempt_ms,
        bytes: letter.record.len() as u64,
    }
}

/// A row as a letter, with `record`.
pub(super) fn letter_of(row: &DeadRow<'_>, record: Bytes) -> DeadLetter {
    DeadLetter {
        id: PacketId { spool: row.born, lane: Lane(row.lane), number: Number(row.number) },
        client: row.client.clone(),
        target: row.target.clone(),
        handler: row.handler.to_owned(),
        reason: row.reason.to_owned(),
        attempts: row.attempts,
        first_attempt_ms: row.first_attempt_ms,
        last_attempt_ms: row.last_attempt_ms,
        record,
    }
}
