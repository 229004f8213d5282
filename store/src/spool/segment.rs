//! Segment files: their names, how one is made, and how the active one is opened.
//!
//! A segment is made under a temporary name, filled, committed, renamed, and its directory synced,
//! all before "stored" is said from it (R1): whatever bears a segment's name is whole. A file is
//! never written to again once the next segment has its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, WriteTransaction};

use super::begin::Beginning;
use super::newest::{self, Newest};
use crate::database::{self, NotMade, Outline};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::schema;

/// The cache of the active segment: what is sent and acknowledged soon after it was stored is
/// neither read back for sending nor for dropping.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Where a spool's files are.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The files of the spool in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory of the spool.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The lock of the directory.
    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The directory of the segments.
    pub(super) fn segments(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Where damaged bytes are kept (R10).
    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// A segment's file.
    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:08}.seg"))
    }

    /// A segment's file while it is made.
    pub(super) fn temporary(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:08}.tmp"))
    }

    /// Says that a segment's fsync failed.
    pub(super) fn failed(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:08}.failed"))
    }

    /// Names the newest segment.
    pub(super) fn newest(&self) -> PathBuf {
        self.segments().join("newest")
    }

    /// Names the client that the spool was made for.
    pub(super) fn client(&self) -> PathBuf {
        self.segments().join("client")
    }

    /// The number of the segment that a file's name says, if it says one.
    pub(super) fn number(name: &str) -> Option<u64> {
        name.strip_suffix(".seg")?.parse().ok()
    }
}

/// Where what is written to a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// Into its file.
    File,
    /// Into memory.
    Memory,
}

/// The segment that takes appends.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) db: Arc<Database>,
    outline: Arc<Outline>,
    /// About how much of the file the tables took that it began with.
    pub(super) base: u64,
    /// About how much of it is in use.
    pub(super) filled: u64,
    /// The most that was in use since somebody last asked.
    pub(super) peak: u64,
}

impl Active {
    /// The bytes of its file.
    pub(super) fn len(&self) -> u64 {
        self.outline.bytes()
    }

    /// Counts what a commit added and removed.
    pub(super) fn count(&mut self, added: u64, removed: u64) {
        self.filled = self.filled.saturating_add(added).saturating_sub(removed);
        self.peak = self.peak.max(self.filled);
    }
}

/// Makes the segment that `beginning` says, which is about `base` bytes.
pub(super) fn create(
    disk: &dyn Disk,
    paths: &Paths,
    base: u64,
    beginning: &Beginning<'_>,
) -> Result<Active, NotMade> {
    let (number, spool) = (beginning.row.segment, beginning.row.spool);
    let (dir, temporary, path) = (paths.segments(), paths.temporary(number), paths.segment(number));
    let fill = |transaction: &WriteTransaction| beginning.fill(transaction);
    let (db, outline) = database::create(disk, &dir, &temporary, &path, CACHE_BYTES, fill)?;
    let newest = Newest { format: schema::FORMAT, segment: number, spool };
    // Its name is durable: taking it back could leave `newest` naming what is not there.
    newest::write(disk, paths, newest).map_err(|fault| NotMade { fault, gone: false })?;
    Ok(Active { number, db: Arc::new(db), outline, base, filled: base, peak: base })
}

/// Opens segment `number`: to append to it, or over memory, so that the file is not touched.
pub(super) fn open_active(
    disk: &dyn Disk,
    paths: &Paths,
    number: u64,
    touch: Touch,
) -> Result<Active, Fault> {
    let path = paths.segment(number);
    let (db, outline) = match touch {
        Touch::File => database::open(disk, &path, CACHE_BYTES)?,
        Touch::Memory => {
            let outline = Arc::new(Outline::of(disk.size(&path)?));
            (database::look(disk, &path, CACHE_BYTES)?, outline)
        }
    };
    Ok(Active { number, db: Arc::new(db), outline, base: 0, filled: 0, peak: 0 })
}
