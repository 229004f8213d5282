//! Room: whether the quota takes another append, when the active segment is full, and how the next
//! one is begun (R9).
//!
//! What counts is the real bytes of the files. redb doubles a file when it is full, so what is
//! promised to an append is what the file will be after that; and a little is kept back, because
//! letting go of packets writes too.

use std::mem;
use std::sync::Arc;

use redb::Database;

use super::begin::Beginning;
use super::read::Ask;
use super::room::Room;
use super::segment::{self, Active};
use super::size;
use super::stage::Stage;
use super::writer::Writer;
use crate::database::NotMade;
use crate::error::AppendError;
use crate::fault::Fault;

/// What is kept back of the disk itself, beyond what a file grows by.
pub(super) const DISK_RESERVE_BYTES: u64 = 1024 * 1024;

/// What is kept back of the quota for cleaning up, at most.
const HEADROOM_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Writer {
    /// Whether `bytes` more of records fit the quota and leave `left` bytes of it.
    pub(super) fn check_room(&self, bytes: u64, left: u64) -> Result<(), AppendError> {
        let (max_bytes, headroom) = (self.options.max_bytes, self.headroom());
        let commit_bytes =
            size::commit_bytes(self.stage.bytes + bytes, self.stage.lanes_count() + 1);
        match self.room(commit_bytes, self.quota_left().saturating_sub(headroom.max(left))) {
            Some(_) => Ok(()),
            None => Err(AppendError::Full { used_bytes: self.file_bytes(), max_bytes }),
        }
    }

    /// Sees to it that the active segment takes what is staged and what is moved; if it cannot,
    /// nothing was written.
    pub(super) fn make_room(&mut self, stage: &Stage) -> Result<(), AppendError> {
        let (lanes, bytes) = (stage.lanes_count(), stage.bytes);
        if let Some(moved) = &self.moved {
            let pieces = moved.pieces.iter();
            let moved_bytes: u64 = pieces.map(|(moving, _)| moving.piece.bytes).sum();
            let all = lanes + moved.pieces.len() as u64;
            if self.provide(size::commit_bytes(bytes + moved_bytes, all)).is_ok() {
                return Ok(());
            }
            // Another time, then: it would not fit even into what is kept back for this.
            self.moved = None;
        }
        if let Some(fault) = &self.failed {
            return Err(fault.clone().into());
        }
        if stage.is_empty() {
            return Ok(());
        }
        self.provide(size::commit_bytes(bytes, lanes))
    }

    fn provide(&mut self, commit_bytes: u64) -> Result<(), AppendError> {
        if self.room(commit_bytes, 0) == Some(Room::Enough) {
            return Ok(());
        }
        // A disk that cannot tell is believed to have room.
        let disk = self.disk.available(self.paths.root()).unwrap_or(u64::MAX);
        let (disk, quota) = (disk.saturating_sub(DISK_RESERVE_BYTES), self.quota_left());
        match self.room(commit_bytes, quota.min(disk)) {
            Some(Room::Enough | Room::Grow(_)) => Ok(()),
            Some(Room::Rotate(_)) => self.rotate().map_err(AppendError::from),
            None if disk < quota => Err(AppendError::DiskFull),
            None => {
                let (used_bytes, max_bytes) = (self.file_bytes(), self.options.max_bytes);
                Err(AppendError::Full { used_bytes, max_bytes })
            }
        }
    }

    /// Whether the disk, too, takes a commit of so many bytes of records.
    pub(super) fn disk_takes(&self, bytes: u64) -> bool {
        let disk = self.disk.available(self.paths.root()).unwrap_or(u64::MAX);
        let left = self.quota_left().min(disk.saturating_sub(DISK_RESERVE_BYTES));
        self.room(size::commit_bytes(bytes, 1), left).is_some()
    }

    pub(super) fn quota_left(&self) -> u64 {
        self.options.max_bytes.saturating_sub(self.file_bytes())
    }

    /// What is kept back of the quota for cleaning up.
    pub(super) fn headroom(&self) -> u64 {
        (self.options.max_bytes / 64).min(HEADROOM_BYTES_MAX)
    }

    /// How a commit can be taken when the files may grow by no more than `left` bytes.
    fn room(&self, commit_bytes: u64, left: u64) -> Option<Room> {
        self.fill().room(commit_bytes, left)
    }

    /// Seals the active segment and begins the next.
    pub(super) fn rotate(&mut self) -> Result<(), Fault> {
        let number = self.next_segment;
        self.next_segment += 1;
        let base = self.tables_bytes();
        let sealing = self.active_pieces().map(|(lane, piece)| (self.active.number, lane, piece));
        let positions = self.shared.positions().clone();
        let beginning = Beginning {
            row: self.spool_row(number),
            clock: self.shared.clock_row(),
            lanes: &self.lanes,
            pieces: self.shared.files().catalog.pieces().chain(sealing).collect(),
            condemned: &self.condemned,
            positions: &positions,
            keys: &self.keys,
        };
        match segment::create(&*self.disk, &self.paths, base, &beginning) {
            Ok(active) => {
                self.put_active(active);
                Ok(())
            }
            Err(NotMade { fault, gone: true }) => Err(fault),
            Err(NotMade { fault, gone: false }) => {
                // The next opening may find it, and would believe it: nothing may be added to the
                // segment before it. The next attempt has a higher number, and settles it.
                self.fail(fault.clone());
                Err(fault)
            }
        }
    }

    /// From here on appends go to `next`; what the lanes have is in sealed segments.
    fn put_active(&mut self, next: Active) {
        let sealed = mem::replace(&mut self.active, next);
        let number = sealed.number;
        if self.failed.is_none() {
            self.seal_pieces(number, sealed.len(), Some(Arc::clone(&sealed.db)));
        }
        if self.failed.take().is_some() {
            let _ = self.disk.remove(&self.paths.failed(number));
        }
        self.condemned_anew = false;
        self.shared.files().active = Some(Arc::clone(&self.active.db));
        drop(sealed);
        self.remove_empty();
        let _ = self.reader.send(Ask::Close { segment: number });
        self.publish_status();
    }

    /// The pieces of the active segment are those of a sealed one now.
    pub(super) fn seal_pieces(&mut self, number: u64, bytes: u64, handle: Option<Arc<Database>>) {
        let catalog = &mut self.shared.files().catalog;
        catalog.add_segment(number, bytes, handle);
        for (lane, entry) in self.lanes.iter_mut() {
            for piece in entry.active.drain(..) {
                entry.sealed_bytes += piece.bytes;
                catalog.add_piece(number, lane, piece);
            }
        }
    }
}
