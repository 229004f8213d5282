//! Checking a ledger that no process uses, without writing to it; setting a damaged one aside; and
//! copying it.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use paquebot_protocol::LedgerId;
use redb::ReadableDatabase;

use super::backup;
use super::dead::DeadLetters;
use super::open::{self, CACHE_BYTES, NAME, damaged};
use super::quarantine;
use super::tables;
use crate::database;
use crate::disk::{self, DirLock, Disk};
use crate::error::OpenError;
use crate::fault::Fault;

/// What checking a ledger found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerCheck {
    /// Who it is; nothing when it cannot be read.
    pub ledger: Option<LedgerId>,
    /// How many lanes it knows.
    pub lanes: u64,
    /// How many numbers its cursors jumped over, because they had their outcome elsewhere (R8).
    pub elsewhere: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
    /// The files that were read.
    pub files: Vec<CheckedFile>,
}

/// A file of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// What setting a damaged ledger aside did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// What was found.
    pub check: LedgerCheck,
    /// Where the damaged files are now.
    pub kept_as: Vec<PathBuf>,
    /// The report beside them.
    pub report: Option<PathBuf>,
    /// The ledger that was begun in place of the damaged one.
    pub begun: Option<LedgerId>,
}

impl LedgerCheck {
    /// Whether every file is as it was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.files.iter().all(|file| file.damage.is_none())
    }
}

/// Reads all of the ledger in `dir`, verifying every byte. Writes nothing but the lock's file.
///
/// # Errors
/// When a process holds it, or there is none.
pub fn check(dir: &Path, disk: &dyn Disk) -> Result<LedgerCheck, OpenError> {
    let _lock = lock(dir, disk)?;
    look(dir, disk).map(|(check, _)| check)
}

/// Moves the damaged files of the ledger in `dir` to quarantine, with a report. When the ledger's
/// own file is among them, a new ledger is begun, with a new id, so that every client knows; the
/// dead letters that can be read stay.
///
/// # Errors
/// When a process holds it, there is none, it is of a later release, or the disk refuses.
pub fn set_aside(dir: &Path, disk: &dyn Disk) -> Result<SetAside, OpenError> {
    let _lock = lock(dir, disk)?;
    let (check, last_position) = look(dir, disk)?;
    let mut done = SetAside { check, kept_as: Vec::new(), report: None, begun: None };
    if done.check.is_intact() {
        return Ok(done);
    }
    let failed = |source| OpenError::Io { path: dir.to_owned(), source };
    let quarantine = quarantine::dir(dir);
    disk::make_dir(disk, &quarantine).map_err(failed)?;
    let bad = done.check.files.iter().filter(|file| file.damage.is_some());
    let bad: Vec<CheckedFile> = bad.cloned().collect();
    let mut report = String::from("These files could not be read, and were moved here.\n");
    for CheckedFile { path, damage } in &bad {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_else(|| "file".to_owned());
        let aside = quarantine::free_name(disk, &quarantine, &stem).map_err(failed)?;
        let damage = damage.as_deref().unwrap_or("nothing wrong");
        let (from, to) = (path.display(), aside.display());
        // A String takes every line.
        let _ = writeln!(report, "{from} is kept as {to}: {damage}");
        done.kept_as.push(aside);
    }
    let written = quarantine::free_name(disk, &quarantine, "report").map_err(failed)?;
    write_text(disk, &written, &report).map_err(failed)?;
    for (CheckedFile { path, .. }, aside) in bad.iter().zip(&done.kept_as) {
        disk.rename(path, aside).map_err(failed)?;
    }
    disk.sync_dir(&quarantine).map_err(failed)?;
    if disk.list(&DeadLetters::dir(dir)).is_ok() {
        disk.sync_dir(&DeadLetters::dir(dir)).map_err(failed)?;
    }
    disk.sync_dir(dir).map_err(failed)?;
    let path = dir.join(NAME);
    if bad.iter().any(|file| file.path == path) {
        let made = open::create(disk, dir, last_position);
        let (db, _) = made.map_err(|not_made| damaged(&path)(not_made.fault))?;
        done.begun = Some(open::id_of(&db).map_err(damaged(&path))?);
        db.close().map_err(|error| damaged(&path)(error.into()))?;
    }
    done.report = Some(written);
    Ok(done)
}

