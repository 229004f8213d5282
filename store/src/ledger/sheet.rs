//! The sheet: what one transaction writes, and the answers that wait for it.

use std::collections::BTreeMap;

use paquebot_protocol::ClientId;
use redb::{ReadableTable, Table, WriteTransaction};

use super::census::Census;
use super::dead::{DeadKey, DeadLetters, Tally};
use super::facts::{FileId, FileState};
use super::history::History;
use super::letters::{DeadLetter, DeadLetterLimits, StillDead};
use super::order::Order;
use crate::clock;
use crate::counts::Count;
use crate::error::{LedgerError, RecordError};
use crate::fault::Fault;
use crate::reply::{Closed, Promise};
use crate::schema::{self, CursorRow, FileRow, TriedRow};

/// An answer that waits for the transaction: told that it is durable, or why it is not.
pub(super) type Answer = Box<dyn FnOnce(&Result<(), Fault>)>;

/// The tables of one transaction, and what it has yet to do.
pub(super) struct Sheet<'t> {
    /// For the tables that few transactions need: whoever does opens them for a moment.
    pub(super) transaction: &'t WriteTransaction,
    pub(super) spools: Table<'t, u128, &'static [u8]>,
    pub(super) cursors: Table<'t, (u128, u64), CursorRow>,
    pub(super) tried: Table<'t, (u128, u64), TriedRow>,
    pub(super) totals: Table<'t, &'static str, (u64, u64)>,
    pub(super) history: &'t mut History,
    pub(super) census: &'t mut Census,
    /// When all of this happens, in milliseconds since 1970 (UTC).
    pub(super) at_ms: u64,
    pub(super) dead: &'t mut DeadLetters,
    pub(super) limits: DeadLetterLimits,
    /// Whether the disk has room: without it nothing is written.
    pub(super) has_room: bool,
    pub(super) new_dead: BTreeMap<DeadKey, DeadLetter>,
    pub(super) new_of_client: BTreeMap<ClientId, Tally>,
    /// Unsettled letters whose packets have had another outcome.
    pub(super) stale: Vec<DeadKey>,
    /// Unsettled letters that a cursor has jumped over.
    pub(super) passed: Vec<DeadKey>,
    /// Letters that were tried again in vain.
    pub(super) still_dead: Vec<StillDead>,
    /// Whether anything was written at all.
    pub(super) wrote: bool,
    /// Which commit this is, if so.
    commit: u64,
}

/// What a transaction is about, once its tables are closed.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) wrote: bool,
    /// The letters that count once it is durable.
    pub(super) settled: Vec<DeadKey>,
    /// How many dead letters are gone, by how they went.
    pub(super) gone: Vec<(&'static str, u64)>,
    /// Letters that were replayed and are out of their segments by now.
    pub(super) out: Vec<DeadKey>,
}

