//! The thread "ledger": takes everything that waits into one transaction, and answers when it is
//! durable.
//!
//! | file | does |
//! |---|---|
//! | `order.rs` | what it is told |
//! | `sheet.rs` | one transaction's tables and answers |
//! | `fence.rs`, `cursor.rs`, `record.rs`, `retire.rs` | what orders write there |
//! | `dead/` | the dead letters, in files of their own |
//! | `heal.rs` | goes on after a failure |
//! | `room.rs` | stops before the disk is full |
//! | `backup.rs` | copies it |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::Database;

use super::census::Census;
use super::dead::DeadLetters;
use super::facts::{LedgerStatus, Watch};
use super::heal::Condition;
use super::history::History;
use super::letters::{DeadLetterLimits, DeadLettersOf};
use super::order::Order;
use super::room::Room;
use super::sheet::{self, Answer, Sheet, Written};
use crate::counts::{Count, Counts, Rides};
use crate::database::{FirstPage, Outline};
use crate::disk::{DirLock, Disk};
use crate::fault::Fault;

/// Orders that one transaction takes: enough for full speed.
const ORDERS_MAX: usize = 4096;

/// Bytes of dead letters that one transaction takes.
const DEAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the thread owns.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    /// Nothing while the file is distrusted.
    pub(super) db: Option<Database>,
    pub(super) outline: Arc<Outline>,
    /// The file's first page as the last commit wrote it.
    pub(super) first: FirstPage,
    /// How many commits there were.
    pub(super) commits: u64,
    pub(super) dead: DeadLetters,
    pub(super) history: History,
    pub(super) census: Census,
    pub(super) limits: DeadLetterLimits,
    pub(super) gone: BTreeMap<String, u64>,
    pub(super) status: Arc<Mutex<LedgerStatus>>,
    /// Why nothing can be recorded, until it is healed.
    pub(super) failed: Option<Fault>,
    pub(super) retry_after: Duration,
    pub(super) retry_at: Instant,
    pub(super) room: Room,
    pub(super) has_room: bool,
    pub(super) watch: Option<Watch>,
    pub(super) told: Condition,
    pub(super) notes: Vec<String>,
    pub(super) backups: Vec<JoinHandle<()>>,
    /// What is counted here, and when that was last written.
    pub(super) counts: Counts,
    pub(super) rides: Rides,
    pub(super) lock: DirLock,
}

/// A transaction failed.
struct Failure {
    fault: Fault,
    /// Whether it was in the ledger's own file.
    ledger: bool,
}

impl Writer {
    /// Works until it is told to close, or nobody holds a handle any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> Result<(), String> {
        let mut open = true;
        while open {
            let order = match orders.recv_timeout(self.patience()) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => {
                    self.tick();
                    self.tell();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (mut taken, mut dead_bytes) = (Vec::new(), 0);
            let mut next = Some(order);
            while let Some(order) = next.take() {
                dead_bytes += order.dead_bytes();
                match order {
                    Order::Close => {
                        open = false;
                        break;
                    }
                    Order::Watch(watch) => self.watch = Some(watch),
                    Order::Backup { path, promise } => self.back_up(path, promise),
                    order => taken.push(order),
                }
                if taken.len() < ORDERS_MAX && dead_bytes < DEAD_BYTES_MAX {
                    next = orders.try_recv().ok();
                }
            }
            if !taken.is_empty() {
                self.work(taken);
            }
            self.tell();
        }
        self.close()
    }

    /// One transaction, and the answers.
    pub(super) fn work(&mut self, orders: Vec<Order>) {
        self.heal_if_due();
        self.look_for_room();
        let mut answers = Vec::with_capacity(orders.len());
        let mut orders = orders.into_iter();
        let outcome = match self.failed.clone() {
            Some(fault) => Err(fault),
            None => match self.transact(&mut orders, &mut answers) {
                Ok(()) => Ok(()),
                Err(Failure { fault, ledger }) => {
                    self.dead.stay();
                    self.fail(fault.clone(), ledger);
                    Err(fault)
                }
            },
        };
        if let Err(fault) = &outcome {
            // What was not looked at fails with the others.
            answers.extend(orders.map(|order| sheet::failed(order, fault)));
        } else if self.dead.failed() {
            let fault = Fault::damaged("a write to the dead letters", "that it failed");
            self.fail(fault, false);
        }
        self.publish_status();
        for answer in answers {
            answer(&outcome);
        }
        self.heal_if_due();
    }

