//! Opening a ledger. One that cannot be opened is an error that names the file: its cursors are
//! what keeps packets from being handled twice, so nothing is made in its place on doubt (R10).

use std::path::Path;
use std::sync::{Arc, Mutex};

use paquebot_protocol::LedgerId;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

use super::dead::DeadLetters;
use super::facts::{HandlerTotals, LedgerOpened, LedgerStatus};
use super::writer::Writer;
use crate::database::{self, Length, NotMade, Trust};
use crate::disk::{self, Disk};
use crate::error::OpenError;
use crate::fault::Fault;
use crate::{random, schema};

const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// What `ledger.redb` says.
struct Found {
    ledger: LedgerId,
    format: u64,
    totals: Vec<(String, HandlerTotals)>,
}

/// Opens the ledger in `dir`, or makes it; gives the writer, not yet running.
pub(super) fn open(dir: &Path, disk: &dyn Disk) -> Result<(Writer, LedgerOpened), OpenError> {
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    disk::make_dir(disk, dir).map_err(io_error)?;
    let lock = disk::lock_dir(disk, dir, &dir.join("lock"))?;
    let names = disk.list(dir).map_err(io_error)?;
    let there = |name: &str| names.iter().any(|found| found == name);
    let (path, dead_path) = (dir.join("ledger.redb"), dir.join("dead-letters.redb"));
    let mut notes = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(&dir.join(name)).map_err(io_error)?;
        notes.push(format!("removed {name}, a file that was never finished"));
    }
    let (db, len) = if there("ledger.redb") {
        database::open(disk, &path, CACHE_BYTES, Trust::Nothing).map_err(damaged(&path))?
    } else if there("dead-letters.redb") {
        return Err(damaged(&path)(Fault::damaged("it beside dead-letters.redb", "no such file")));
    } else {
        create(disk, dir, &path).map_err(|not_made| damaged(&path)(not_made.fault))?
    };
    let Found { ledger, format, totals } = read(&db).map_err(damaged(&path))?;
    check_format(&path, format)?;
    let dead = if there("dead-letters.redb") {
        let (dead, format) = DeadLetters::open(disk, &dead_path).map_err(damaged(&dead_path))?;
        check_format(&dead_path, format)?;
        dead
    } else {
        if there("ledger.redb") {
            notes.push("made dead-letters.redb, which was not there".to_owned());
        }
        let made = DeadLetters::create(disk, dir, &dead_path);
        made.map_err(|not_made| damaged(&dead_path)(not_made.fault))?
    };
    let status = Arc::new(Mutex::new(LedgerStatus::default()));
    let writer = Writer { db, len, dead, status, failed: None, lock };
    writer.publish_status();
    Ok((writer, LedgerOpened { ledger, totals, notes }))
}

fn create(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(Database, Length), NotMade> {
    let fill = |transaction: &WriteTransaction| {
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
        let ledger: [u8; 16] = random::bytes("a ledger id")?;
        meta.insert(schema::META_LEDGER, ledger.as_slice())?;
        transaction.open_table(schema::SPOOLS)?;
        transaction.open_table(schema::CURSORS)?;
        transaction.open_table(schema::TRIED)?;
        transaction.open_table(schema::FILES)?;
        transaction.open_table(schema::TOTALS)?;
        Ok(())
    };
    database::create(disk, dir, &path.with_extension("tmp"), path, CACHE_BYTES, fill)
}

fn read(db: &Database) -> Result<Found, Fault> {
    let snapshot = db.begin_read()?;
    let meta = snapshot.open_table(schema::META)?;
    let format = ReadableTable::get(&meta, schema::META_FORMAT)?;
    let format = format.ok_or_else(|| Fault::damaged("a format", "none"))?;
    let format = schema::decode_number("a format", format.value())?;
    let ledger = ReadableTable::get(&meta, schema::META_LEDGER)?;
    let ledger = ledger.ok_or_else(|| Fault::damaged("a ledger id", "none"))?;
    let ledger = ledger.value().try_into().map_err(|e| Fault::damaged("a ledger id", e))?;
    let mut totals = Vec::new();
    for row in ReadableTable::range::<&str>(&snapshot.open_table(schema::TOTALS)?, ..)? {
        let (handler, row) = row?;
        let (handled, dead_lettered) = row.value();
        totals.push((handler.value().to_owned(), HandlerTotals { handled, dead_lettered }));
    }
    Ok(Found { ledger: LedgerId(ledger), format, totals })
}

fn check_format(path: &Path, found: u64) -> Result<(), OpenError> {
    if found > schema::FORMAT {
        return Err(OpenError::TooNew { path: path.to_owned(), expected: schema::FORMAT, found });
    }
    Ok(())
}

fn damaged(path: &Path) -> impl Fn(Fault) -> OpenError {
    |fault| OpenError::Damaged { path: path.to_owned(), found: fault.to_string() }
}
