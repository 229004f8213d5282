//! The ledger: how far each lane was handled, and what ended without being handled (R4, R6, R7).
//!
//! ```text
//! <dir>/lock               held while the ledger is open
//! <dir>/ledger.redb        cursors, fences, files, totals: small and hot
//! <dir>/dead-letters/      dead letters, in segments, whose size nobody knows
//! <dir>/headroom           room that can be given up when the disk is full
//! <dir>/quarantine/        what could not be read
//! ```
//!
//! One thread, "ledger", does everything: it takes all that waits into one transaction, in order,
//! and answers when that is durable; so an answer never tells what a crash could still undo. A
//! record is written whole or not at all: a cursor moves only from where the record says that it
//! is, and only for the latest opening of its spool. A record that is refused changes nothing, for
//! itself or for its neighbours in the transaction.
//!
//! Dead letters are durable before the cursor that passes them (`dead/`).
//!
//! When a write fails, everybody who waits for it is told so, and the ledger goes on by itself in a
//! new file (`heal.rs`). Before the disk is full it stops recording (`room.rs`). Both are told to
//! whoever watches, and end by themselves.

mod attempts;
mod backup;
mod census;
pub mod check;
mod clients;
mod cursor;
mod dead;
mod facts;
mod fence;
mod heal;
mod history;
mod letters;
mod open;
mod order;
mod paused;
mod quarantine;
mod record;
mod replay;
mod retire;
mod room;
mod sheet;
mod tables;
mod trace;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use paquebot_protocol::{ClientId, Lane, LaneKey, Number, PacketId, SpoolId};

pub use clients::ClientOnRecord;
pub use facts::{
    Admitted, CursorAt, Fence, FileId, FileState, HandlerTotals, Known, LedgerEvent, LedgerOpened,
    LedgerStatus, Mark, PausedHandler, Record, Tried, Watch,
};
pub use history::{Passage, Passed};
pub use letters::{
    DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterPage, DeadLettersOf, LetterKey,
    ListedLetter, Replays, StillDead, WhenDeadLettersFull,
};
use order::Order;
pub use trace::Traced;

use crate::counts::Counts;
use crate::disk::Disk;
use crate::error::{LedgerError, OpenError, RecordError};
use crate::reply::{Promise, Reply};
use crate::thread::Thread;

/// Orders that may wait: far more than permits allow, so that nobody ever waits for room here.
const ORDERS_MAX: usize = 65_536;

/// What a ledger is opened with.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// Its directory, made if absent.
    pub dir: PathBuf,
    /// How many dead letters a client may have.
    pub dead_letters: DeadLetterLimits,
}

/// A handle to a ledger: cheap to clone.
///
/// [`Ledger::close`] ends its thread; without it that ends, as cleanly, some time after the last
/// handle is dropped.
#[derive(Debug, Clone)]
pub struct Ledger {
    status: Arc<Mutex<LedgerStatus>>,
    counts: Counts,
    orders: SyncSender<Order>,
    thread: Thread,
}

impl Ledger {
    /// Opens the ledger in `options.dir`, or makes it.
    ///
    /// # Errors
    /// When it cannot be opened; nothing is destroyed then.
    #[expect(clippy::needless_pass_by_value, reason = "as the spool is opened")]
    pub fn open(
        options: LedgerOptions,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, LedgerOpened), OpenError> {
        let (orders, ordered) = mpsc::sync_channel(ORDERS_MAX);
        let (writer, opened) = open::open(&options, disk)?;
        let (status, counts) = (Arc::clone(&writer.status), writer.counts.clone());
        let thread = Thread::start("ledger", move || writer.run(&ordered))?;
        Ok((Self { status, counts, orders, thread }, opened))
    }

    /// Lets an opening of a spool in, durably, or says that the spool must take a new id (R7):
    /// when a later opening is on record, or another one with the same number.
    pub fn admit(
        &self,
        fence: Fence,
        replaces: Option<SpoolId>,
        client: ClientId,
        reply: Reply<Result<Admitted, LedgerError>>,
    ) {
        self.order(Order::Admit { fence, replaces, client, promise: Promise::new(reply) });
    }

    /// Where a lane stands; `first` is the lowest number that the client still holds. A cursor
    /// below `first - 1` jumps there, durably: what lies between had its outcome elsewhere, and is
    /// told (R8).
    pub fn cursor(&self, key: LaneKey, first: Number, reply: Reply<Result<CursorAt, LedgerError>>) {
        self.order(Order::Cursor { key, first, promise: Promise::new(reply) });
    }

    /// Records outcomes: everything in `record`, or nothing (R4).
    pub fn record(&self, record: Record) {
        self.order(Order::record(record));
    }

