//! The crashing disk as a store sees it: its directories, names, locks and files.

use std::io;
use std::path::{Path, PathBuf};

use paquebot_store::{DirLock, Disk};
use redb::StorageBackend;

use super::{Change, Content, CrashDisk, Deed, SECTOR, not_found, write};

impl Disk for CrashDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.world()?.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        world.sync()?;
        let here = |path: &PathBuf| path.parent() == Some(dir);
        let now: Vec<_> =
            world.names.iter().filter(|(n, _)| here(n)).map(|(n, f)| (n.clone(), *f)).collect();
        world.given.retain(|(name, _)| !here(name));
        world.durable_names.retain(|name, _| !here(name));
        world.durable_names.extend(now);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world()?;
        if !world.dirs.contains(dir) {
            return Err(not_found());
        }
        let here = world.names.keys().filter(|name| name.parent() == Some(dir));
        Ok(here.map(|name| name.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        let file = world.names.remove(from).ok_or_else(not_found)?;
        world.given.push((to.to_owned(), file));
        world.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.world()?.names.remove(path).map(|_| ()).ok_or_else(not_found)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn StorageBackend>> {
        let mut world = self.world()?;
        let file = match (world.names.get(path), create) {
            (Some(file), false) => *file,
            (None, false) => return Err(not_found()),
            (_, true) => {
                world.files.push(Content::default());
                let file = world.files.len() - 1;
                world.names.insert(path.to_owned(), file);
                file
            }
        };
        Ok(Box::new(OpenFile { disk: self.clone(), file }))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let world = self.world()?;
        let file = world.names.get(path).ok_or_else(not_found)?;
        Ok(world.files[*file].live.len() as u64)
    }

    fn lock(&self, path: &Path) -> io::Result<DirLock> {
        if !self.world()?.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(DirLock::new(Held { disk: self.clone(), path: path.to_owned() }))
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        let world = self.world()?;
        let left = world.capacity.map_or(u64::MAX, |bytes| bytes.saturating_sub(world.used()));
        Ok(if world.full { 0 } else { left })
    }
}

#[derive(Debug)]
struct Held {
    disk: CrashDisk,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.0.lock().unwrap().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct OpenFile {
    disk: CrashDisk,
    file: usize,
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.world()?.files[self.file].live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let world = self.disk.world()?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = world.files[self.file].live.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world()?;
        world.deed(Deed::Len)?;
        let grown = len.saturating_sub(world.files[self.file].live.len() as u64);
        if world.capacity.is_some_and(|bytes| grown > 0 && world.used() + grown > bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (file, len) = (&mut world.files[self.file], usize::try_from(len).unwrap());
        file.live.resize(len, 0);
        file.pending.push(Change::Len(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.world()?;
        world.sync()?;
        let file = &mut world.files[self.file];
        for change in std::mem::take(&mut file.pending) {
            match change {
                Change::Len(len) => file.durable.resize(len, 0),
                Change::Write(offset, data) => write(&mut file.durable, offset, &data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut world = self.disk.world()?;
        let failed = world.deed(Deed::Write);
        world.written_bytes += data.len() as u64;
        // Of a sector there is all or nothing, as redb expects of its header.
        let half = data.len() / 2 / SECTOR * SECTOR;
        let data = if failed.is_err() { &data[..half] } else { data };
        let (file, offset) = (&mut world.files[self.file], usize::try_from(offset).unwrap());
        write(&mut file.live, offset, data);
        file.pending.push(Change::Write(offset, data.to_vec()));
        failed
    }
}
