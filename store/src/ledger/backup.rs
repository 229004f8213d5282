//! Backups: a copy of the ledger as it was at one moment, while it goes on working.
//!
//! The copy is a ledger's file, with cursors, fences, files and totals, and without dead letters.

use std::path::{Path, PathBuf};

use redb::{ReadTransaction, ReadableDatabase};

use super::open::CACHE_BYTES;
use super::tables;
use super::writer::Writer;
use crate::database;
use crate::disk::Disk;
use crate::error::LedgerError;
use crate::fault::Fault;
use crate::reply::Promise;
use crate::thread;

impl Writer {
    /// Copies the ledger to `path`, on a thread of its own.
    pub(super) fn back_up(&mut self, path: PathBuf, promise: Promise<(), LedgerError>) {
        let snapshot = match (&self.failed, &self.db) {
            (None, Some(db)) => db.begin_read().map_err(Fault::from),
            (failed, _) => Err(failed.clone().unwrap_or(Fault::Full)),
        };
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(fault) => return promise.keep(Err(fault.into())),
        };
        let disk = std::sync::Arc::clone(&self.disk);
        self.backups.retain(|backup| !backup.is_finished());
        let copy = move || {
            let copied = write(&*disk, &snapshot, &path).map_err(LedgerError::from);
            promise.keep(copied);
        };
        // When no thread can be started, the promise is dropped, and says that it is closed.
        self.backups.extend(thread::start("ledger-backup", copy).ok());
    }
}

/// Writes what is in `snapshot` into the file `path`, durably, under a temporary name first.
pub(super) fn write(disk: &dyn Disk, snapshot: &ReadTransaction, path: &Path) -> Result<(), Fault> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let (db, _) = database::replace(disk, dir, path, CACHE_BYTES, |to| tables::copy(snapshot, to))?;
    Ok(db.close()?)
}
