//! After a write or an fsync that failed (R10).
//!
//! redb refuses that handle for good, and rightly: what the page cache holds may never have reached
//! the disk. So the segment is sealed as it stood at the last commit, read from then on through
//! memory (`overlay.rs`), and a new one is begun. What the failed commit wrote is not counted: its
//! senders heard "unknown", and its numbers were never told to anybody.
//!
//! While no new segment can be made, every append is refused, reading goes on, and it is tried again
//! with every tick. (Moving the live runs out of the distrusted file is left to recovery.)

use std::mem;

use super::writer::Writer;
use crate::clock;
use crate::fault::Fault;

impl Writer {
    /// The active segment failed: it is a sealed one from here on.
    pub(super) fn fail(&mut self, fault: Fault) {
        if self.failed.replace(fault).is_none() {
            self.seal_pieces(self.active.number, self.active.len(), None);
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
        if self.rotate().is_ok() && !self.drops.is_empty() {
            self.drops_since.get_or_insert_with(clock::now);
        }
        self.publish_status();
    }
}
