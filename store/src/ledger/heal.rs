//! After a write or an fsync that failed (R10).
//!
//! redb refuses that handle for good, and rightly: what the page cache holds may never have reached
//! the disk. So the file is never written to again. It is read once more, without writing to it and
//! with every checksum verified, the rows that the failed transaction touched are put back to what
//! they were before, because everybody who waited for it was told that it failed, and all of it is
//! written into a new file, which then takes the ledger's name. Whichever of the two a crash leaves
//! under that name, it is whole; and nothing is recorded before the new name is durable.
//!
//! Until that has worked every order is refused, and it is tried again and again. When room is what
//! is missing, the headroom is given up for it (`room.rs`).

use std::mem;
use std::time::Duration;

use redb::ReadableDatabase;

use super::facts::LedgerEvent;
use super::open::CACHE_BYTES;
use super::tables;
use super::writer::Writer;
use crate::database;
use crate::fault::Fault;

/// The waits between two tries: a ledger may be large, and a broken disk stays broken.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often an idle ledger looks whether there is room on the disk.
const IDLE: Duration = Duration::from_secs(1);

/// How the ledger is, as it was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Condition {
    #[default]
    Works,
    DiskFull,
    Failed,
}

impl Writer {
    /// A transaction failed. The file of the ledger is distrusted, unless it was only that of the
    /// dead letters.
    pub(super) fn fail(&mut self, fault: Fault, ledger: bool) {
        if ledger {
            self.db = None;
        }
        self.failed = Some(fault);
    }

    /// Tries to go on after a failure.
    pub(super) fn heal(&mut self) {
        let Some(fault) = &self.failed else { return };
        if *fault == Fault::Full {
            self.room.give_up();
        }
        match self.try_to_heal() {
            Ok(()) => {
                self.failed = None;
                self.retry_after = RETRY_MIN;
            }
            Err(fault) => {
                self.failed = Some(fault);
                self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
            }
        }
    }

    fn try_to_heal(&mut self) -> Result<(), Fault> {
        if self.db.is_none() {
            let old = database::look(&*self.disk, &self.path, CACHE_BYTES)?;
            let snapshot = old.begin_read()?;
            let before = &self.before;
            let (db, len) =
                database::replace(&*self.disk, &self.dir, &self.path, CACHE_BYTES, |to| {
                    tables::copy(&snapshot, to)?;
                    before.restore(to)
                })?;
            (self.db, self.len) = (Some(db), len);
            self.before.clear();
        }
        self.dead.mend()
    }

    /// How long to wait for an order before looking after the ledger.
    pub(super) fn patience(&self) -> Duration {
        if self.failed.is_some() {
            self.retry_after
        } else if self.has_room {
            IDLE
        } else {
            RETRY_MIN
        }
    }

    /// Nobody wants anything: heals what failed, and looks whether there is room.
    pub(super) fn tick(&mut self) {
        self.heal();
        self.look_for_room();
        self.publish_status();
    }

    pub(super) fn look_for_room(&mut self) {
        if self.failed.is_none() {
            self.has_room = self.room.look(self.file_bytes());
        }
    }

    pub(super) fn condition(&self) -> Condition {
        match &self.failed {
            Some(Fault::Damaged(_) | Fault::Broken(_)) => Condition::Failed,
            Some(Fault::Full) => Condition::DiskFull,
            None if !self.has_room => Condition::DiskFull,
            None => Condition::Works,
        }
    }

    /// Tells whoever watches what has changed.
    pub(super) fn tell(&mut self) {
        let condition = self.condition();
        let notes = self.dead.take_notes();
        let Some(watch) = &mut self.watch else { return self.notes.extend(notes) };
        for note in mem::take(&mut self.notes).into_iter().chain(notes) {
            watch(LedgerEvent::Note(note));
        }
        if mem::replace(&mut self.told, condition) != condition {
            watch(match condition {
                Condition::Works => LedgerEvent::Works,
                Condition::DiskFull => LedgerEvent::DiskFull,
                Condition::Failed => LedgerEvent::Failed(
                    self.failed.as_ref().map(Fault::to_string).unwrap_or_default(),
                ),
            });
        }
    }
}
