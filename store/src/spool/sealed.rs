//! The sealed segments that are open for reading.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase};

use super::read::Trouble;
use super::segment::Paths;
use super::shared::Shared;
use crate::disk::{Backend, Disk};
use crate::fault::Fault;
use crate::overlay::Overlay;

/// How many are kept open: as a rule one is read by every lane that catches up.
const OPEN_MAX: usize = 4;

/// The cache of each: its runs are read once.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Opens sealed segments when they are needed.
pub(super) struct SealedSegments {
    disk: Arc<dyn Disk>,
    paths: Paths,
    /// The one used last stands last.
    open: VecDeque<(u64, Sealed)>,
}

/// A sealed segment that is open.
enum Sealed {
    /// Closed cleanly, read as it is.
    Clean(ReadOnlyDatabase),
    /// Not closed cleanly: read as if it had been repaired.
    Unclean(Database),
}

impl SealedSegments {
    /// None is open yet.
    pub(super) fn new(disk: Arc<dyn Disk>, paths: Paths) -> Self {
        Self { disk, paths, open: VecDeque::new() }
    }

    /// Lets go of a segment that was removed.
    pub(super) fn forget(&mut self, segment: u64) {
        self.open.retain(|(number, _)| *number != segment);
    }

    /// Lets go of all segments.
    pub(super) fn forget_all(&mut self) {
        self.open.clear();
    }

    /// A snapshot of a sealed segment.
    pub(super) fn begin_read(
        &mut self,
        segment: u64,
        shared: &Shared,
    ) -> Result<ReadTransaction, Trouble> {
        let unclosed = shared.files().catalog.segment_mut(segment).and_then(|s| s.open.clone());
        if let Some(db) = unclosed {
            return Ok(db.begin_read()?);
        }
        let place = self.open.iter().position(|(number, _)| *number == segment);
        let open = match place.and_then(|place| self.open.remove(place)) {
            Some((_, sealed)) => sealed,
            None => self.open(segment)?,
        };
        let read = match &open {
            Sealed::Clean(db) => db.begin_read(),
            Sealed::Unclean(db) => db.begin_read(),
        };
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((segment, open));
        Ok(read?)
    }

    /// How long a segment's file is.
    pub(super) fn file_bytes(&self, segment: u64) -> io::Result<u64> {
        self.disk.size(&self.paths.segment(segment))
    }

    fn open(&self, segment: u64) -> Result<Sealed, Fault> {
        let path = self.paths.segment(segment);
        let file = || Ok::<_, Fault>(Backend(self.disk.open(&path, false)?));
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        match builder.open_read_only_with_backend(file()?) {
            Ok(db) => Ok(Sealed::Clean(db)),
            Err(DatabaseError::RepairAborted) => {
                Ok(Sealed::Unclean(builder.create_with_backend(Overlay::new(file()?)?)?))
            }
            Err(error) => Err(error.into()),
        }
    }
}
