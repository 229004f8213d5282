//! After a write or an fsync that failed (R10).
//!
//! redb refuses that handle for good, and rightly: what the page cache holds may never have reached
//! the disk, and reading it back proves nothing. So the segment is sealed as it stood at the last
//! commit, a new one is begun, and what the distrusted one still holds is verified and moved into the
//! new one (`condemn.rs`), where an fsync vouches for it. What the failed commit wrote is not counted:
//! its senders heard "unknown", and its numbers were never told to anybody.
//!
//! While no new segment can be made, every append is refused, reading goes on, and it is tried again
//! with every tick. When the process ends before that, the next opening must not repair the old file
//! in place either, as it does after a crash: redb would make durable what leads to pages that are
//! not. `NNNNNNNN.failed` says so. It is not synced, and need not be: what is not to be trusted is the
//! page cache, and whatever clears that clears both. The opening then reads the file through memory
//! (`overlay.rs`) and begins a new segment at once. A file that was merely not closed is repaired in
//! place: every fsync that it ever saw was good, and moving all of it would double it.

use std::mem;

use super::writer::Writer;
use crate::clock;
use crate::fault::Fault;

impl Writer {
    /// The active segment failed: it is a sealed one from here on.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.is_full_by(&fault);
        if self.failed.replace(fault).is_none() {
            let number = self.active.number;
            self.seal_pieces(number, self.active.len(), None);
            self.condemn(number, false);
            // Best said, but nothing depends on it while this process lives.
            let _ = self.disk.open(&self.paths.failed(number), true);
        }
        self.shared.files().active = None;
        self.moved = None;
        self.publish_status();
    }

    /// The commit that failed dropped packets, and may or may not be what is read of its segment
    /// from here on. They may go whichever it is, so they are gone for the lane table; the next
    /// segment makes that durable.
    pub(super) fn adopt_drops(&mut self) {
        self.drops_since = None;
        for (lane, waived) in mem::take(&mut self.drops) {
            let Some(mut entry) = self.lanes.get(lane).cloned() else { continue };
            entry.acknowledge(waived);
            {
                let catalog = &mut self.shared.files().catalog;
                let done: Vec<_> = catalog.pieces_through(lane, entry.acked).collect();
                for (_, piece) in done {
                    entry.sealed_bytes = entry.sealed_bytes.saturating_sub(piece.bytes);
                    catalog.remove_piece(lane, piece.last);
                }
            }
            self.put_lane(lane, entry);
        }
    }

    /// Tries to begin a new segment, which ends the failure.
    pub(super) fn heal(&mut self) {
        if self.rotate().is_ok() && self.frees() {
            self.drops_since.get_or_insert_with(clock::now);
        }
        self.publish_status();
    }
}
