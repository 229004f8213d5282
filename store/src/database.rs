//! redb files: how one is made so that it is whole or not there, and how one is opened.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Builder, Database, StorageBackend, WriteTransaction};

use crate::disk::{Backend, Disk};
use crate::fault::Fault;
use crate::overlay::Overlay;

/// The bytes of a page.
const PAGE: usize = 4096;

/// The first page of a file, where redb says which commit counts.
pub(crate) type FirstPage = Box<[u8; PAGE]>;

/// What is known of an open file without asking the disk.
#[derive(Debug)]
pub(crate) struct Outline {
    len: AtomicU64,
    first: Mutex<FirstPage>,
}

impl Outline {
    /// That of a file of `bytes` which is only looked at.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { len: bytes.into(), first: Mutex::new(Box::new([0; PAGE])) }
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Its first page as it was last written, whatever has become of it since. When a commit has
    /// just succeeded, it is that of this commit.
    pub(crate) fn first_page(&self) -> FirstPage {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A file was not made.
#[derive(Debug)]
pub(crate) struct NotMade {
    pub(crate) fault: Fault,
    /// Whether it is certain that no later opening finds it.
    pub(crate) gone: bool,
}

/// Makes the file `path` with what `fill` writes into it: under a temporary name, committed,
/// renamed, and its directory synced, so that whatever bears the name is whole (R1).
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &Path,
    temporary: &Path,
    path: &Path,
    cache_bytes: usize,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
) -> Result<(Database, Arc<Outline>), NotMade> {
    let made = make(disk, temporary, cache_bytes, fill);
    let database = made.map_err(|fault| NotMade { fault, gone: true })?;
    let name = || -> io::Result<()> {
        disk.rename(temporary, path)?;
        disk.sync_dir(dir)
    };
    name().map_err(|error| {
        let _ = disk.remove(temporary);
        let removed = disk.remove(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        let gone = removed.and_then(|()| disk.sync_dir(dir)).is_ok();
        NotMade { fault: error.into(), gone }
    })?;
    Ok(database)
}

/// Makes the file `path` as [`create`] does, in place of the one that bears the name now: whichever
/// of the two a crash leaves there, it is whole. After an error either may bear it.
pub(crate) fn replace(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    cache_bytes: usize,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
) -> Result<(Database, Arc<Outline>), Fault> {
    let temporary = path.with_extension("tmp");
    let made = make(disk, &temporary, cache_bytes, fill)?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)?;
    Ok(made)
}

/// Makes the file `temporary`, durably, or leaves none.
fn make(
    disk: &dyn Disk,
    temporary: &Path,
    cache_bytes: usize,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
) -> Result<(Database, Arc<Outline>), Fault> {
    let made = || {
        let (backend, outline) = Measured::open(disk, temporary, true)?;
        let db = Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?;
        let transaction = db.begin_write()?;
        fill(&transaction)?;
        transaction.commit()?;
        Ok((db, outline))
    };
    made().inspect_err(|_: &Fault| drop(disk.remove(temporary)))
}

/// Opens the file `path` to look at it: every byte is verified, and none is written.
pub(crate) fn look(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Database, Fault> {
    look_as(disk, path, cache_bytes, None)
}

/// Opens the file `path` to look at it, as it was when its first page was `first`: redb never
/// writes over a page that its last commit needs, so this shows a commit however far a later one
/// has come.
pub(crate) fn look_as(
    disk: &dyn Disk,
    path: &Path,
    cache_bytes: usize,
    first: Option<&FirstPage>,
) -> Result<Database, Fault> {
    let (backend, _) = Measured::open(disk, path, false)?;
    let overlay = Overlay::new(Backend(Box::new(backend)))?;
    if let Some(first) = first {
        overlay.write(0, first.as_slice())?;
    }
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(overlay)?)
}

/// Opens the file `path`. Every byte is verified, because redb may panic on a file that was changed
/// since it was closed: that takes about a millisecond a MiB.
pub(crate) fn open(
    disk: &dyn Disk,
    path: &Path,
    cache_bytes: usize,
) -> Result<(Database, Arc<Outline>), Fault> {
    let (backend, outline) = Measured::open(disk, path, false)?;
    let db = Builder::new()
        .set_cache_size(cache_bytes)
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)?;
    Ok((db, outline))
}

/// A backend that tells the outline of its file.
#[derive(Debug)]
struct Measured {
    backend: Backend,
    outline: Arc<Outline>,
}

impl Measured {
    fn open(disk: &dyn Disk, path: &Path, create: bool) -> Result<(Self, Arc<Outline>), Fault> {
        let backend = Backend(disk.open(path, create)?);
        let found = backend.len()?;
        if found == 0 && !create {
            // redb would make a new database of it.
            return Err(Fault::damaged("a database", "an empty file"));
        }
        let mut first = Box::new([0; PAGE]);
        if found >= PAGE as u64 {
            backend.read(0, first.as_mut_slice())?;
        }
        let outline = Arc::new(Outline { len: AtomicU64::new(found), first: Mutex::new(first) });
        Ok((Self { backend, outline: Arc::clone(&outline) }, outline))
    }
}

impl StorageBackend for Measured {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)?;
        self.outline.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)?;
        if let Some(at) = usize::try_from(offset).ok().filter(|at| *at < PAGE) {
            let mut first = self.outline.first.lock().unwrap_or_else(PoisonError::into_inner);
            let page = first.iter_mut().skip(at);
            page.zip(data).for_each(|(byte, written)| *byte = *written);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}
