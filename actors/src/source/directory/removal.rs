//! Out of the way: how a file leaves the directory once it is stored, so that it stays away.
//!
//! Nothing in the directory `done` is ever replaced.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Then;
use crate::clock;

/// How many names are tried for a file whose name is taken.
const NAMES_MAX: u32 = 1_000;

/// Deletes or moves `path`.
pub(super) fn remove(path: &Path, then: &Then) -> io::Result<()> {
    let done = match then {
        Then::Delete => return fs::remove_file(path),
        Then::Move(done) => done,
    };
    let to = free_name(path, done)?;
    match fs::rename(path, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => carry_over(path, done),
        renamed => renamed,
    }
}

/// Makes durable what became of the files of `directory`: first where they are, then that they left.
pub(super) fn sync(directory: &Path, then: &Then) -> io::Result<()> {
    if let Then::Move(done) = then {
        File::open(done)?.sync_all()?;
    }
    File::open(directory)?.sync_all()
}

/// Moves a file to another file system: it is there, whole and durable, before it goes here.
fn carry_over(path: &Path, done: &Path) -> io::Result<()> {
    let mut from = File::open(path)?;
    let metadata = from.metadata()?;
    // Of a file's own, so that what a crash left behind is written anew.
    let part = done.join(format!(".paquebot-{:x}-{:x}", metadata.dev(), metadata.ino()));
    let mut to = File::create(&part)?;
    io::copy(&mut from, &mut to)?;
    to.set_permissions(Permissions::clone(&metadata.permissions()))?;
    to.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    to.sync_all()?;
    fs::rename(part, free_name(path, done)?)?;
    File::open(done)?.sync_all()?;
    fs::remove_file(path)
}

/// The file's own name in `done`, or one with the time behind it if that is taken.
fn free_name(path: &Path, done: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default();
    let stamp = clock::file_stamp(clock::wall_ms());
    let named = |end: String| {
        let mut name: OsString = name.to_owned();
        name.push(end);
        done.join(name)
    };
    let others = (1..NAMES_MAX).map(|number| named(format!(".{stamp}-{number}")));
    for path in [named(String::new()), named(format!(".{stamp}"))].into_iter().chain(others) {
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            found => found.map(drop)?,
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name for it is taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_done_replaces_none() {
        let (here, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let then = Then::Move(done.path().to_owned());
        for content in ["one", "two", "three"] {
            fs::write(here.path().join("a.json"), content).unwrap();
            remove(&here.path().join("a.json"), &then).unwrap();
        }
        let found = fs::read_dir(done.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = found.map(|path| fs::read_to_string(path).unwrap()).collect();
        found.sort();
        assert_eq!(found, ["one", "three", "two"]);
    }

    #[test]
    fn a_file_is_carried_to_another_file_system_whole() {
        let memory = Path::new("/dev/shm");
        let (here, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in(memory).unwrap());
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        assert_ne!(device(here.path()), device(done.path()), "they must be on two file systems");
        let path = here.path().join("a.json");
        fs::write(&path, "content").unwrap();
        let before = fs::metadata(&path).unwrap();
        remove(&path, &Then::Move(done.path().to_owned())).unwrap();
        assert!(!path.exists());
        let moved = done.path().join("a.json");
        assert_eq!(fs::read_to_string(&moved).unwrap(), "content");
        let after = fs::metadata(&moved).unwrap();
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        assert_eq!(fs::read_dir(done.path()).unwrap().count(), 1);
    }
}
