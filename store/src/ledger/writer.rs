//! The thread "ledger": takes everything that waits into one transaction, and answers when it is
//! durable.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use paquebot_protocol::{ClientId, Lane, LaneKey, Number, SpoolId};
use redb::{Database, Table, WriteTransaction};

use super::dead::{DeadKey, DeadLetters};
use super::facts::{
    Admitted, CursorAt, DeadLetter, Fence, FileId, FileState, LedgerStatus, Record, Tried,
};
use crate::database::Length;
use crate::disk::DirLock;
use crate::error::{LedgerError, RecordError};
use crate::fault::Fault;
use crate::reply::{Closed, Promise};
use crate::schema::{self, CursorRow, FileRow};

/// Orders that one transaction takes: enough for full speed.
const ORDERS_MAX: usize = 4096;

/// Bytes of dead letters that one transaction takes.
const DEAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the thread is told.
pub(super) enum Order {
    Admit {
        fence: Fence,
        replaces: Option<SpoolId>,
        client: ClientId,
        promise: Promise<Admitted, LedgerError>,
    },
    Cursor {
        key: LaneKey,
        first: Number,
        promise: Promise<CursorAt, LedgerError>,
    },
    Record {
        record: Outcomes,
        promise: Promise<(), RecordError>,
    },
    Tried {
        fence: Fence,
        lane: Lane,
        tried: Tried,
        promise: Promise<(), RecordError>,
    },
    File {
        file: FileId,
        promise: Promise<Option<FileState>, LedgerError>,
    },
    DeadLetters {
        limit: usize,
        promise: Promise<Vec<DeadLetter>, LedgerError>,
    },
    Close,
}

/// A record without its reply.
pub(super) struct Outcomes {
    pub(super) handler: Arc<str>,
    pub(super) marks: Vec<super::Mark>,
    pub(super) file: Option<(FileId, FileState)>,
    pub(super) dead: Vec<DeadLetter>,
}

impl Order {
    /// The order to write `record` down.
    pub(super) fn record(record: Record) -> Self {
        let Record { handler, marks, file, dead, reply } = record;
        let record = Outcomes { handler, marks, file, dead };
        Self::Record { record, promise: Promise::new(reply) }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}

/// An answer that waits for the transaction: told that it is durable, or why it is not.
type Answer = Box<dyn FnOnce(&Result<(), Fault>)>;

/// What the thread owns.
pub(super) struct Writer {
    pub(super) db: Database,
    pub(super) len: Length,
    pub(super) dead: DeadLetters,
    pub(super) status: Arc<Mutex<LedgerStatus>>,
    /// Why nothing can be recorded any more, until the ledger is opened again.
    pub(super) failed: Option<Fault>,
    pub(super) lock: DirLock,
}

/// The tables of one transaction, and what it has yet to do.
pub(super) struct Sheet<'t> {
    pub(super) spools: Table<'t, u128, &'static [u8]>,
    pub(super) cursors: Table<'t, (u128, u64), CursorRow>,
    pub(super) tried: Table<'t, (u128, u64), (u64, u32, u64, u64)>,
    pub(super) files: Table<'t, (u64, u64), &'static [u8]>,
    pub(super) totals: Table<'t, &'static str, (u64, u64)>,
    pub(super) dead: &'t DeadLetters,
    pub(super) new_dead: BTreeMap<DeadKey, DeadLetter>,
    /// Whether anything was written at all.
    pub(super) wrote: bool,
}

