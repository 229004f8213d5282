//! The source `directory`: each file that is put into a directory is an event, its bytes the packet.
//!
//! ```text
//! seen ─▶ settled ─▶ read ─▶ stored, with its stamp ─▶ deleted or moved, fsynced ─▶ stamp forgotten
//! ```
//!
//! The stamp that says "this file is stored" stands in the transaction of its packet, and goes only
//! when the file is durably out of the way. A crash anywhere between leaves a stamp, by which the file
//! is known: it is deleted or moved then, and not sent again.
//!
//! A file is looked at when neither its size nor its time of modification has changed for a while. A
//! writer who needs longer pauses writes under a hidden name, or elsewhere in the same file system,
//! and renames. Whatever is no regular file (links are none) and whatever is hidden is left alone.

mod removal;
mod shelf;
mod stamp;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use serde_json::Value;

use super::event::{self, Event};
use super::load::{Load, Stopping};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};
use super::worker::Worker;
use crate::clock;
use crate::seldom::Seldom;
use shelf::{Due, Shelf};
use stamp::Stamp;

/// What `when` and templates can look at.
pub const DIRECTORY_FIELDS: [&str; 5] = ["path", "name", "size", "json", "text"];

/// Between two looks at the directory.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A directory that cannot be read is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most files that are stored and not out of the way yet: while so many cannot be deleted or
/// moved, no further one is taken.
const STORED_MAX: usize = 1_000;

/// What becomes of a file that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It is deleted.
    Delete,
    /// It is moved into this directory, absolute.
    Move(PathBuf),
}

/// How the source is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// The directory, absolute.
    pub path: PathBuf,
    /// A pattern of names.
    pub names: String,
    /// For how long a file must not change before it is taken.
    pub settled: Duration,
    /// What becomes of it then.
    pub then: Then,
}

/// Starts to look at a directory.
///
/// # Errors
/// When no thread can be started for it.
pub fn start(options: DirectoryOptions, recipe: Recipe, outlet: Outlet) -> io::Result<Worker> {
    let name = recipe.source.clone();
    let names = glob::Pattern::new(&options.names);
    let names = names.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Worker::start(&name, async move |mut stopping| {
        let kitchen = Kitchen::new(recipe, &outlet);
        let mut directory = Directory::begin(options, names, kitchen, outlet).await;
        directory.work(&mut stopping).await;
    })
}

/// The source at work.
struct Directory {
    options: DirectoryOptions,
    kitchen: Kitchen,
    outlet: Outlet,
    shelf: Shelf,
    /// Files that are stored and still there, by the names that they had last.
    stored: BTreeMap<Stamp, OsString>,
    /// Files that are stored and out of the way: nobody need know them any more.
    gone: Vec<Stamp>,
    unreadable: Seldom,
    stuck: Seldom,
}

struct Found<'f> {
    path: &'f Path,
    name: &'f OsStr,
    data: &'f [u8],
}

