//! The ledger: how far each lane was handled, and what ended without being handled (R4, R6, R7).
//!
//! ```text
//! <dir>/lock                held while the ledger is open
//! <dir>/ledger.redb         cursors, fences, files, totals: small and hot
//! <dir>/dead-letters.redb   dead letters, whose size nobody knows
//! ```
//!
//! One thread, "ledger", does everything: it takes all that waits into one transaction, in order,
//! and answers when that is durable; so an answer never tells what a crash could still undo. A
//! record is written whole or not at all: a cursor moves only from where the record says that it
//! is, and only for the latest opening of its spool. A record that is refused changes nothing, for
//! itself or for its neighbours in the transaction.
//!
//! Dead letters are durable before the cursor that passes them. A crash in between leaves a dead
//! letter beyond its lane's cursor: its packet was not acknowledged, comes again, and overwrites it
//! when it is rejected again. When it is handled instead, it is both: told twice, never lost.

mod attempts;
mod cursor;
mod dead;
mod facts;
mod fence;
mod open;
mod record;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use paquebot_protocol::{ClientId, Lane, LaneKey, Number, SpoolId};

pub use facts::{
    Admitted, CursorAt, DeadLetter, Fence, FileId, FileState, HandlerTotals, LedgerOpened,
    LedgerStatus, Mark, Record, Tried,
};
use writer::Order;

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
}

/// A handle to a ledger: cheap to clone.
///
/// [`Ledger::close`] ends its thread; without it that ends, as cleanly, some time after the last
/// handle is dropped.
#[derive(Debug, Clone)]
pub struct Ledger {
    status: Arc<Mutex<LedgerStatus>>,
    orders: SyncSender<Order>,
    thread: Thread,
}

impl Ledger {
    /// Opens the ledger in `options.dir`, or makes it.
    ///
    /// # Errors
    /// When it cannot be opened; nothing is destroyed then.
    #[expect(clippy::needless_pass_by_value, reason = "the spool keeps them, and this may come to")]
    pub fn open(
        options: LedgerOptions,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, LedgerOpened), OpenError> {
        let (orders, ordered) = mpsc::sync_channel(ORDERS_MAX);
        let (writer, opened) = open::open(&options.dir, &*disk)?;
        let status = Arc::clone(&writer.status);
        let thread = Thread::start("ledger", move || writer.run(&ordered))?;
        Ok((Self { status, orders, thread }, opened))
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

    /// What was recorded of a file that a handler writes.
    pub fn file(&self, file: FileId, reply: Reply<Result<Option<FileState>, LedgerError>>) {
        self.order(Order::File { file, promise: Promise::new(reply) });
    }

    /// The first `limit` dead letters, by spool, lane and number.
    pub fn dead_letters(&self, limit: usize, reply: Reply<Result<Vec<DeadLetter>, LedgerError>>) {
        self.order(Order::DeadLetters { limit, promise: Promise::new(reply) });
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
