//! What is beneath the handler `file`: as much of a file system as it needs, as a trait, so that a
//! test can put one there that loses power between any two steps.
//!
//! Every file is locked while it is open: nobody else who asks for the lock can write it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use paquebot_store::FileId;
use rustix::fs::{FlockOperation, flock};

/// A file system.
pub trait OutputDisk: fmt::Debug + Send + Sync + 'static {
    /// Makes a directory and those above it, durably.
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

    /// Which file has this name now.
    ///
    /// # Errors
    /// When the disk refuses.
    fn find(&self, path: &Path) -> io::Result<Option<FileId>>;

    /// Opens a file that is there, and locks it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when somebody else holds its lock.
    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn OutputFile>>>;

    /// Makes a file that must not be there yet, and locks it.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when it is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

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
}

/// An open file.
pub trait OutputFile: fmt::Debug + Send {
    /// Which file it is, whatever its name.
    ///
    /// # Errors
    /// When the disk refuses.
    fn id(&self) -> io::Result<FileId>;

    /// Its bytes.
    ///
    /// # Errors
    /// When the disk refuses.
    fn length(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// When the disk refuses, or the file ends before that.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// When the disk refuses.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// When the disk refuses.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes its bytes and its length durable.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync(&self) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl OutputDisk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let named = |dir: &&Path| !dir.as_os_str().is_empty();
        let missing: Vec<_> = dir.ancestors().filter(named).take_while(|d| !d.exists()).collect();
        fs::create_dir_all(dir)?;
        for above in missing.into_iter().filter_map(Path::parent) {
            self.sync_dir(if named(&above) { above } else { Path::new(".") })?;
        }
        Ok(())
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

    fn find(&self, path: &Path) -> io::Result<Option<FileId>> {
        match fs::metadata(path) {
            Ok(facts) => Ok(Some(FileId { device: facts.dev(), inode: facts.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn OutputFile>>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => locked(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        locked(File::options().read(true).write(true).create_new(true).open(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

fn locked(file: File) -> io::Result<Box<dyn OutputFile>> {
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(Box::new(RealFile(file)))
}

/// A file of the real file system.
#[derive(Debug)]
struct RealFile(File);

impl OutputFile for RealFile {
    fn id(&self) -> io::Result<FileId> {
        let facts = self.0.metadata()?;
        Ok(FileId { device: facts.dev(), inode: facts.ino() })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
