//! After a write or an fsync that failed (R10).
//!
//! redb refuses that handle for good, and rightly: what the page cache holds may never have reached
//! the disk. So the file is never written to again. It is read once more, without writing to it and
//! with every checksum verified, as it was at the last commit that was answered, because everybody
//! who waited for a later one was told that it failed; and all of that is written into a new file,
//! which then takes the ledger's name. Whichever of the two a crash leaves under that name, it is
//! whole; and nothing is recorded before the new name is durable.
//!
//! A file shows the commit that its first page names, and redb falls back to the one before, silently,
//! when that is damaged. So the first page is taken from memory, and every commit has its number in
//! the file: a copy with another number than that of the last answer is not used. Then the ledger
//! stays failed and says so, and a backup is needed. Memory is gone after a crash: what is damaged
//! then is a commit like one that the power cut, and the ledger begins at the one before.
//!
//! Until that has worked every order is refused, and it is tried again and again. When room is what
//! is missing, the headroom is given up for it (`room.rs`).

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadTransaction, ReadableDatabase};

use super::facts::LedgerEvent;
use super::open::CACHE_BYTES;
use super::tables;
use super::writer::Writer;
use crate::clock;
use crate::database::{self, FirstPage, Outline};
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
        self.history.forget();
        self.census.forget();
        // At once, for most failures pass; then again and again.
        self.retry_at = clock::now();
    }

    /// Tries to go on after a failure, unless it has just tried. Whoever asks for something meanwhile
    /// neither hastens nor delays it.
    pub(super) fn heal_if_due(&mut self) {
        let Some(fault) = &self.failed else { return };
        if clock::now() < self.retry_at {
            return;
        }
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
                self.retry_at = clock::now() + self.retry_after;
                self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
            }
        }
        self.publish_status();
    }

    fn try_to_heal(&mut self) -> Result<(), Fault> {
        if self.db.is_none() {
            let (_old, snapshot) = self.last_commit()?;
            let (db, outline): (_, Arc<Outline>) =
                database::replace(&*self.disk, &self.dir, &self.path, CACHE_BYTES, |to| {
                    tables::copy(&snapshot, to)
                })?;
            (self.db, self.first, self.outline) = (Some(db), outline.first_page(), outline);
        }
        self.dead.mend()
    }

    /// The ledger as it was at the last commit that was answered.
    fn last_commit(&self) -> Result<(Database, ReadTransaction), Fault> {
        self.look(Some(&self.first)).or_else(|fault| {
            // A try that failed late may have given the name to its new file already.
            self.look(None).map_err(|_| fault)
        })
    }

    fn look(&self, first: Option<&FirstPage>) -> Result<(Database, ReadTransaction), Fault> {
        let old = database::look_as(&*self.disk, &self.path, CACHE_BYTES, first)?;
        let snapshot = old.begin_read()?;
        let found = tables::read(&snapshot)?.commits;
        if found != self.commits {
            let expected = format!("commit {} in ledger.redb", self.commits);
            return Err(Fault::damaged(&expected, format_args!("commit {found}")));
        }
        Ok((old, snapshot))
    }

    /// How long to wait for an order before looking after the ledger.
    pub(super) fn patience(&self) -> Duration {
        if self.failed.is_some() {
            self.retry_at.saturating_duration_since(clock::now())
        } else if self.has_room {
            IDLE
        } else {
            RETRY_MIN
        }
    }

    /// Nobody wants anything: heals what failed, and looks whether there is room.
    pub(super) fn tick(&mut self) {
        self.heal_if_due();
        self.look_for_room();
        self.catch_up();
        if self.dead.has_replayed() && self.failed.is_none() {
            self.work(Vec::new());
        }
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
