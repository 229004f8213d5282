//! The writers of a handler: one for its file, or one for each file that a template makes.
//!
//! Each has a thread of its own (`scribe.rs`), so that a file that cannot be written holds up no other
//! (R5). Of many files so many are open at once; the one that was not used for longest makes room.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix::Recipient;
use paquebot_protocol::LedgerId;
use paquebot_protocol::backoff::Backoff;
use paquebot_store::Ledger as Store;

use super::disk::OutputDisk;
use super::opening;
use super::place::{self, FileError, Place};
use super::rotated::Background;
use super::scribe::Scribe;
use super::{FileOptions, STOPPED_PAUSE_MS};
use crate::attempt::Attempt;
use crate::handler::HandlerMeters;
use crate::ledger::Record;

/// Files that are open at once.
const OPEN_MAX: usize = 64;

/// What every writer of a handler is made with.
pub(super) struct Workshop {
    pub(super) options: FileOptions,
    pub(super) disk: Arc<dyn OutputDisk>,
    pub(super) store: Store,
    pub(super) id: LedgerId,
    pub(super) ledger: Recipient<Record>,
    pub(super) meters: HandlerMeters,
}

/// Who writes one file.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Attempt>,
    thread: JoinHandle<()>,
}

/// Who writes many: the thread that opens and closes them.
struct Writers {
    workshop: Workshop,
    open: HashMap<PathBuf, (Writer, u64)>,
    /// Goes up with every use.
    uses: u64,
}

impl Workshop {
    /// Opens one file and brings it in line with what the ledger knows.
    pub(super) fn writer(&self, path: PathBuf) -> Result<Writer, FileError> {
        let FileOptions { name, format, rotation, retry_initial, retry_max, .. } = &self.options;
        let place = Arc::new(Place {
            disk: Arc::clone(&self.disk),
            path,
            format: *format,
            rotation: *rotation,
            store: self.store.clone(),
            ledger: self.id,
        });
        let output = opening::open(&place)?;
        let (queue, waiting) = mpsc::channel();
        let name: Arc<str> = name.as_str().into();
        let background = Background::start(&place, &name).map_err(FileError::Thread)?;
        let backoff = Backoff::new((*retry_initial).into(), (*retry_max).into());
        let (ledger, meters) = (self.ledger.clone(), self.meters.clone());
        let scribe =
            Scribe::new(Arc::clone(&name), place, output, waiting, ledger, meters, backoff);
        let builder = std::thread::Builder::new().name(format!("handler-{name}"));
        let thread = builder.spawn(move || scribe.run(background)).map_err(FileError::Thread)?;
        Ok(Writer { queue, thread })
    }

    /// Starts the thread that writes many files. Those that the ledger knows are brought in line with
    /// it first: what a crash has left is cut off also where no other packet comes.
    pub(super) fn writers(self) -> Result<Writer, FileError> {
        let template = &self.options.path;
        let known = place::rows(&self.store)?.into_iter().map(|(_, state)| state.path);
        for path in known.filter(|path| template.made(path)) {
            match self.writer(path.into()) {
                Ok(writer) => drop(writer.finish().join()),
                // Its packets will hear so.
                Err(error) => {
                    tracing::error!(handler = self.options.name, %error, "a file cannot be used");
                }
            }
        }
        let (queue, waiting) = mpsc::channel();
        let name = format!("handler-{}", self.options.name);
        let writers = Writers { workshop: self, open: HashMap::new(), uses: 0 };
        let builder = std::thread::Builder::new().name(name);
        let thread = builder.spawn(move || writers.run(&waiting)).map_err(FileError::Thread)?;
        Ok(Writer { queue, thread })
    }
}

impl Writer {
    /// Hands packets over; gives them back when the thread has ended.
    pub(super) fn give(&self, attempt: Attempt) -> Option<Attempt> {
        self.queue.send(attempt).err().map(|mpsc::SendError(attempt)| attempt)
    }

    /// No other packets come; gives the thread, to be joined.
    pub(super) fn finish(self) -> JoinHandle<()> {
        let Self { queue, thread } = self;
        drop(queue);
        thread
    }
}

impl Writers {
    fn run(mut self, waiting: &mpsc::Receiver<Attempt>) {
        while let Ok(attempt) = waiting.recv() {
            let path = self.workshop.options.path.fill(&attempt.origin.client, &attempt.target);
            let (back, why) = match self.writer_of(path) {
                Ok(writer) => (writer.give(attempt), "its thread has ended".to_owned()),
                Err(error) => (Some(attempt), error.to_string()),
            };
            if let Some(attempt) = back {
                self.workshop.meters.is_failing(1, &why);
                let reason = format!("handler {}: {why}", self.workshop.options.name);
                attempt.fail(STOPPED_PAUSE_MS, reason);
            }
        }
        // All at once, so that they do not wait for each other.
        let threads: Vec<_> = self.open.into_values().map(|(writer, _)| writer.finish()).collect();
        for thread in threads {
            // One that panicked has been logged by the panic itself.
            drop(thread.join());
        }
    }

    /// Who writes the file at `path`.
    fn writer_of(&mut self, path: PathBuf) -> Result<&Writer, FileError> {
        self.uses += 1;
        while self.open.len() >= OPEN_MAX && !self.open.contains_key(&path) {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else { break };
            if let Some((writer, _)) = self.open.remove(&oldest) {
                drop(writer.finish().join());
            }
        }
        let (writer, used) = match self.open.entry(path) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let writer = self.workshop.writer(new.key().clone())?;
                new.insert((writer, 0))
            }
        };
        *used = self.uses;
        Ok(writer)
    }
}
