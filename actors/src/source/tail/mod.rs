//! The source `tail`: each line that is written to a file is an event.
//!
//! How far each file was read stands in the transaction of the packets that its lines became, so that a
//! crash neither loses nor repeats a line. A file is known by device, inode and how it begins, never
//! by its name: one that is renamed is read to its end, and what has its name then is another. One
//! that is cut (`copytruncate`) is read from its beginning; what was written to it after the last look
//! and before the cut is lost, which no reader can help.
//!
//! Files are looked at in turn: those that are written to ten times a second, all others and the
//! directories once a second.

mod file;
mod finding;
mod position;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::event::{self, Event};
use super::lines::LineOptions;
use super::load::{Load, Stopping};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};
use super::worker::Worker;
use crate::clock;
use file::{Followed, Looked};
use position::{Come, FileKey};

/// What `when` and templates can look at.
pub const TAIL_FIELDS: [&str; 5] = ["line", "json", "path", "offset", "size"];

/// Between two looks at the files that are written to.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two looks at the directories.
const FIND_EVERY: Duration = Duration::from_secs(1);

/// How far files were read is written down that often when none of their lines became a packet.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// The place that says that the source was started once.
const BEGUN: &[u8] = b"begun";

/// Where a file is begun that was never seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// At its end, if it was there when the source was started for the first time.
    #[default]
    End,
    /// At its beginning.
    Beginning,
}

/// How the source is configured.
#[derive(Debug, Clone)]
pub struct TailOptions {
    /// Patterns of absolute paths.
    pub paths: Vec<String>,
    /// Where a file is begun that was never seen before.
    pub start_at: StartAt,
    /// How lines are cut.
    pub lines: LineOptions,
}

/// Starts to follow files.
///
/// # Errors
/// When no thread can be started for it.
pub fn start(options: TailOptions, recipe: Recipe, outlet: Outlet) -> std::io::Result<Worker> {
    let name = recipe.source.clone();
    Worker::start(&name, async move |mut stopping| {
        let kitchen = Kitchen::new(recipe, &outlet);
        let mut tail = Tail::begin(options, kitchen, outlet).await;
        tail.work(&mut stopping).await;
    })
}

/// The source at work.
struct Tail {
    options: TailOptions,
    kitchen: Kitchen,
    outlet: Outlet,
    followed: BTreeMap<FileKey, Followed>,
    /// Files that were read before and not found yet.
    known: BTreeMap<FileKey, Come>,
    begun: bool,
    found: Option<Instant>,
    kept: Instant,
    /// Where the next turn begins.
    turn: Option<FileKey>,
}

struct Line<'l> {
    line: &'l [u8],
    path: &'l Path,
    offset: u64,
}

impl Event for Line<'_> {
    fn field(&self, name: &str) -> Value {
        match name {
            "line" => event::text(self.line),
            "json" => event::json(self.line),
            "path" => Value::from(self.path.to_string_lossy()),
            "offset" => Value::from(self.offset),
            "size" => event::size(self.line),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        format!("{}, byte {}", self.path.display(), self.offset)
    }
}

impl Tail {
    async fn begin(options: TailOptions, kitchen: Kitchen, outlet: Outlet) -> Self {
        let positions = outlet.positions(kitchen.source()).await;
        let begun = positions.iter().any(|(place, _)| place == BEGUN);
        let known = positions
            .into_iter()
            .filter_map(|(place, at)| Some((FileKey::decode(&place)?, Come::decode(&at)?)))
            .collect();
        let (followed, now) = (BTreeMap::new(), clock::instant());
        Self {
            options,
            kitchen,
            outlet,
            followed,
            known,
            begun,
            found: None,
            kept: now,
            turn: None,
        }
    }

    async fn work(&mut self, stopping: &mut Stopping) {
        while !stopping.is_near() {
            let mut load = Load::default();
            let is_due = |last: Instant| clock::instant().duration_since(last) >= FIND_EVERY;
            let looks_at_all = self.found.is_none_or(is_due);
            if looks_at_all {
                self.find(&mut load);
            }
            let has_read = self.look(looks_at_all, &mut load);
            self.come(&mut load);
            if !load.store(self.kitchen.source(), &self.outlet, stopping).await {
                return;
            }
            if !has_read {
                stopping.pause(LOOK_EVERY).await;
            }
        }
    }

    /// Looks which files there are.
    fn find(&mut self, load: &mut Load) {
        let is_first = self.found.is_none();
        self.found = Some(clock::instant());
        let mut found = finding::matching(&self.options.paths);
        let mut lost = Vec::new();
        for followed in self.followed.values_mut() {
            lost.extend(followed.found_as(found.remove(&followed.key)));
        }
        let at_end = !self.begun && is_first && self.options.start_at == StartAt::End;
        for (key, path) in found {
            self.follow(key, &path, at_end);
        }
        if is_first {
            // What was renamed while nobody looked is read to its end.
            for (key, come) in std::mem::take(&mut self.known) {
                let Some(path) = finding::renamed(key, &come.path) else {
                    self.forget(key, &come, load);
                    continue;
                };
                let name = come.path.clone();
                self.known.insert(key, come);
                self.follow(key, &path, false);
                let followed = self.followed.get_mut(&key);
                lost.extend(followed.map(|followed| followed.was_left_as(name)));
            }
        }
        for (name, since) in lost {
            self.follow_rotated(&name, since);
        }
        if !self.begun {
            self.begun = true;
            load.come(self.kitchen.source(), BEGUN.to_vec(), Some(Vec::new()));
        }
    }

