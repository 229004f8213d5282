//! Room on the disk: whether anything may be recorded, and the headroom for healing (R9, DESIGN.md
//! "Full disks").
//!
//! A file of the right size, `headroom`, keeps room that nobody else can take. Recording stops while
//! there is still some beside it. When a write finds the disk full all the same, the headroom is
//! given up, so that the ledger can be written anew; it is made again before anything is recorded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::disk::Disk;

/// The least headroom: a small ledger, written anew, with its dead letters' newest segment.
const HEADROOM_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// What must be free beside the headroom for a transaction, and for the log of whoever runs this.
const FREE_BYTES_MIN: u64 = 1024 * 1024;

/// How often the disk is asked while it has room and transactions follow each other: in this time
/// nobody fills what must be free, or if so, a transaction fails, and the headroom heals it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The disk's room, as far as the ledger needs it.
#[derive(Debug)]
pub(super) struct Room {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    held_bytes: u64,
    full: bool,
    /// When the disk was last asked.
    looked: Option<Instant>,
}

impl Room {
    /// Takes up the headroom that is in `dir`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        let mut room = Self { disk, dir: dir.to_owned(), held_bytes: 0, full: false, looked: None };
        room.held_bytes = room.disk.size(&room.path()).unwrap_or(0);
        room
    }

    /// Whether there is room for a transaction of a ledger of `ledger_bytes`; makes the headroom
    /// when it is not there.
    pub(super) fn look(&mut self, ledger_bytes: u64) -> bool {
        let wanted = wanted(ledger_bytes);
        let missing = wanted.saturating_sub(self.held_bytes);
        // A little more to come out of it than to get into it, so that it does not flicker.
        let free_bytes = if self.full { 2 * FREE_BYTES_MIN } else { FREE_BYTES_MIN };
        let now = clock::now();
        let lately = self.looked.is_some_and(|at| now.duration_since(at) < LOOK_EVERY);
        if lately && missing == 0 && !self.full {
            return true;
        }
        self.looked = Some(now);
        // A disk that cannot tell is believed to have room.
        let available = self.disk.available(&self.dir).unwrap_or(u64::MAX);
        self.full = available < missing.saturating_add(free_bytes);
        if !self.full && missing > 0 && self.make(wanted).is_err() {
            // A disk that takes everything but this: what is written says whether it is full.
            self.held_bytes = 0;
        }
        !self.full
    }

    /// Gives the headroom up: something has to be written.
    pub(super) fn give_up(&mut self) {
        if self.held_bytes > 0 && self.disk.remove(&self.path()).is_ok() {
            self.held_bytes = 0;
        }
    }

    fn make(&mut self, bytes: u64) -> io::Result<()> {
        let made = self.disk.open(&self.path(), true).and_then(|file| {
            file.set_len(bytes)?;
            file.sync_data()
        });
        match &made {
            Ok(()) => self.held_bytes = bytes,
            Err(_) => drop(self.disk.remove(&self.path())),
        }
        made
    }

    fn path(&self) -> PathBuf {
        self.dir.join("headroom")
    }
}

/// Twice the ledger, because a file may have to double while it is written.
fn wanted(ledger_bytes: u64) -> u64 {
    ledger_bytes.saturating_mul(2).max(HEADROOM_BYTES_MIN)
}
