//! Opening a ledger. One that cannot be opened is an error that names the file: its cursors are
//! what keeps packets from being handled twice, so nothing is made in its place on doubt (R10).

use std::path::Path;
use std::sync::{Arc, Mutex};

use paquebot_protocol::LedgerId;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError};

use super::LedgerOptions;
use super::census::Census;
use super::dead::{self, DeadLetters};
use super::facts::{LedgerOpened, LedgerStatus};
use super::heal::{Condition, RETRY_MIN};
use super::history::History;
use super::room::Room;
use super::tables;
use super::writer::Writer;
use crate::clock;
use crate::counts::{Counts, Rides};
use crate::database::{self, NotMade, Outline};
use crate::disk::{self, Disk};
use crate::error::OpenError;
use crate::fault::Fault;
use crate::schema;

pub(super) const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The name of the ledger's file.
pub(super) const NAME: &str = "ledger.redb";

/// The dead letters of versions before the first release, which nobody reads any more.
const OLD_DEAD_LETTERS: &str = "dead-letters.redb";

/// Opens the ledger, or makes it; gives the writer, not yet running.
pub(super) fn open(
    options: &LedgerOptions,
    disk: Arc<dyn Disk>,
) -> Result<(Writer, LedgerOpened), OpenError> {
    let dir = options.dir.as_path();
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    disk::make_dir(&*disk, dir).map_err(io_error)?;
    let lock = disk::lock_dir(&*disk, dir, &dir.join("lock"))?;
    let names = disk.list(dir).map_err(io_error)?;
    let there = |name: &str| names.iter().any(|found| found == name);
    let path = dir.join(NAME);
    let mut notes = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(&dir.join(name)).map_err(io_error)?;
        notes.push(format!("removed {name}, a file that was never finished"));
    }
    if there(OLD_DEAD_LETTERS) {
        notes.push(format!("{OLD_DEAD_LETTERS} is left as it is: this version does not read it"));
    }
    let mut room = Room::new(Arc::clone(&disk), dir);
    let made = !there(NAME);
    let (db, outline) = if !made {
        open_file(&*disk, &path, &mut room).map_err(damaged(&path))?
    } else if disk.list(&DeadLetters::dir(dir)).is_ok() {
        return Err(damaged(&path)(Fault::damaged("it beside its dead letters", "no such file")));
    } else {
        create(&*disk, dir, 0).map_err(|not_made| damaged(&path)(not_made.fault))?
    };
    let snapshot = db.begin_read().map_err(|error| damaged(&path)(error.into()))?;
    let found = tables::read(&snapshot).map_err(damaged(&path))?;
    check_format(&path, found.format)?;
    let (segments, known, replayed) = (found.dead_segments, found.dead_known, found.replayed);
    let rows = dead::Rows { segments, known, replayed };
    let cursor = |spool: u128, lane: u64| cursor(&snapshot, (spool, lane));
    let segment_bytes = options.dead_letters.segment_bytes;
    let dead::Opened { dead, notes: told } =
        DeadLetters::open(&disk, dir, segment_bytes, &rows, cursor)?;
    notes.extend(told);
    drop(snapshot);
    let counts = Counts::default();
    for (name, kept) in found.counts {
        counts.take_up(&name, kept);
    }
    let mut writer = Writer {
        disk,
        dir: dir.to_owned(),
        path,
        db: Some(db),
        first: outline.first_page(),
        outline,
        commits: found.commits,
        dead,
        history: History::default(),
        census: Census::default(),
        limits: options.dead_letters,
        gone: found.dead_gone,
        status: Arc::new(Mutex::new(LedgerStatus::default())),
        failed: None,
        retry_after: RETRY_MIN,
        retry_at: clock::now(),
        room,
        has_room: true,
        watch: None,
        told: Condition::default(),
        notes: Vec::new(),
        backups: Vec::new(),
        counts,
        rides: Rides::new(),
        lock,
    };
    writer.look_for_room();
    writer.publish_status();
    let (ledger, totals, paused) = (found.ledger, found.totals, found.paused);
    let clients = found.clients;
    Ok((writer, LedgerOpened { ledger, made, totals, paused, clients, notes }))
}

/// Opens the file, if need be in the room that is kept for healing.
fn open_file(
    disk: &dyn Disk,
    path: &Path,
    room: &mut Room,
) -> Result<(Database, Arc<Outline>), Fault> {
    match database::open(disk, path, CACHE_BYTES) {
        Err(Fault::Full) => {
            room.give_up();
            database::open(disk, path, CACHE_BYTES)
        }
        opened => opened,
    }
}

/// Makes a new ledger in `dir`, beside dead letters up to position `dead_known`.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    dead_known: u64,
) -> Result<(Database, Arc<Outline>), NotMade> {
    let path = dir.join(NAME);
    database::create(disk, dir, &path.with_extension("tmp"), &path, CACHE_BYTES, |transaction| {
        tables::begin(transaction, dead_known)
    })
}

/// Who the ledger in an open file is.
pub(super) fn id_of(db: &Database) -> Result<LedgerId, Fault> {
    Ok(tables::read(&db.begin_read()?)?.ledger)
}

/// How far a lane was handled: a retired one to its end, wherever that was.
fn cursor(snapshot: &ReadTransaction, key: (u128, u64)) -> Result<u64, Fault> {
    let cursors = match snapshot.open_table(schema::CURSORS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        cursors => cursors?,
    };
    if let Some(row) = ReadableTable::get(&cursors, key)? {
        return Ok(row.value().0);
    }
    let retired = match snapshot.open_table(schema::RETIRED) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        retired => retired?,
    };
    let before = ReadableTable::range(&retired, (key.0, 0)..=key)?.next_back().transpose()?;
    Ok(before.filter(|(_, last)| last.value() >= key.1).map_or(0, |_| u64::MAX))
}

pub(super) fn check_format(path: &Path, found: u64) -> Result<(), OpenError> {
    if found > schema::FORMAT {
        return Err(OpenError::TooNew { path: path.to_owned(), expected: schema::FORMAT, found });
    }
    Ok(())
}

pub(super) fn damaged(path: &Path) -> impl Fn(Fault) -> OpenError {
    |fault| OpenError::Damaged { path: path.to_owned(), found: fault.to_string() }
}
