//! A disk that is looked at and not touched: whatever is written, renamed or removed is so in memory
//! alone. A store that is opened on it goes through its whole recovery, and every file stays as it
//! was, so that a store can be checked, and read, on a disk that nobody wants to make worse.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::disk::{Backend, DirLock, Disk};
use crate::overlay::Overlay;

/// The disk.
#[derive(Debug)]
pub struct Shadow {
    beneath: Arc<dyn Disk>,
    over: Mutex<Over>,
}

/// What differs from the disk beneath.
#[derive(Debug, Default)]
struct Over {
    dirs: BTreeSet<PathBuf>,
    /// Nothing for a file that was removed.
    files: BTreeMap<PathBuf, Option<Handle>>,
}

/// A file that is there.
#[derive(Debug, Clone)]
struct Handle(Arc<dyn StorageBackend>);

impl Shadow {
    /// Looks at `beneath`.
    #[must_use]
    pub fn new(beneath: Arc<dyn Disk>) -> Self {
        Self { beneath, over: Mutex::default() }
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, over: &mut Over, path: &Path) -> io::Result<Handle> {
        if let Some(known) = over.files.get(path) {
            return known.clone().ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let handle = Handle(Arc::new(Overlay::new(Backend(self.beneath.open_to_read(path)?))?));
        over.files.insert(path.to_owned(), Some(handle.clone()));
        Ok(handle)
    }
}

impl Disk for Shadow {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.over().dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let over = self.over();
        let mut names: BTreeSet<String> = match self.beneath.list(dir) {
            Ok(names) => names.into_iter().collect(),
            Err(_) if over.dirs.contains(dir) => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        for (path, handle) in over.files.iter().filter(|(path, _)| path.parent() == Some(dir)) {
            let Some(name) = path.file_name() else { continue };
            let name = name.to_string_lossy().into_owned();
            if handle.is_some() {
                names.insert(name);
            } else {
                names.remove(&name);
            }
        }
        Ok(names.into_iter().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut over = self.over();
        let handle = self.handle(&mut over, from)?;
        over.files.insert(from.to_owned(), None);
        over.files.insert(to.to_owned(), Some(handle));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut over = self.over();
        self.handle(&mut over, path)?;
        over.files.insert(path.to_owned(), None);
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn StorageBackend>> {
        let mut over = self.over();
        if create {
            let made = Handle(Arc::new(InMemoryBackend::new()));
            over.files.insert(path.to_owned(), Some(made.clone()));
            return Ok(Box::new(made));
        }
        Ok(Box::new(self.handle(&mut over, path)?))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let over = self.over();
        match over.files.get(path) {
            Some(Some(handle)) => handle.len(),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => self.beneath.size(path),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<DirLock> {
        match self.beneath.size(path) {
            // Nobody ever held it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DirLock::new(())),
            _ => self.beneath.lock(path),
        }
    }
}

impl StorageBackend for Handle {
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
        let end = offset + data.len() as u64;
        // A file grows with what is written beyond its end; what is in memory does not by itself.
        if end > self.0.len()? {
            self.0.set_len(end)?;
        }
        self.0.write(offset, data)
    }
}
