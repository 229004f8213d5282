//! One file that is followed: how far it was read, and when it is done with.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::finding;
use super::position::{Come, FileKey, Head};
use crate::clock;
use crate::source::lines::{LineOptions, Lines};

/// How much of one file is read before others have their turn.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file that no pattern matches any more is done with when nothing was written to it for so long: who
/// writes to it has not noticed yet, and may do so seldom.
const GRACE: Duration = Duration::from_mins(5);

/// A file to which nothing is written for so long is closed; its name is looked after.
const CLOSE_AFTER: Duration = Duration::from_secs(5);

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) key: FileKey,
    /// The name that a pattern matched last.
    name: PathBuf,
    /// Where it is now.
    pub(super) path: PathBuf,
    file: Option<File>,
    lines: Lines,
    head: Head,
    /// Whether a pattern still matches its name.
    pub(super) is_named: bool,
    quiet_since: Instant,
    /// What was last written down of it.
    pub(super) kept: Option<Come>,
}

/// What a look at a file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// Nothing new.
    Quiet,
    /// Something was read, and that may not be all of it.
    ReadSome,
    /// Something was read up to its end.
    Read,
    /// It was cut, or written anew: it is read from its beginning.
    Truncated,
    /// There is nothing more to come.
    Done,
}

impl Followed {
    /// Follows a file from `offset` on, or from where it was left.
    pub(super) fn begin(
        path: PathBuf,
        options: LineOptions,
        kept: Option<&(FileKey, Come)>,
        at_end: bool,
    ) -> io::Result<Self> {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        let (key, length) = (FileKey::of(&metadata), metadata.len());
        let kept = kept.filter(|(of, _)| *of == key).map(|(_, come)| come);
        let same =
            kept.filter(|come| come.offset <= length && come.head.is_of(&file).unwrap_or(false));
        let (offset, skipping) = match same {
            Some(come) => (come.offset, come.skipping),
            None => (if at_end { length } else { 0 }, false),
        };
        Ok(Self {
            key,
            name: path.clone(),
            path,
            head: Head::of(&file, length)?,
            file: Some(file),
            lines: Lines::new(options, offset, skipping),
            is_named: true,
            quiet_since: clock::instant(),
            kept: same.cloned(),
        })
    }

    /// A pattern matches its name, or none does any more. Gives the name that it has just lost, and
    /// when it was written to last.
    pub(super) fn found_as(&mut self, path: Option<PathBuf>) -> Option<(PathBuf, SystemTime)> {
        let had_a_name = std::mem::replace(&mut self.is_named, path.is_some());
        if let Some(path) = path {
            (self.name, self.path) = (path.clone(), path);
            return None;
        }
        had_a_name.then(|| self.lost_name())
    }

    /// It goes on without a name, as it was left: gives the name that it had, and when it was written
    /// to last.
    pub(super) fn was_left_as(&mut self, name: PathBuf) -> (PathBuf, SystemTime) {
        (self.name, self.is_named) = (name, false);
        self.lost_name()
    }

    fn lost_name(&self) -> (PathBuf, SystemTime) {
        let written = self.file.as_ref().and_then(|file| file.metadata().ok()?.modified().ok());
        (self.name.clone(), written.unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// How far it was read.
    pub(super) fn come(&self) -> Come {
        let (offset, skipping) = (self.lines.come(), self.lines.is_skipping());
        Come { offset, skipping, head: self.head, path: self.name.clone() }
    }

    /// Whether more was read than was written down.
    pub(super) fn is_ahead(&self) -> bool {
        let come = |kept: &Come| (kept.offset, kept.skipping);
        self.kept.as_ref().map(come) != Some((self.lines.come(), self.lines.is_skipping()))
    }

    /// Reads what is new, up to a limit; gives each line with the offset at which it begins.
    pub(super) fn look(
        &mut self,
        options: LineOptions,
        give: impl FnMut(&[u8], u64),
    ) -> io::Result<Looked> {
        if !self.open()? {
            return Ok(if self.is_named { Looked::Quiet } else { Looked::Done });
        }
        let Some(file) = &self.file else { return Ok(Looked::Quiet) };
        let length = file.metadata()?.len();
        let next = self.lines.next();
        let is_cut = length < next || (length > next && !self.head.is_of(file)?);
        if is_cut {
            self.lines = Lines::new(options, 0, false);
            self.head = Head::of(file, length)?;
            return Ok(Looked::Truncated);
        }
        if length == next {
            return Ok(self.rest(give));
        }
        if self.head.grows(length) {
            self.head = Head::of(file, length)?;
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read_at(&mut chunk, next)?;
        chunk.truncate(read);
        self.lines.take(&chunk, give);
        self.quiet_since = clock::instant();
        Ok(if read == CHUNK_BYTES { Looked::ReadSome } else { Looked::Read })
    }

    /// Nothing new was there.
    fn rest(&mut self, give: impl FnMut(&[u8], u64)) -> Looked {
        let quiet = clock::instant().duration_since(self.quiet_since);
        if self.is_named {
            if quiet >= CLOSE_AFTER {
                self.file = None;
            }
            return Looked::Quiet;
        }
        if quiet < GRACE {
            return Looked::Quiet;
        }
        // Nobody will end its last line.
        self.lines.finish(give);
        Looked::Done
    }

    /// Opens it if there is something to read; says whether it is open.
    fn open(&mut self) -> io::Result<bool> {
        if self.file.is_some() {
            return Ok(true);
        }
        let is_it = |metadata: &fs::Metadata| FileKey::of(metadata) == self.key;
        let found = fs::metadata(&self.path).ok().filter(is_it);
        if found.is_none() {
            let Some(path) = finding::renamed(self.key, &self.name) else { return Ok(false) };
            self.path = path;
        }
        if found.is_some_and(|metadata| metadata.len() == self.lines.next()) && self.is_named {
            return Ok(false);
        }
        let file = File::open(&self.path)?;
        if FileKey::of(&file.metadata()?) != self.key {
            return Ok(false);
        }
        self.quiet_since = clock::instant();
        self.file = Some(file);
        Ok(true)
    }

    /// Those that have no name any more come before those that may have taken it, the oldest first: by
    /// when they were written last, and in one tick of the clock by when they were made.
    pub(super) fn order(&self) -> impl Ord {
        let facts = self.file.as_ref().filter(|_| !self.is_named);
        let facts = facts.and_then(|file| file.metadata().ok());
        let times = facts.map(|facts| (facts.modified().ok(), facts.created().ok()));
        (self.is_named, times, self.key)
    }

    /// Whether it is looked at often: something was written to it a short while ago.
    pub(super) fn is_busy(&self) -> bool {
        self.file.is_some()
    }
}
