//! The handler `file`: each packet's line is in the file once, in order per lane.
//!
//! The actor is only the door; a thread of its own writes, because a disk may take its time and no
//! other handler must wait for it (R5). It takes all that waits, writes, syncs, and has the ledger
//! record the length together with the cursors of every lane with bytes below it (R4, DESIGN.md
//! "Exactly once").

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, MessageResult, Recipient};
use paquebot_protocol::backoff::Backoff;
use paquebot_protocol::{LedgerId, Millis};
use paquebot_store::{DeadLetter, Ledger as Store};

use super::file_writer::{FileFormat, FileWriter, OpenFileError};
use super::{Handle, HandlerMeters};
use crate::attempt::Attempt;
use crate::clock;
use crate::ledger::{Record, Unrecorded};
use crate::link::random;

/// Bytes of packets that are written under one sync.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How the handler is configured.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Its name.
    pub name: String,
    /// Where it writes.
    pub path: PathBuf,
    /// What it writes.
    pub format: FileFormat,
    /// How long a lane waits after a failure, at first.
    pub retry_initial: Duration,
    /// And at most.
    pub retry_max: Duration,
}

/// The actor.
#[derive(Debug)]
pub struct FileHandler {
    name: Arc<str>,
    queue: Option<mpsc::Sender<Attempt>>,
    thread: Option<JoinHandle<()>>,
}

impl FileHandler {
    /// Opens the file, brings it in line with what the ledger knows, and starts its thread.
    ///
    /// # Errors
    /// When the file cannot be used; the sentence says why.
    pub fn open(
        options: FileOptions,
        store: &Store,
        id: LedgerId,
        ledger: Recipient<Record>,
        meters: HandlerMeters,
    ) -> Result<Self, OpenFileError> {
        let writer = FileWriter::open(&options.path, options.format, store, id)?;
        let (queue, waiting) = mpsc::channel();
        let (initial, max) = (options.retry_initial.into(), options.retry_max.into());
        let name: Arc<str> = options.name.into();
        let scribe = Scribe {
            name: Arc::clone(&name),
            writer,
            waiting,
            ledger,
            meters,
            backoff: Backoff::new(initial, max),
        };
        let builder = std::thread::Builder::new().name(format!("handler-{name}"));
        let thread = builder.spawn(move || scribe.run()).map_err(OpenFileError::Thread)?;
        Ok(Self { name, queue: Some(queue), thread: Some(thread) })
    }
}

impl Actor for FileHandler {
    type Context = Context<Self>;
}

impl Handler<Handle> for FileHandler {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let Some(queue) = &self.queue else {
            return handle.0.fail(STOPPED_PAUSE_MS, format!("handler {} is stopping", self.name));
        };
        if let Err(mpsc::SendError(attempt)) = queue.send(handle.0) {
            attempt.fail(STOPPED_PAUSE_MS, format!("handler {} has stopped", self.name));
        }
    }
}

/// When a client comes again to a handler that is gone.
const STOPPED_PAUSE_MS: u64 = 5_000;

/// Finish what waits, and end. Gives the thread, to be joined where nobody else has to wait for it:
/// its last record goes through the ledger's door.
#[derive(Debug, Message)]
#[rtype(result = "Option<JoinHandle<()>>")]
pub struct FinishFile;

impl Handler<FinishFile> for FileHandler {
    type Result = MessageResult<FinishFile>;

    fn handle(&mut self, _: FinishFile, _: &mut Self::Context) -> Self::Result {
        self.queue = None;
        MessageResult(self.thread.take())
    }
}

/// The thread that writes.
struct Scribe {
    name: Arc<str>,
    writer: FileWriter,
    waiting: mpsc::Receiver<Attempt>,
    ledger: Recipient<Record>,
    meters: HandlerMeters,
    backoff: Backoff,
}

impl Scribe {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX
                && let Ok(next) = self.waiting.try_recv()
            {
                bytes += next.bytes();
                group.push(next);
            }
            self.handle(group);
        }
    }

    /// Handles attempts under one sync and one record; when that fails because of one of them, each
    /// by itself, so that it touches no other (R5).
    fn handle(&mut self, mut group: Vec<Attempt>) {
        let began = clock::instant();
        let packets: u64 = group.iter().map(Attempt::count).sum();
        let mut dead = Vec::new();
        for attempt in &mut group {
            let unreadable = self.writer.gather(attempt);
            attempt.mark.handled = attempt.count() - unreadable.len() as u64;
            let letter = |(id, record, why): (_, Vec<u8>, String)| {
                attempt.dead_letter(id, &record, &self.name, &why)
            };
            dead.extend(unreadable.into_iter().map(letter).collect::<Vec<DeadLetter>>());
        }
        if let Err(error) = self.writer.write() {
            return self.fail(group, packets, &error.to_string());
        }
        let (answer, answered) = mpsc::channel::<Result<(), Unrecorded>>();
        let dead_letters = dead.len() as u64;
        // The thread that waits for the answer below is this one.
        let reply = move |outcome| drop(answer.send(outcome));
        self.ledger.do_send(Record {
            handler: Arc::clone(&self.name),
            attempts: group,
            file: Some(self.writer.written()),
            dead,
            reply: Some(Box::new(reply)),
        });
        match answered.recv() {
            Ok(Ok(())) => {
                self.writer.recorded();
                self.backoff.reset();
                self.meters.is_ok();
                self.meters.handled.increment(packets - dead_letters);
                self.meters.dead_lettered.increment(dead_letters);
                self.meters.seconds.record(began.elapsed());
            }
            Ok(Err(Unrecorded { error, attempts })) if error.is_unknown() => {
                self.writer.doubt();
                self.fail(attempts, packets, &error.to_string());
            }
            // Not recorded: what was written does not count.
            Ok(Err(Unrecorded { attempts, .. })) if attempts.len() > 1 => {
                self.cut(0, "one of several lanes could not be recorded; each is tried by itself");
                for attempt in attempts {
                    self.handle(vec![attempt]);
                }
            }
            Ok(Err(Unrecorded { error, attempts })) => {
                self.fail(attempts, packets, &error.to_string());
            }
            Err(mpsc::RecvError) => {
                self.writer.doubt();
                self.cut(packets, "the ledger has stopped");
            }
        }
    }

    fn fail(&mut self, group: Vec<Attempt>, packets: u64, why: &str) {
        let wait: Millis = self.backoff.next(random());
        self.cut(packets, why);
        for attempt in group {
            attempt.fail(wait.0, format!("handler {}: {why}", self.name));
        }
    }

    fn cut(&mut self, packets: u64, why: &str) {
        self.meters.is_failing(packets, why);
        tracing::error!(handler = %self.name, file = %self.writer.path().display(), why,
            "packets could not be written; they stay with their clients, which come again");
        if let Err(error) = self.writer.cut() {
            tracing::error!(handler = %self.name, %error, "the file could not be cut back");
        }
    }
}
