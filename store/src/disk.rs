//! What is beneath a store: files, directories and a lock, as a trait, so that a test can put a
//! disk there that loses power, fails or fills up (R10).

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use redb::StorageBackend;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::error::OpenError;

/// A file system, as much of it as a store needs.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// When the disk refuses.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes durable which files there are in `dir`, and under which names.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in `dir`, in no order.
    ///
    /// # Errors
    /// When the disk refuses.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// When the disk refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When the disk refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Opens a file for a database; with `create` it is made, and emptied if it is there.
    ///
    /// # Errors
    /// When the disk refuses.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn StorageBackend>>;

    /// Opens a file that will not be written to.
    ///
    /// # Errors
    /// When the disk refuses.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        self.open(path, false)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// When the disk refuses.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Takes the lock of a directory, for as long as the answer lives.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<DirLock>;

    /// The bytes that may still be written to the disk on which `dir` lies.
    ///
    /// # Errors
    /// When the disk refuses.
    fn available(&self, dir: &Path) -> io::Result<u64> {
        let _ = dir;
        Ok(u64::MAX)
    }
}

/// The lock of a directory: given back when this is dropped.
#[derive(Debug)]
pub struct DirLock(
    #[expect(dead_code, reason = "held for its drop")] Box<dyn fmt::Debug + Send + Sync>,
);

impl DirLock {
    /// Wraps whatever gives the lock back when it is dropped.
    pub fn new(held: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileDisk;

impl Disk for FileDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(dir)?.map(name).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(create);
        Ok(Box::new(OpenFile(options.open(path)?)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(OpenFile(File::open(path)?)))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn lock(&self, path: &Path) -> io::Result<DirLock> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn available(&self, dir: &Path) -> io::Result<u64> {
        let disk = statvfs(dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// An open file, read and written where redb says. It takes no lock: the directory's covers it.
#[derive(Debug)]
struct OpenFile(File);

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.0.metadata()?.len();
        if len > now {
            // A sparse file would find the disk full in the middle of some later commit, which
            // redb does not forgive; here at most a growth fails. It was no slower, measured.
            match fallocate(&self.0, FallocateFlags::empty(), now, len - now) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                done => return Ok(done?),
            }
        }
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.0.write_all_at(data, offset)
    }
}

/// Any backend behind one type, because redb takes none by the box.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Box<dyn StorageBackend>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

/// Makes `dir` and whatever is missing above it, durably: a file in it would be lost with it (R1).
pub(crate) fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .filter(|dir| !dir.as_os_str().is_empty())
        .take_while(|dir| disk.list(dir).is_err())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    disk.create_dir_all(dir)?;
    for made in missing {
        match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => disk.sync_dir(above)?,
            Some(_) => disk.sync_dir(Path::new("."))?,
            None => {}
        }
    }
    Ok(())
}

/// Takes the lock of the directory `dir`, which is the file `path`.
pub(crate) fn lock_dir(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<DirLock, OpenError> {
    disk.lock(path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_owned() },
        _ => OpenError::Io { path: path.to_owned(), source },
    })
}