    /// Writes down that the packet after a lane's cursor was tried in vain (R11); refused when the
    /// cursor is elsewhere or a newer opening of the spool is on record.
    pub fn tried(
        &self,
        fence: Fence,
        lane: Lane,
        tried: Tried,
        reply: Reply<Result<(), RecordError>>,
    ) {
        self.order(Order::Tried { fence, lane, tried, promise: Promise::new(reply) });
    }

    /// Ends a lane for ever, by word of its spool's latest opening (R6): its cursor goes, and from here
    /// on the lane is neither looked up nor recorded. One without a cursor was never heard of.
    pub fn retire(&self, fence: Fence, lane: Lane, reply: Reply<Result<(), RecordError>>) {
        self.order(Order::Retire { fence, lane, promise: Promise::new(reply) });
    }

    /// What was recorded of every file that handlers write.
    pub fn files(&self, reply: Reply<Result<Vec<(FileId, FileState)>, LedgerError>>) {
        self.order(Order::Files { promise: Promise::new(reply) });
    }

    /// Where a packet is, as far as the ledger knows.
    pub fn trace(&self, id: PacketId, reply: Reply<Result<Traced, LedgerError>>) {
        self.order(Order::Trace { id, promise: Promise::new(reply) });
    }

    /// A page of the dead letters, in the order in which they came.
    pub fn list_dead_letters(
        &self,
        filter: DeadLetterFilter,
        reply: Reply<Result<DeadLetterPage, LedgerError>>,
    ) {
        self.order(Order::ListLetters { filter, promise: Promise::new(reply) });
    }

    /// The dead letter of a packet, with its record.
    pub fn dead_letter(&self, id: PacketId, reply: Reply<Result<Option<DeadLetter>, LedgerError>>) {
        self.order(Order::Letter { id, promise: Promise::new(reply) });
    }

    /// Removes the dead letters of these packets, durably; tells how many there were.
    pub fn discard_dead_letters(&self, ids: Vec<PacketId>, reply: Reply<Result<u64, LedgerError>>) {
        self.order(Order::Discard { ids, promise: Promise::new(reply) });
    }

    /// Brings dead letters up to date that were tried again in vain; tells how many there were.
    pub fn still_dead(&self, still: Vec<StillDead>, reply: Reply<Result<u64, LedgerError>>) {
        self.order(Order::StillDead { still, promise: Promise::new(reply) });
    }

    /// Writes down that a handler is paused by hand; one that is paused already stays so as it was.
    pub fn pause_handler(&self, paused: PausedHandler, reply: Reply<Result<(), LedgerError>>) {
        self.order(Order::Pause { paused, promise: Promise::new(reply) });
    }

    /// Writes down that a handler is not paused any more; tells whether it was.
    pub fn resume_handler(&self, handler: String, reply: Reply<Result<bool, LedgerError>>) {
        self.order(Order::Resume { handler, promise: Promise::new(reply) });
    }

    /// Writes down what clients have told of themselves, with the next commit: a client that has gone is
    /// still known after a restart.
    pub fn remember_clients(
        &self,
        clients: Vec<ClientOnRecord>,
        reply: Reply<Result<(), LedgerError>>,
    ) {
        self.order(Order::Clients { clients, promise: Promise::new(reply) });
    }

    /// What is counted here and goes on over restarts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Removes the dead letters that were last tried before `before_ms`, in milliseconds since 1970.
    pub fn expire_dead_letters(&self, before_ms: u64, reply: Reply<Result<(), LedgerError>>) {
        self.order(Order::Expire { before_ms, promise: Promise::new(reply) });
    }

    /// Copies the ledger as it is now to the file `path`, durably, under a temporary name first:
    /// cursors, fences, files and totals, without dead letters. The ledger goes on meanwhile.
    pub fn back_up(&self, path: PathBuf, reply: Reply<Result<(), LedgerError>>) {
        self.order(Order::Backup { path, promise: Promise::new(reply) });
    }

    /// Calls `watch` whenever the ledger fails, works again, or has something to tell.
    pub fn watch(&self, watch: Watch) {
        self.order(Order::Watch(watch));
    }

    /// How the ledger is, as of the last commit.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commits what waits, answers it, and ends the thread. What is asked afterwards is answered
    /// with "closed". Calling it again does nothing.
    ///
    /// # Errors
    /// When the ledger had failed, or a file could not be closed.
    pub fn close(&self) -> Result<(), String> {
        self.thread.end(|| self.order(Order::Close))
    }

    fn order(&self, order: Order) {
        // When nobody takes it, it is dropped, and its promise says that the ledger is closed.
        let _ = self.orders.send(order);
    }
}