impl Event for Found<'_> {
    fn field(&self, name: &str) -> Value {
        match name {
            "path" => Value::from(self.path.to_string_lossy()),
            "name" => Value::from(self.name.to_string_lossy()),
            "size" => event::size(self.data),
            "json" => event::json(self.data),
            "text" => event::text(self.data),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl Directory {
    async fn begin(
        options: DirectoryOptions,
        names: glob::Pattern,
        kitchen: Kitchen,
        outlet: Outlet,
    ) -> Self {
        let positions = outlet.positions(kitchen.source()).await.into_iter();
        let stored = positions
            .filter_map(|(place, name)| Some((Stamp::decode(&place)?, OsString::from_vec(name))))
            .collect();
        let shelf = Shelf::new(names, options.settled);
        let (gone, unreadable, stuck) = (Vec::new(), Seldom::default(), Seldom::default());
        let (source, path) = (kitchen.source(), options.path.display());
        tracing::info!(source, %path, "looks for files");
        if let Then::Move(done) = &options.then
            && let Err(error) = std::fs::create_dir_all(done)
        {
            tracing::error!(source, done = %done.display(), %error, "no directory for what is done");
        }
        Self { options, kitchen, outlet, shelf, stored, gone, unreadable, stuck }
    }

    async fn work(&mut self, stopping: &mut Stopping) {
        while !stopping.is_near() {
            let begun = clock::instant();
            let Some(due) = self.look() else {
                stopping.pause(AGAIN_AFTER).await;
                continue;
            };
            // What a crash left behind goes first.
            self.clear_away();
            let mut due = due.into_iter().peekable();
            loop {
                let mut load = Load::default();
                for stamp in self.gone.drain(..) {
                    load.come(self.kitchen.source(), stamp.encode(), None);
                }
                let mut taken = Vec::new();
                while !load.is_full() && self.stored.len() + taken.len() < STORED_MAX {
                    let Some(file) = due.next() else { break };
                    if self.take(&file, &mut load) {
                        taken.push(file);
                    }
                }
                if !load.store(self.kitchen.source(), &self.outlet, stopping).await {
                    return;
                }
                self.stored.extend(taken.into_iter().map(|file| (file.stamp, file.name)));
                self.clear_away();
                let is_stuck = self.stored.len() >= STORED_MAX;
                if self.gone.is_empty() && (due.peek().is_none() || is_stuck) {
                    break;
                }
            }
            // A directory that takes long to look at is not looked at all the time.
            let took = clock::instant().duration_since(begun);
            stopping.pause(LOOK_EVERY.max(took)).await;
        }
    }

    /// Looks which files there are; gives those that may be taken, in their order. Nothing when the
    /// directory cannot be read: then nobody knows which are gone.
    fn look(&mut self) -> Option<Vec<Due>> {
        match self.shelf.look(&self.options.path, &mut self.stored) {
            Ok(due) => {
                self.unreadable.reset();
                Some(due)
            }
            Err(error) => {
                if self.unreadable.is_due() {
                    let (source, path) = (self.kitchen.source(), self.options.path.display());
                    tracing::warn!(source, %path, %error, "a directory cannot be read; tried again");
                }
                None
            }
        }
    }

    /// Reads a file and makes a packet of it; says whether it became one.
    fn take(&mut self, file: &Due, load: &mut Load) -> bool {
        let Due { name, stamp } = file;
        let path = self.options.path.join(name);
        let most = self.outlet.packet_bytes_max();
        let found = |data| Found { path: &path, name, data };
        if stamp.size > most as u64 {
            let found = found(&[]);
            let size = stamp.size;
            self.kitchen.complain(
                &found,
                &format!("expected at most {most} bytes, found {size}: it is left there"),
            );
            self.shelf.leave(name);
            return false;
        }
        match read(&path, stamp) {
            Ok(Some(data)) => match self.kitchen.make(&found(&data)) {
                Some(draft) => {
                    load.add(&self.outlet, &draft, &data);
                    let name = name.as_bytes().to_vec();
                    load.come(self.kitchen.source(), stamp.encode(), Some(name));
                    self.shelf.drop(&file.name);
                    true
                }
                None => {
                    self.shelf.leave(name);
                    false
                }
            },
            // It has changed, or has gone: the next look will tell.
            Ok(None) => false,
            Err(error) => {
                self.kitchen.complain(&found(&[]), &format!("it cannot be read: {error}"));
                self.shelf.put_off(name);
                false
            }
        }
    }

    /// Deletes or moves what is stored.
    fn clear_away(&mut self) {
        if self.stored.is_empty() {
            return;
        }
        let Self { options, kitchen, stored, gone, stuck, .. } = self;
        let (mut removed, mut failed) = (Vec::new(), None);
        for (stamp, name) in &*stored {
            let path = options.path.join(name);
            match is_still(&path, stamp).and_then(|is_still| {
                // What has changed since is another event, and stays.
                if is_still { removal::remove(&path, &options.then) } else { Ok(()) }
            }) {
                Ok(()) => removed.push(stamp.clone()),
                Err(error) => failed = Some((path, error)),
            }
        }
        if !removed.is_empty() {
            match removal::sync(&options.path, &options.then) {
                Ok(()) => {
                    for stamp in removed {
                        stored.remove(&stamp);
                        gone.push(stamp);
                    }
                }
                Err(error) => failed = Some((options.path.clone(), error)),
            }
        }
        match failed {
            None => stuck.reset(),
            Some((path, error)) if stuck.is_due() => {
                let (source, path, files) = (kitchen.source(), path.display(), stored.len());
                tracing::error!(
                    source, %path, %error, files,
                    "what is stored cannot be deleted or moved; tried again, and not sent again"
                );
            }
            Some(_) => {}
        }
    }
}

/// The content of a file, if it is still the one that was seen.
fn read(path: &Path, stamp: &Stamp) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    // Somebody may have put a pipe or a link there meanwhile.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    options.read(true).custom_flags(flags.cast_signed());
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let is_same = |file: &File| file.metadata().map(|metadata| Stamp::of(&metadata) == *stamp);
    if !is_same(&file)? {
        return Ok(None);
    }
    let mut data = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0));
    (&file).take(stamp.size + 1).read_to_end(&mut data)?;
    let is_whole = data.len() as u64 == stamp.size && is_same(&file)?;
    Ok(is_whole.then_some(data))
}

/// Whether what has this name is still the file that was stored.
fn is_still(path: &Path, stamp: &Stamp) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        metadata => Ok(Stamp::of(&metadata?) == *stamp),
    }
}