    fn transact(
        &mut self,
        orders: &mut std::vec::IntoIter<Order>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Failure> {
        let in_ledger = |fault| Failure { fault, ledger: true };
        let Some(db) = &self.db else {
            return Err(in_ledger(Fault::damaged("an open ledger", "a failed one")));
        };
        let transaction = db.begin_write().map_err(|error| in_ledger(error.into()))?;
        let all = self.rides.are_due();
        let counts = if all { self.counts.changes() } else { Vec::new() };
        let Written { wrote, settled, gone, out } = {
            let (dead, commit) = (&mut self.dead, self.commits + 1);
            let memory = (&mut self.history, &mut self.census);
            let sheet = Sheet::open(&transaction, dead, memory, self.limits, self.has_room, commit);
            let mut sheet = sheet.map_err(in_ledger)?;
            let alone = orders.len() == 0;
            if alone {
                sheet.catch_up().map_err(in_ledger)?;
            }
            for order in orders {
                sheet.take(order, answers).map_err(in_ledger)?;
            }
            sheet.write_dead().map_err(|fault| Failure { fault, ledger: false })?;
            sheet.count(&counts, alone).map_err(in_ledger)?;
            sheet.finish().map_err(in_ledger)?
        };
        if wrote {
            transaction.commit().map_err(|error| in_ledger(error.into()))?;
            self.commits += 1;
            self.first = self.outline.first_page();
            self.counted(counts, all);
        }
        self.dead.settle(settled);
        if wrote {
            self.dead.reported(&out);
            add(&mut self.gone, gone);
        }
        self.dead.leave();
        Ok(())
    }

    /// Nobody wants anything: the history catches up, and so do counts that have waited for a commit.
    pub(super) fn catch_up(&mut self) {
        let counts = self.rides.are_overdue() && self.counts.are_behind();
        if self.failed.is_none() && self.has_room && (self.history.is_behind() || counts) {
            self.work(Vec::new());
        }
    }

    /// The commit with these counts is durable; whether they are all that were behind.
    fn counted(&mut self, counts: Vec<(Count, u64)>, all: bool) {
        if all {
            self.rides.done();
        }
        for (count, value) in counts {
            count.keep(value);
        }
    }

    /// The bytes of the ledger's own file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.outline.bytes()
    }

    /// Tells everybody how the ledger is.
    pub(super) fn publish_status(&mut self) {
        let all = self.dead.all();
        let disk_full = self.condition() == Condition::DiskFull;
        let failed = self.failed.as_ref().map(ToString::to_string);
        let failed = failed.or_else(|| disk_full.then(|| Fault::Full.to_string()));
        let file_bytes = self.file_bytes() + self.dead.file_bytes();
        let changed = self.dead.take_changed();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.failed, status.disk_full, status.file_bytes) = (failed, disk_full, file_bytes);
        (status.dead_letters, status.dead_letters_bytes) = (all.count, all.bytes);
        if changed {
            let of = self.dead.by_handler().map(|(handler, tally)| DeadLettersOf {
                handler: handler.to_owned(),
                count: tally.count,
                bytes: tally.bytes,
            });
            status.dead_letters_of = of.collect();
            status.dead_letters_gone.clone_from(&self.gone);
            // Those that the ledger has yet to write down are gone all the same.
            add(&mut status.dead_letters_gone, self.dead.report().gone);
        }
    }

    fn close(mut self) -> Result<(), String> {
        self.rides = Rides::new();
        self.catch_up();
        for backup in self.backups.drain(..) {
            // One that panicked has left a file under a temporary name, and its promise is kept.
            let _ = backup.join();
        }
        let closed = self.db.take().map_or(Ok(()), Database::close);
        let closed = closed.map_err(|error| format!("ledger.redb: {error}"));
        let dead = self.dead.close().map_err(|error| format!("dead letters: {error}"));
        drop(self.lock);
        match self.failed {
            Some(fault) => Err(fault.to_string()),
            None => closed.and(dead),
        }
    }
}

fn add(to: &mut BTreeMap<String, u64>, gone: Vec<(&'static str, u64)>) {
    for (how, count) in gone {
        *to.entry(how.to_owned()).or_default() += count;
    }
}
