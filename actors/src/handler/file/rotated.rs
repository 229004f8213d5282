//! The files that have ended: their names, which sort as they were written, and what becomes of
//! them in the background. The oldest go when there are too many, the others are compressed.
//!
//! Nothing here touches the file that is being written, and nothing that was acknowledged depends
//! on it: a crash at any point leaves files that the next round finds and goes on with. A file is
//! removed only when its compressed form is durable under its final name.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::disk::OutputDisk;
use super::place::{Place, Rotation};
use crate::clock;

const COMPRESSED: &str = ".gz";
const UNFINISHED: &str = ".gz.tmp";
const CHUNK_BYTES: usize = 256 * 1024;

/// The name that the file at the place gets next: later than any that is there, whatever the clock.
pub(super) fn next_name(place: &Place) -> io::Result<String> {
    let names = place.disk.list(place.dir())?;
    let stem = stem_of(place);
    let last = names.iter().filter_map(|name| stamp_of(&stem, name)).max();
    let now = clock::wall_ms().max(last.map_or(0, |last| last.saturating_add(1)));
    Ok(format!("{stem}{}", clock::file_stamp(now)))
}

/// The background's thread.
#[derive(Debug)]
pub(super) struct Background {
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Starts it, when there is anything to do for it.
    pub(super) fn start(place: &Arc<Place>, name: &str) -> io::Result<Option<Self>> {
        let Some(rotation) = place.rotation else { return Ok(None) };
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Rounds { place: Arc::clone(place), rotation, stop: Arc::clone(&stop), woken };
        let builder = std::thread::Builder::new().name(format!("rotated-{name}"));
        let thread = builder.spawn(move || rounds.run())?;
        let background = Self { wake, stop, thread };
        background.wake();
        Ok(Some(background))
    }

    /// A file has ended.
    pub(super) fn wake(&self) {
        // When one call waits already, it will do for both.
        let _ = self.wake.try_send(());
    }

    /// Leaves what it is doing as it is, and ends.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the thread that compresses rotated files had panicked");
        }
    }
}

struct Rounds {
    place: Arc<Place>,
    rotation: Rotation,
    stop: Arc<AtomicBool>,
    woken: Receiver<()>,
}

/// A rotated file.
#[derive(Debug, Default)]
struct Found {
    plain: Option<String>,
    compressed: Option<String>,
}

impl Rounds {
    fn run(self) {
        while self.woken.recv().is_ok() && !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.round() {
                tracing::error!(file = %self.place.path.display(), %error,
                    "rotated files could not be compressed or removed; it is tried again when the \
                     file is rotated next");
            }
        }
    }

    fn round(&self) -> io::Result<()> {
        let mut files = self.find()?;
        while self.rotation.keep.is_some_and(|keep| files.len() as u64 > keep)
            && let Some((_, Found { plain, compressed })) = files.pop_first()
        {
            for name in plain.into_iter().chain(compressed) {
                tracing::info!(file = name, "removed the oldest rotated file");
                self.disk().remove(&self.at(&name))?;
            }
        }
        for found in files.into_values() {
            if let Some(plain) = found.plain
                && self.rotation.compress
            {
                self.compress(&plain)?;
            }
        }
        self.disk().sync_dir(self.place.dir())
    }

    /// The rotated files, oldest first. What was never finished is removed, and a compressed file
    /// whose plain one is there: until that is gone it is not known to be whole, for power may have
    /// gone before its name meant what was synced. It is made again.
    fn find(&self) -> io::Result<BTreeMap<u64, Found>> {
        let stem = stem_of(&self.place);
        let mut files: BTreeMap<u64, Found> = BTreeMap::new();
        let mut doubtful = Vec::new();
        for name in self.disk().list(self.place.dir())? {
            let Some(stamp) = stamp_of(&stem, &name) else { continue };
            if name.ends_with(UNFINISHED) {
                doubtful.push(name);
            } else if name.ends_with(COMPRESSED) {
                files.entry(stamp).or_default().compressed = Some(name);
            } else {
                files.entry(stamp).or_default().plain = Some(name);
            }
        }
        for found in files.values_mut().filter(|found| found.plain.is_some()) {
            doubtful.extend(found.compressed.take());
        }
        for name in &doubtful {
            self.disk().remove(&self.at(name))?;
        }
        if !doubtful.is_empty() {
            // Before others get their names: an old one must never stand for a new one.
            self.disk().sync_dir(self.place.dir())?;
        }
        Ok(files)
    }

    fn compress(&self, name: &str) -> io::Result<()> {
        let Some(from) = self.disk().open(&self.at(name))? else { return Ok(()) };
        let unfinished = self.at(&format!("{name}{UNFINISHED}"));
        let to = self.disk().create(&unfinished)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let (mut read, mut written, length) = (0, 0, from.length()?);
        let mut chunk = vec![0; CHUNK_BYTES];
        while read < length {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let bytes =
                usize::try_from(length - read).map_or(CHUNK_BYTES, |rest| rest.min(CHUNK_BYTES));
            let part = chunk.get_mut(..bytes).unwrap_or_default();
            from.read_at(part, read)?;
            encoder.write_all(part)?;
            to.write_at(encoder.get_ref(), written)?;
            read += bytes as u64;
            written += encoder.get_ref().len() as u64;
            encoder.get_mut().clear();
        }
        to.write_at(&encoder.finish()?, written)?;
        to.sync()?;
        self.disk().rename(&unfinished, &self.at(&format!("{name}{COMPRESSED}")))?;
        self.disk().sync_dir(self.place.dir())?;
        self.disk().remove(&self.at(name))
    }

    fn disk(&self) -> &dyn OutputDisk {
        &*self.place.disk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.dir().join(name)
    }
}

/// What every name of a rotated file begins with.
fn stem_of(place: &Place) -> String {
    let name = place.path.file_name().unwrap_or_default();
    format!("{}.", name.to_string_lossy())
}

/// The time in the name of a rotated file; other files have none, and are not touched.
fn stamp_of(stem: &str, name: &str) -> Option<u64> {
    let stamp = name.strip_prefix(stem)?;
    let stamp = stamp.strip_suffix(UNFINISHED).or_else(|| stamp.strip_suffix(COMPRESSED));
    let stamp = stamp.unwrap_or_else(|| name.strip_prefix(stem).unwrap_or_default());
    clock::read_file_stamp(stamp)
}
