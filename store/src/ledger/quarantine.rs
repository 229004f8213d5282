//! Where files go that cannot be used: moved, never removed (R10).

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;

/// The directory in the ledger's directory `root`.
pub(super) fn dir(root: &Path) -> PathBuf {
    root.join("quarantine")
}

/// A name in `dir` that nothing has yet, for a file that was called `stem`.
pub(super) fn free_name(disk: &dyn Disk, dir: &Path, stem: &str) -> io::Result<PathBuf> {
    let taken = disk.list(dir)?;
    let names = (1_u64..).map(|at| format!("{stem}-{at}.damaged"));
    let free = names.into_iter().find(|name| !taken.contains(name));
    Ok(dir.join(free.unwrap_or_else(|| stem.to_owned())))
}
