//! The probe: one small file in a directory, made to see what the disk does, and always removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file of its own name, so that no store takes it for one of theirs.
#[derive(Debug)]
pub(super) struct Probe {
    file: File,
    dir: PathBuf,
    path: PathBuf,
    renamed: PathBuf,
}

impl Probe {
    /// Makes the file, and writes a block into it: on a full disk an empty file can still be made.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let name = format!(".paquebot-doctor-{}", std::process::id());
        let path = dir.join(&name);
        let renamed = dir.join(format!("{name}-renamed"));
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let mut probe = Self { file, dir: dir.to_owned(), path, renamed };
        probe.append(&[0; 4096])?;
        Ok(probe)
    }

    /// Appends, and waits until the disk says that it has the bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    /// Gives the file another name, and waits until the disk says that it knows.
    pub(super) fn rename(&self) -> io::Result<()> {
        fs::rename(&self.path, &self.renamed)?;
        File::open(&self.dir)?.sync_all()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It has one of these names; what cannot be removed cannot be told to anybody here.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.renamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_afterwards_under_whichever_name() {
        let Ok(dir) = tempfile::tempdir() else { panic!("a directory") };
        let names = || fs::read_dir(dir.path()).map(Iterator::count).unwrap_or_default();
        for rename in [false, true] {
            let Ok(mut probe) = Probe::new(dir.path()) else { panic!("a probe") };
            assert!(probe.append(b"x").is_ok() && names() == 1);
            assert!(!rename || probe.rename().is_ok());
            assert_eq!(names(), 1);
            drop(probe);
            assert_eq!(names(), 0);
        }
    }
}
