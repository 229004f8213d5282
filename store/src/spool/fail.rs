//! After a write or an fsync that failed (R10).
//!
//! redb refuses that handle for good, and rightly: what the page cache holds may never have reached
//! the disk. So the segment is sealed as it stood at the last commit, read from then on through
//! memory (`overlay.rs`), and a new one is begun. What the failed commit wrote is not counted: its
//! senders heard "unknown", and its numbers were never told to anybody.
//!
//! While no new segment can be made, every append is refused, reading goes on, and it is tried again
//! with every tick. (Moving the live runs out of the distrusted file is left to recovery.)

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

    /// Tries to begin a new segment.
    pub(super) fn heal(&mut self) {
        if self.rotate().is_ok() {
            self.failed = None;
            self.drops_since.get_or_insert_with(clock::now);
        }
        self.publish_status();
    }
}