impl Writer {
    /// Works until it is told to close, or nobody holds a handle any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> Result<(), String> {
        let mut open = true;
        while open {
            let Ok(order) = orders.recv() else { break };
            let (mut taken, mut dead_bytes) = (Vec::new(), 0);
            let mut next = Some(order);
            while let Some(order) = next.take() {
                match order {
                    Order::Close => {
                        open = false;
                        break;
                    }
                    Order::Record { ref record, .. } => {
                        dead_bytes += record.dead.iter().map(|d| d.record.len()).sum::<usize>();
                    }
                    _ => {}
                }
                taken.push(order);
                if taken.len() < ORDERS_MAX && dead_bytes < DEAD_BYTES_MAX {
                    next = orders.try_recv().ok();
                }
            }
            self.work(taken);
        }
        self.close()
    }

    /// One transaction, and the answers.
    fn work(&mut self, orders: Vec<Order>) {
        let mut answers = Vec::with_capacity(orders.len());
        let mut orders = orders.into_iter();
        let outcome = match self.failed.clone() {
            Some(fault) => Err(fault),
            None => self.transact(&mut orders, &mut answers),
        };
        if let Err(fault) = &outcome {
            // What was not looked at fails with the others.
            answers.extend(orders.map(|order| failed(order, fault)));
            // redb refuses a handle that failed, and what reached the disk is not known.
            self.failed = Some(fault.clone());
        }
        self.publish_status();
        for answer in answers {
            answer(&outcome);
        }
    }

    fn transact(
        &mut self,
        orders: &mut std::vec::IntoIter<Order>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Fault> {
        let transaction = self.db.begin_write()?;
        let (new_dead, wrote) = {
            let mut sheet = Sheet::open(&transaction, &self.dead)?;
            for order in orders {
                sheet.take(order, answers)?;
            }
            (mem::take(&mut sheet.new_dead), sheet.wrote)
        };
        if !new_dead.is_empty() {
            // Durable no later than the cursors that pass them (R4).
            self.dead.insert(&new_dead)?;
        }
        if wrote {
            transaction.commit()?;
        }
        Ok(())
    }

    /// Tells everybody how the ledger is.
    pub(super) fn publish_status(&self) {
        let (dead_letters, dead_letters_bytes) = self.dead.totals();
        let status = LedgerStatus {
            failed: self.failed.as_ref().map(ToString::to_string),
            file_bytes: self.len.load(Ordering::Relaxed) + self.dead.file_bytes(),
            dead_letters,
            dead_letters_bytes,
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn close(self) -> Result<(), String> {
        let closed = self.db.close().map_err(|error| format!("ledger.redb: {error}"));
        let dead = self.dead.close().map_err(|error| format!("dead-letters.redb: {error}"));
        drop(self.lock);
        match self.failed {
            Some(fault) => Err(fault.to_string()),
            None => closed.and(dead),
        }
    }
}

impl<'t> Sheet<'t> {
    fn open(transaction: &'t WriteTransaction, dead: &'t DeadLetters) -> Result<Self, Fault> {
        Ok(Self {
            spools: transaction.open_table(schema::SPOOLS)?,
            cursors: transaction.open_table(schema::CURSORS)?,
            tried: transaction.open_table(schema::TRIED)?,
            files: transaction.open_table(schema::FILES)?,
            totals: transaction.open_table(schema::TOTALS)?,
            dead,
            new_dead: BTreeMap::new(),
            wrote: false,
        })
    }

    /// Takes an order into the transaction.
    fn take(&mut self, order: Order, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        match order {
            Order::Admit { fence, replaces, client, promise } => {
                later(self.admit(fence, replaces, client), promise, answers)
            }
            Order::Cursor { key, first, promise } => {
                later(self.cursor(key, first), promise, answers)
            }
            Order::Record { record, promise } => later(self.record(record), promise, answers),
            Order::Tried { fence, lane, tried, promise } => {
                later(self.put_tried(fence, lane, tried), promise, answers)
            }
            Order::File { file, promise } => later(self.file(file), promise, answers),
            Order::DeadLetters { limit, promise } => {
                later(self.dead.first(limit).map(Ok), promise, answers)
            }
            Order::Close => Ok(()),
        }
    }

    fn file(&self, file: FileId) -> Result<Result<Option<FileState>, LedgerError>, Fault> {
        let Some(row) = redb::ReadableTable::get(&self.files, (file.device, file.inode))? else {
            return Ok(Ok(None));
        };
        let FileRow { path, length, generation } = schema::decode("a file's row", row.value())?;
        Ok(Ok(Some(FileState { path, length, generation })))
    }
}

/// Puts the answer to what was `found` aside until the transaction is durable. A refusal holds
/// whatever becomes of the transaction; a fault is everybody's.
fn later<T: 'static, E: From<Fault> + Closed + 'static>(
    found: Result<Result<T, E>, Fault>,
    promise: Promise<T, E>,
    answers: &mut Vec<Answer>,
) -> Result<(), Fault> {
    let (result, fault) = match found {
        Ok(result) => (result, Ok(())),
        Err(fault) => (Err(fault.clone().into()), Err(fault)),
    };
    answers.push(Box::new(move |outcome| {
        promise.keep(match (result, outcome) {
            (Ok(_), Err(fault)) => Err(fault.clone().into()),
            (result, _) => result,
        });
    }));
    fault
}

/// The answer to an order that nobody looked at.
fn failed(order: Order, fault: &Fault) -> Answer {
    let mut answers = Vec::new();
    let fault = fault.clone();
    let _ = match order {
        Order::Admit { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Cursor { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Record { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Tried { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::File { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::DeadLetters { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Close => Ok(()),
    };
    answers.pop().unwrap_or_else(|| Box::new(|_| {}))
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::DiskFull,
            Fault::Broken(found) => Self::Failed(found),
        }
    }
}

impl From<Fault> for RecordError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::DiskFull,
            Fault::Broken(found) => Self::Failed(found),
        }
    }
}
