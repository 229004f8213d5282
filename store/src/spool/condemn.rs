//! Segments that are not trusted any more: because packets were missing in them, or because a write
//! or an fsync failed (R10). What they still hold is verified and moved into the active segment, in
//! bounded steps; a damaged file then goes into the quarantine, another one is removed.

use std::collections::BTreeMap;

use super::quarantine::{self, Report};
use super::read::Ask;
use super::segment::Paths;
use super::writer::Writer;
use crate::disk::Disk;

/// Each with whether it is damaged.
pub(super) type Condemned = BTreeMap<u64, bool>;

/// How much is moved at once, at most.
const STEP_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Writer {
    /// Distrusts a sealed segment from now on.
    pub(super) fn condemn(&mut self, segment: u64, damaged: bool) {
        let before = self.condemned.insert(segment, damaged);
        if before == Some(true) {
            self.condemned.insert(segment, true);
        }
        self.condemned_anew |= before != self.condemned.get(&segment).copied();
    }

    /// How much is moved at once.
    pub(super) fn step(&self) -> u64 {
        STEP_BYTES_MAX.min(self.options.max_bytes / 32)
    }

    /// A condemned segment that still holds something.
    pub(super) fn condemned_next(&self) -> Option<u64> {
        let files = self.shared.files();
        let held = |segment: &u64| files.catalog.pieces_of(*segment).next().is_some();
        let mut movable = self.condemned.keys().filter(|one| !self.immovable.contains(one));
        movable.find(|segment| held(segment)).copied()
    }

    /// Removes the segments that hold nothing any more.
    pub(super) fn remove_empty(&mut self) {
        let empty = self.shared.files().catalog.take_empty();
        if empty.is_empty() {
            return;
        }
        for segment in empty {
            let _ = self.reader.send(Ask::Forget { segment });
            self.looking.sealed.forget(segment);
            let condemned = self.condemned.remove(&segment);
            self.condemned_anew |= condemned.is_some();
            if condemned == Some(true) {
                self.quarantine(segment);
            } else {
                // A file that stays is removed at the next opening: no manifest names it.
                let _ = self.disk.remove(&self.paths.segment(segment));
            }
            let _ = self.disk.remove(&self.paths.failed(segment));
        }
        let _ = self.disk.sync_dir(&self.paths.segments());
    }

    /// Puts a damaged segment into the quarantine. When this fails it stays where it is.
    fn quarantine(&mut self, segment: u64) {
        self.shared.now();
        let wall_ms = self.shared.clock_row().reading.wall_ms;
        let taken = take(&*self.disk, &self.paths, segment, wall_ms);
        self.tell(taken.into_iter().collect());
    }
}

/// Puts a damaged segment into the quarantine; says so when it did.
pub(super) fn take(disk: &dyn Disk, paths: &Paths, segment: u64, wall_ms: u64) -> Option<String> {
    let bytes = disk.size(&paths.segment(segment)).unwrap_or(0);
    let file = quarantine::take(disk, paths, &paths.segment(segment)).ok()??;
    let found = format!("segment {segment} is damaged; what could be read of it was moved on");
    let report = Report {
        time: quarantine::time(wall_ms),
        segment: Some(segment),
        lane: None,
        target: None,
        first: None,
        last: None,
        bytes,
        found,
        file: Some(file),
    };
    let _ = quarantine::report(disk, paths, &report);
    Some(report.sentence())
}