impl<'t> Sheet<'t> {
    /// A sheet on `transaction`.
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        dead: &'t mut DeadLetters,
        (history, census): (&'t mut History, &'t mut Census),
        limits: DeadLetterLimits,
        has_room: bool,
        commit: u64,
    ) -> Result<Self, Fault> {
        Ok(Self {
            transaction,
            spools: transaction.open_table(schema::SPOOLS)?,
            cursors: transaction.open_table(schema::CURSORS)?,
            tried: transaction.open_table(schema::TRIED)?,
            totals: transaction.open_table(schema::TOTALS)?,
            history,
            census,
            at_ms: clock::reading().wall_ms,
            dead,
            limits,
            has_room,
            new_dead: BTreeMap::new(),
            new_of_client: BTreeMap::new(),
            stale: Vec::new(),
            passed: Vec::new(),
            still_dead: Vec::new(),
            wrote: false,
            commit,
        })
    }

    /// Takes an order into the transaction.
    pub(super) fn take(&mut self, order: Order, answers: &mut Vec<Answer>) -> Result<(), Fault> {
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
            Order::Retire { fence, lane, promise } => {
                later(self.retire(fence, lane), promise, answers)
            }
            Order::Files { promise } => later(self.all_files().map(Ok), promise, answers),
            Order::Trace { id, promise } => later(self.trace(id).map(Ok), promise, answers),
            // What fails here is a segment's affair, and that of whoever asked.
            Order::ListLetters { filter, promise } => {
                later(Ok(self.dead.list(&filter).map_err(LedgerError::from)), promise, answers)
            }
            Order::Letter { id, promise } => {
                later(Ok(self.dead.letter(id).map_err(LedgerError::from)), promise, answers)
            }
            Order::Discard { ids, promise } => {
                later(Ok(self.dead.discard(&ids).map_err(LedgerError::from)), promise, answers)
            }
            Order::StillDead { still, promise } => {
                later(Ok(self.dead.still_dead(&still).map_err(LedgerError::from)), promise, answers)
            }
            Order::Clients { clients, promise } => {
                later(self.put_clients(&clients), promise, answers)
            }
            Order::Pause { paused, promise } => later(self.pause(&paused), promise, answers),
            Order::Resume { handler, promise } => later(self.resume(&handler), promise, answers),
            Order::Expire { before_ms, promise } => {
                later(Ok(self.dead.expire(before_ms).map_err(LedgerError::from)), promise, answers)
            }
            Order::Backup { .. } | Order::Watch(_) | Order::Close => Ok(()),
        }
    }

    /// The history catches up.
    pub(super) fn catch_up(&mut self) -> Result<(), Fault> {
        let mut rows = self.transaction.open_table(schema::HISTORY)?;
        self.wrote |= self.history.write(&mut rows)?;
        Ok(())
    }

    /// Writes the dead letters, durably before the cursors that pass them (R4).
    pub(super) fn write_dead(&mut self) -> Result<(), Fault> {
        self.dead.clear_out();
        self.dead.still_dead(&self.still_dead)?;
        for (client, more) in &self.new_of_client {
            self.dead.evict(client, more.charge(), self.limits.max_bytes)?;
        }
        if !self.new_dead.is_empty() {
            self.dead.insert(&self.new_dead)?;
        }
        self.stale.retain(|key| !self.new_dead.contains_key(key));
        self.dead.remove_unsettled(&self.stale)
    }

    /// Writes counts down, when there is a commit anyway, or they are what it is for.
    pub(super) fn count(&mut self, counts: &[(Count, u64)], alone: bool) -> Result<(), Fault> {
        if counts.is_empty() || !self.has_room || !(self.wrote || alone) {
            return Ok(());
        }
        let mut table = self.transaction.open_table(schema::COUNTS)?;
        for (count, value) in counts {
            table.insert(count.name(), value)?;
            self.wrote = true;
        }
        Ok(())
    }

    /// Writes down what there is of dead letters now, and which commit this is; closes the tables.
    pub(super) fn finish(mut self) -> Result<Written, Fault> {
        let report = self.dead.report();
        for (segment, held) in report.segments {
            let mut segments = self.transaction.open_table(schema::DEAD_SEGMENTS)?;
            match held {
                Some(held) => segments.insert(segment, held)?,
                None => segments.remove(segment)?,
            };
            self.wrote = true;
        }
        for (how, count) in &report.gone {
            let mut gone = self.transaction.open_table(schema::DEAD_GONE)?;
            let before = gone.get(how)?.map(|row| row.value());
            gone.insert(how, before.unwrap_or(0).saturating_add(*count))?;
            self.wrote = true;
        }
        for key in &report.out {
            let mut replayed = self.transaction.open_table(schema::REPLAYED)?;
            self.wrote |= replayed.remove(key)?.is_some();
        }
        if self.wrote {
            let mut meta = self.transaction.open_table(schema::META)?;
            meta.insert(schema::META_COMMITS, self.commit.to_le_bytes().as_slice())?;
        }
        let settled = self.new_dead.into_keys().chain(self.passed).collect();
        Ok(Written { wrote: self.wrote, settled, gone: report.gone, out: report.out })
    }

    /// A row for each file of each handler: few, so that nobody needs a way to ask for some.
    fn all_files(&self) -> Result<Vec<(FileId, FileState)>, Fault> {
        let table = self.transaction.open_table(schema::FILES)?;
        let mut files = Vec::new();
        for row in ReadableTable::range::<(u64, u64)>(&table, ..)? {
            let (key, row) = row?;
            let (device, inode) = key.value();
            let row = schema::decode("a file's row", row.value())?;
            let FileRow { path, length, generation, check, began_ms, rotating } = row;
            let replaces = Vec::new();
            let state = FileState { path, length, generation, check, began_ms, rotating, replaces };
            files.push((FileId { device, inode }, state));
        }
        Ok(files)
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
pub(super) fn failed(order: Order, fault: &Fault) -> Answer {
    let mut answers = Vec::new();
    let fault = fault.clone();
    let _ = match order {
        Order::Admit { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Cursor { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Record { promise, .. }
        | Order::Tried { promise, .. }
        | Order::Retire { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Files { promise } => later(Err(fault), promise, &mut answers),
        Order::Trace { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::ListLetters { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Letter { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Discard { promise, .. } | Order::StillDead { promise, .. } => {
            later(Err(fault), promise, &mut answers)
        }
        Order::Resume { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Expire { promise, .. }
        | Order::Backup { promise, .. }
        | Order::Clients { promise, .. }
        | Order::Pause { promise, .. } => later(Err(fault), promise, &mut answers),
        Order::Watch(_) | Order::Close => Ok(()),
    };
    answers.pop().unwrap_or_else(|| Box::new(|_| {}))
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::DiskFull,
            Fault::Damaged(found) | Fault::Broken(found) => Self::Failed(found),
        }
    }
}

impl From<Fault> for RecordError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::DiskFull,
            Fault::Damaged(found) | Fault::Broken(found) => Self::Failed(found),
        }
    }
}
