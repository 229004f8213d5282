//! Which files there are to be followed: by the patterns of the config, and by the directory in which
//! a file was seen last, where one that was renamed usually stays.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::position::FileKey;

/// What a rotated log becomes that is no log any more.
const ARCHIVES: [&str; 5] = ["gz", "bz2", "xz", "zst", "zip"];

/// Every regular file that a pattern matches, each once.
pub(super) fn matching(patterns: &[String]) -> BTreeMap<FileKey, PathBuf> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        // The config has checked it. What may not be looked at is not there.
        let Ok(paths) = glob::glob(pattern) else { continue };
        for path in paths.flatten() {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_file() {
                found.entry(FileKey::of(&metadata)).or_insert(path);
            }
        }
    }
    found
}

/// The file's present name in the directory in which it was seen last.
pub(super) fn renamed(key: FileKey, last_seen: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(last_seen.parent()?).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && FileKey::of(&metadata) == key)
    })
}

/// What a file that had the name `path` may have been renamed to, or others after it: files beside it
/// whose names begin like that, that are no archives, and that were written to since then.
pub(super) fn rotated(path: &Path, since: SystemTime) -> BTreeMap<FileKey, PathBuf> {
    let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let entries = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    let mut rotated = BTreeMap::new();
    for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
        let rest = path.file_name().and_then(|of| of.as_encoded_bytes().strip_prefix(name));
        let is_rotated = rest.is_some_and(|rest| matches!(rest.first(), Some(b'.' | b'-')));
        let is_archive = path.extension().is_some_and(|of| ARCHIVES.iter().any(|one| of == *one));
        let Some(metadata) = fs::metadata(&path).ok().filter(|_| is_rotated && !is_archive) else {
            continue;
        };
        if metadata.is_file() && metadata.modified().is_ok_and(|written| written >= since) {
            rotated.insert(FileKey::of(&metadata), path);
        }
    }
    rotated
}
