//! The shelf: which files there are in the directory, and which of them may be taken.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::stamp::Stamp;
use crate::clock;

/// A file that could not be read is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What was seen in the directory.
#[derive(Debug)]
pub(super) struct Shelf {
    names: glob::Pattern,
    settled: Duration,
    seen: BTreeMap<OsString, Seen>,
}

/// A file that may be taken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) name: OsString,
    pub(super) stamp: Stamp,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// When it may be taken if it does not change; never, when it is to be left there.
    due: Option<Instant>,
}

impl Shelf {
    pub(super) fn new(names: glob::Pattern, settled: Duration) -> Self {
        Self { names, settled, seen: BTreeMap::new() }
    }

    /// Looks at the directory; gives the files that may be taken, in their order. Of `stored` files,
    /// which may not, it finds the present names.
    pub(super) fn look(
        &mut self,
        directory: &Path,
        stored: &mut BTreeMap<Stamp, OsString>,
    ) -> io::Result<Vec<Due>> {
        let now = clock::instant();
        let mut seen = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_wanted = self.is_wanted(&name);
            // A stored file may have been renamed.
            if !is_wanted && stored.is_empty() {
                continue;
            }
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if !metadata.is_file() {
                continue;
            }
            let stamp = Stamp::of(&metadata);
            if let Some(known) = stored.get_mut(&stamp) {
                *known = name;
            } else if is_wanted {
                let before = self.seen.remove(&name).filter(|seen| seen.stamp == stamp);
                let new = || Seen { stamp, due: Some(now + self.settled) };
                seen.insert(name, before.unwrap_or_else(new));
            }
        }
        self.seen = seen;
        let is_due = |seen: &Seen| seen.due.is_some_and(|due| due <= now);
        let due = self.seen.iter().filter(|(_, seen)| is_due(seen));
        let mut due: Vec<_> =
            due.map(|(name, seen)| Due { name: name.clone(), stamp: seen.stamp.clone() }).collect();
        due.sort_by(|a, b| (a.stamp.modified, &a.name).cmp(&(b.stamp.modified, &b.name)));
        Ok(due)
    }

    /// A file is no event, or none that can be sent: it stays until it changes.
    pub(super) fn leave(&mut self, name: &OsStr) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.due = None;
        }
    }

    /// A file is tried again later.
    pub(super) fn put_off(&mut self, name: &OsStr) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.due = Some(clock::instant() + AGAIN_AFTER);
        }
    }

    /// A file has been taken.
    pub(super) fn drop(&mut self, name: &OsStr) {
        self.seen.remove(name);
    }

    fn is_wanted(&self, name: &OsStr) -> bool {
        let is_hidden = name.as_bytes().starts_with(b".");
        !is_hidden && self.names.matches(&name.to_string_lossy())
    }
}
