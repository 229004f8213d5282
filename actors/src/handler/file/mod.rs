//! The handler `file`: each packet's line is in the file once, in order per lane.
//!
//! The actor is only the door; a thread of its own writes (`scribe.rs`), because a disk may take its
//! time and no other handler must wait for it (R5).
//!
//! # The steps, and what a crash leaves
//!
//! One writer per file, under a lock. For a group of packets, of as many lanes as are waiting:
//!
//! 1. write behind the recorded length, sync;
//! 2. one transaction of the ledger: the file's row (length, generation, hash of the last bytes)
//!    and the cursors of every lane with bytes in the group (R4);
//! 3. write the row's generation into the marker beside the file, sync;
//! 4. tell the sessions, which acknowledge.
//!
//! The generation goes up with every record of the file. A crash leaves
//!
//! - after 1: bytes past the recorded length. They go to a quarantine file and are cut off (R10):
//!   no cursor has passed their packets, which come again;
//! - after 2: a marker that is behind the row. This is nobody's affair but the next opening's;
//! - after 3: a client that resends what is handled, and hears so.
//!
//! # A restored ledger
//!
//! Somebody puts an older copy of the ledger in its place while the server is down. Its row names
//! a shorter length: the very picture of a crash after step 1. To cut then would destroy packets
//! that their clients have dropped. Length and hashes cannot tell the two apart, for the file is
//! the same in both; only something that is not in the ledger can. Hence step 3, and its place:
//!
//! - *marker's generation above the row's:* the ledger has forgotten a record. Nothing is cut: the
//!   file is set aside whole, a new one begins, and this is reported. Its generation goes on above
//!   the marker's, so that this is noticed once.
//! - *otherwise* the row holds at least every record that the marker has seen. Nobody was told
//!   "handled" of any later one, because step 4 comes after step 3. So the clients still have the
//!   packets that lie past the recorded length, and cutting loses nothing, whichever of the two it
//!   was. A marker that is written lazily, or before step 2, would leave a record between them.
//!
//! The price is a third sync for each group; it overwrites one page in place, which costs least.
//! Where nobody recorded the opening itself, a new marker file is empty and says nothing; nothing
//! was acknowledged then either.
//!
//! # Somebody else at work
//!
//! Before each group the path must still mean the file that is open, and that must end where the
//! last group ended; if not, everything is closed and opened again, as after a crash (`opening.rs`):
//!
//! - *shorter than recorded*: bytes are lost, which is reported; the file is never extended, the
//!   next group comes at its end;
//! - *longer*: what was added goes to a quarantine file;
//! - *renamed or removed*: a new file begins at the path. Was it renamed in the same directory
//!   while the server was down, it is found by its inode and loses its unrecorded bytes;
//! - *other bytes where the hash was taken*: it is set aside whole, and a new one begins.
//!
//! A file is known by device and inode. A disk may get another number when the machine starts, or
//! be replaced: then a file that is at the row's path and has the row's hash is the same.
//!
//! The same way leads out of every failure whose outcome is unknown: a record that the ledger may or
//! may not have kept, a rotation that ended half way, a marker that could not be written. In the
//! last case the sessions are told when the marker is written after all.
//!
//! A path may have places to fill in (`template.rs`): then there is a writer for each file
//! (`writers.rs`), and all of this holds for each.
//!
//! Rotation is in `rotation.rs`, what becomes of rotated files in `rotated.rs`.

mod disk;
mod marker;
mod opening;
mod output;
mod place;
mod rotated;
mod rotation;
mod scribe;
mod template;
mod writers;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, MessageResult, Recipient};
use paquebot_protocol::LedgerId;
use paquebot_store::Ledger as Store;

pub use disk::{OutputDisk, OutputFile, RealDisk};
pub use place::{FileError, FileFormat, Rotation};
pub use template::PathTemplate;

use super::{Handle, HandlerMeters};
use crate::ledger::Record;
use writers::{Workshop, Writer};

/// How the handler is configured.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Its name.
    pub name: String,
    /// Where it writes.
    pub path: PathTemplate,
    /// What it writes.
    pub format: FileFormat,
    /// When the next file begins; never, if not set.
    pub rotation: Option<Rotation>,
    /// How long a lane waits after a failure, at first.
    pub retry_initial: Duration,
    /// And at most.
    pub retry_max: Duration,
}

/// The actor.
#[derive(Debug)]
pub struct FileHandler {
    name: Arc<str>,
    writer: Option<Writer>,
}

impl FileHandler {
    /// Opens the file on `disk`, or those that a template has made, brings them in line with what the
    /// ledger knows, and starts to write.
    ///
    /// # Errors
    /// When the file cannot be used; the sentence says why.
    pub fn open(
        options: FileOptions,
        disk: Arc<dyn OutputDisk>,
        store: &Store,
        id: LedgerId,
        ledger: Recipient<Record>,
        meters: HandlerMeters,
    ) -> Result<Self, FileError> {
        let name: Arc<str> = options.name.as_str().into();
        let workshop = Workshop { options, disk, store: store.clone(), id, ledger, meters };
        let writer = match workshop.options.path.plain() {
            Some(path) => workshop.writer(path)?,
            None => workshop.writers()?,
        };
        Ok(Self { name, writer: Some(writer) })
    }
}

impl Actor for FileHandler {
    type Context = Context<Self>;
}

impl Handler<Handle> for FileHandler {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let Some(writer) = &self.writer else {
            return handle.0.fail(STOPPED_PAUSE_MS, format!("handler {} is stopping", self.name));
        };
        if let Some(attempt) = writer.give(handle.0) {
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
        MessageResult(self.writer.take().map(Writer::finish))
    }
}