    /// A file lost its name to another, which may have lost it, too, before anybody looked.
    fn follow_rotated(&mut self, name: &Path, since: SystemTime) {
        for (key, path) in finding::rotated(name, since) {
            if !self.followed.contains_key(&key) {
                self.follow(key, &path, false);
                if let Some(followed) = self.followed.get_mut(&key) {
                    followed.was_left_as(name.to_owned());
                }
            }
        }
    }

    /// Follows a file, or what is there by the time that it is opened.
    fn follow(&mut self, key: FileKey, path: &Path, at_end: bool) {
        let kept = self.known.remove(&key).map(|come| (key, come));
        let source = self.kitchen.source();
        match Followed::begin(path.to_owned(), self.options.lines, kept.as_ref(), at_end) {
            Ok(followed) => {
                let (from, name) = (followed.come().offset, path.display());
                tracing::info!(source, path = %name, from, "follows a file");
                if kept.is_some() && followed.kept.is_none() {
                    tracing::warn!(source, path = %name, "not what was read before: begun anew");
                }
                let opened = followed.key;
                self.followed.insert(opened, followed);
                if opened == key {
                    return;
                }
                // Another took its name before it was opened.
                self.known.extend(kept);
                if let Some(renamed) = finding::renamed(key, path) {
                    self.follow(key, &renamed, at_end);
                    let followed = self.followed.get_mut(&key);
                    followed.map(|followed| followed.was_left_as(path.to_owned()));
                }
            }
            Err(error) => {
                // It is tried again with the next look.
                self.known.extend(kept);
                tracing::warn!(source, path = %path.display(), %error, "a file cannot be followed");
            }
        }
    }

    /// A file is gone: where it stood need not be known any more.
    fn forget(&self, key: FileKey, come: &Come, load: &mut Load) {
        let (source, path) = (self.kitchen.source(), come.path.display());
        tracing::info!(source, %path, through = come.offset, "a file is gone");
        load.come(source, key.encode(), None);
    }

    /// Reads what is new, each file in turn; says whether there was something.
    fn look(&mut self, looks_at_all: bool, load: &mut Load) -> bool {
        let keys = self.turns();
        let Self { options, kitchen, outlet, followed, turn, .. } = self;
        let (mut has_read, mut waits, mut done) = (false, false, Vec::new());
        for key in keys {
            let Some(file) = followed.get_mut(&key).filter(|file| looks_at_all || file.is_busy())
            else {
                continue;
            };
            if load.is_full() || (waits && file.is_named) {
                *turn = Some(key);
                break;
            }
            let path = file.path.clone();
            let looked = file.look(options.lines, |line, offset| {
                let line = Line { line, path: &path, offset };
                if let Some(draft) = kitchen.make(&line) {
                    load.add(outlet, &draft, line.line);
                }
            });
            let (source, path) = (kitchen.source(), path.display());
            match looked {
                Ok(Looked::Quiet) => {}
                Ok(Looked::Read) => has_read = true,
                Ok(Looked::ReadSome) => {
                    has_read = true;
                    // What was written before another file took its name comes before that.
                    waits |= !file.is_named;
                }
                Ok(Looked::Truncated) => {
                    has_read = true;
                    tracing::info!(source, %path, "a file was cut: read from its beginning");
                }
                Ok(Looked::Done) => done.push(key),
                Err(error) => tracing::warn!(source, %path, %error, "a file cannot be read"),
            }
        }
        for key in done {
            if let Some(file) = self.followed.remove(&key) {
                self.forget(key, &file.come(), load);
            }
        }
        has_read
    }

    /// The files in the order in which they are looked at: those that were renamed, then all others in
    /// turn.
    fn turns(&mut self) -> Vec<FileKey> {
        let from = self.turn.take();
        let mut files: Vec<&Followed> = self.followed.values().collect();
        files.sort_by_cached_key(|file| {
            let had_its_turn = from.is_some_and(|from| file.is_named && file.key < from);
            (had_its_turn, file.order())
        });
        files.into_iter().map(|file| file.key).collect()
    }

    /// Writes down how far files were read: with packets always, without them now and then.
    fn come(&mut self, load: &mut Load) {
        let now = clock::instant();
        let is_due = now.duration_since(self.kept) >= KEEP_EVERY;
        if load.is_empty() && !is_due {
            return;
        }
        self.kept = now;
        for file in self.followed.values_mut().filter(|file| file.is_ahead()) {
            let come = file.come();
            load.come(self.kitchen.source(), file.key.encode(), Some(come.encode()));
            file.kept = Some(come);
        }
    }
}