/// Copies the ledger in `dir`, which no process holds, to `path`: without its dead letters.
///
/// # Errors
/// When a process holds it, there is none, it is damaged, or the disk refuses.
pub fn copy(dir: &Path, path: &Path, disk: &dyn Disk) -> Result<(), OpenError> {
    let _lock = lock(dir, disk)?;
    let from = dir.join(NAME);
    let db = database::look(disk, &from, CACHE_BYTES).map_err(damaged(&from))?;
    let snapshot = db.begin_read().map_err(|error| damaged(&from)(error.into()))?;
    tables::verify(&snapshot).map_err(damaged(&from))?;
    backup::write(disk, &snapshot, path).map_err(|fault| OpenError::Io {
        path: path.to_owned(),
        source: io::Error::other(fault.to_string()),
    })
}

fn lock(dir: &Path, disk: &dyn Disk) -> Result<DirLock, OpenError> {
    let missing = |source| OpenError::Io { path: dir.to_owned(), source };
    let names = disk.list(dir).map_err(missing)?;
    let was_here = disk.list(&DeadLetters::dir(dir)).is_ok();
    if !names.iter().any(|name| name == NAME) && !was_here {
        let found = "no such file".to_owned();
        return Err(OpenError::Damaged { path: dir.join(NAME), found });
    }
    disk::lock_dir(disk, dir, &dir.join("lock"))
}

/// Looks at every file; gives the highest position of a dead letter, too.
fn look(dir: &Path, disk: &dyn Disk) -> Result<(LedgerCheck, u64), OpenError> {
    let mut check = LedgerCheck::default();
    let path = dir.join(NAME);
    let damage = match read(disk, &path) {
        Ok((ledger, format, (lanes, elsewhere))) => {
            open::check_format(&path, format)?;
            (check.ledger, check.lanes, check.elsewhere) = (Some(ledger), lanes, elsewhere);
            None
        }
        Err(fault) => Some(fault.to_string()),
    };
    let there = disk.list(dir).is_ok_and(|names| names.iter().any(|name| name == NAME));
    let damage = damage.map(|damage| if there { damage } else { "no such file".to_owned() });
    check.files.push(CheckedFile { path, damage });
    let mut segments = disk.list(&DeadLetters::dir(dir)).unwrap_or_default();
    segments.sort_unstable();
    let mut last_position = 0;
    for number in segments.iter().filter_map(|name| DeadLetters::number(name)) {
        let path = DeadLetters::path_of(dir, number);
        let damage = match DeadLetters::look_at(disk, &path) {
            Ok((format, letters, last)) => {
                open::check_format(&path, format)?;
                check.dead_letters += letters;
                last_position = last.max(last_position);
                None
            }
            Err(fault) => Some(fault.to_string()),
        };
        check.files.push(CheckedFile { path, damage });
    }
    Ok((check, last_position))
}

fn read(disk: &dyn Disk, path: &Path) -> Result<(LedgerId, u64, (u64, u64)), Fault> {
    let db = database::look(disk, path, CACHE_BYTES)?;
    let snapshot = db.begin_read()?;
    let found = tables::read(&snapshot)?;
    Ok((found.ledger, found.format, tables::verify(&snapshot)?))
}

fn write_text(disk: &dyn Disk, path: &Path, text: &str) -> io::Result<()> {
    let file = disk.open(path, true)?;
    file.set_len(text.len() as u64)?;
    file.write(0, text.as_bytes())?;
    file.sync_data()
}
