//! The thread "spool": the only one that writes to a spool.
//!
//! It takes everything that waits, commits once, then keeps every promise in order; while a commit
//! runs, the next batch gathers. Nothing sleeps to gather more.
//!
//! | file | does |
//! |---|---|
//! | `parcel.rs` | takes what sources hand over |
//! | `stage.rs` | numbers and cuts it |
//! | `commit.rs` | writes them, with the drops that wait, in one transaction |
//! | `expire.rs` | looks for packets that have outlived their time |
//! | `retire.rs` | ends lanes that have been idle for long, and forgets them |
//! | `counted.rs` | keeps what is counted |
//! | `bury.rs` | puts tombstones in place of packets that will never come |
//! | `doom.rs`, `resend.rs` | make dead letters of packets, and packets of dead letters |
//! | `full.rs` | whose share is used up, who waits, and what makes way |
//! | `room.rs` | how much more the files take |
//! | `refused.rs` | remembers that there was no room, until there is |
//! | `damage.rs` | declares what the reader cannot read |
//! | `condemn.rs` | moves out of a segment that is not trusted any more |
//! | `rotate.rs` | begins the next segment |
//! | `release.rs` | gives files back |
//! | `fail.rs` | goes on after a write that failed |
//!
//! The lane table in memory is as of the last commit, always: a commit works on copies of the rows
//! that it touches, and puts them in place when it is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use paquebot_protocol::{Lane, LedgerId, Millis, Number, Origin};

use super::bury::Burial;
use super::catalog::Piece;
use super::condemn::Condemned;
use super::damage::Damage;
use super::expire::Swept;
use super::facts::Identity;
use super::full::{Parked, PoliciesKnown};
use super::keys::Keys;
use super::lanes::{LaneEntry, Lanes};
use super::letters::Doomed;
use super::parcel::Parcel;
use super::read::{Ask, Reader};
use super::refused::Refused;
use super::release::Moved;
use super::resend::OfLetters;
use super::room::SpoolRoom;
use super::segment::{Active, Paths};
use super::shared::Shared;
use super::stage::Stage;
use super::{OnCommit, SpoolOptions, size};
use crate::clock;
use crate::counts::Rides;
use crate::disk::{DirLock, Disk};
use crate::error::AppendError;
use crate::fault::Fault;
use crate::reply::{Promise, Reply};
use crate::schema::SpoolRow;

/// The records that one commit takes: enough for full speed, and little to lose when it fails.
const COMMIT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the thread is told.
pub(super) enum Order {
    /// Store packets.
    Store(Parcel),
    /// Somebody waits for room no longer.
    Hurry,
    /// Let go of packets.
    Drop { lane: Lane, waived: Waived },
    /// Declare packets gone.
    Bury(Burial),
    /// Make dead letters of packets.
    Doom(Doomed),
    /// Do something with the dead letters at these places.
    Letters(Vec<Number>, OfLetters),
    /// Look for packets of a lane, from one on, that have outlived their time.
    Expire { lane: Lane, from: Number },
    /// What the reader found.
    Swept(Swept),
    /// Packets that cannot be read, and what is to be asked again once they are declared.
    Damaged(Damage, Option<Ask>),
    /// The server has heard that these lanes are retired.
    Forget(Vec<Lane>),
    /// Take a new id.
    Rekey(Promise<Identity, AppendError>),
    /// The packets are sent to this ledger from here on.
    Ledger(LedgerId, Promise<Identity, AppendError>),
    /// How much room is there?
    Measure(Reply<SpoolRoom>),
    /// Commit what waits, and end.
    Close,
}

/// Packets that may go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waived {
    pub(super) through: Number,
    pub(super) dead_lettered: u64,
    /// How many numbers of the lane the ledger has skipped by now.
    pub(super) skipped: u64,
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) options: SpoolOptions,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) paths: Paths,
    pub(super) shared: Arc<Shared>,
    pub(super) on_commit: OnCommit,
    pub(super) identity: Identity,
    pub(super) next_lane: u64,
    pub(super) lanes: Lanes,
    pub(super) keys: Keys,
    pub(super) pending_packets: u64,
    pub(super) pending_bytes: u64,
    pub(super) active: Active,
    /// Never used twice, not even for a segment that was not made.
    pub(super) next_segment: u64,
    pub(super) stage: Stage,
    pub(super) drops: BTreeMap<Lane, Waived>,
    pub(super) drops_since: Option<Instant>,
    /// Lanes that have ended and are forgotten with the next commit.
    pub(super) forgetting: BTreeSet<Lane>,
    /// When lanes were looked at that may have been idle for long.
    pub(super) looked_for_idle: Instant,
    /// Packets that wait for room.
    pub(super) parked: Parked,
    pub(super) policies: PoliciesKnown,
    /// What there was no room for.
    pub(super) refused: Option<Refused>,
    /// How many bytes are usually handed over at once for a target.
    pub(super) usual_bytes: u64,
    /// Looks things up in this thread.
    pub(super) looking: Reader,
    /// Packets to be declared gone with the next commit.
    pub(super) burials: Vec<Burial>,
    /// Lanes by when a packet at their head may outlive its time.
    pub(super) aging: BTreeSet<(Millis, Lane)>,
    /// Lanes that the reader is looking through.
    pub(super) sweeping: BTreeSet<Lane>,
    /// What the clock showed when that was last written down.
    pub(super) clock_kept: Millis,
    /// Runs on their way from an old segment into the active one.
    pub(super) moved: Option<Moved>,
    /// The segment whose runs the reader is loading.
    pub(super) moving: Option<u64>,
    /// Segments whose runs cannot be read.
    pub(super) immovable: Vec<u64>,
    /// Segments that are not trusted any more, and whether that is not written down yet.
    pub(super) condemned: Condemned,
    pub(super) condemned_anew: bool,
    /// When counts were last written.
    pub(super) rides: Rides,
    /// What is to be said with the next commit.
    pub(super) notes: Vec<String>,
    /// Why the active segment must not be written to any more.
    pub(super) failed: Option<Fault>,
    pub(super) ticked: Instant,
    pub(super) reader: Sender<Ask>,
    pub(super) reading: Option<JoinHandle<()>>,
    pub(super) lock: DirLock,
}

impl Writer {
    /// Works until it is told to close, or nobody holds a handle any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> Result<(), String> {
        loop {
            let order = match self.wait(orders) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            };
            let mut open = order.is_none_or(|order| self.take(order));
            while open && self.stage.bytes < COMMIT_BYTES_MAX {
                let Ok(order) = orders.try_recv() else { break };
                open = self.take(order);
            }
            let idle = self.drops_due().is_some_and(|due| clock::now() >= due);
            let urgent = self.moved.is_some() || !self.burials.is_empty();
            let urgent = urgent || self.counts_are_overdue();
            if !self.stage.is_empty() || urgent || idle {
                self.commit();
                if !self.parked.is_empty() {
                    self.unpark();
                }
            }
            if !open {
                return self.close();
            }
            if self.ticked.elapsed() >= self.options.tidy_every && self.ticks() {
                self.tick();
            }
            if !self.aging.is_empty() {
                self.sweep();
            }
            self.retire_idle();
        }
    }

    fn wait(&self, orders: &Receiver<Order>) -> Result<Order, RecvTimeoutError> {
        let tick = self.ticked.checked_add(self.options.tidy_every).filter(|_| self.ticks());
        let age = |(at, _): &(Millis, Lane)| Duration::from(at.since(self.shared.now()));
        let aged = self.aging.first().and_then(|first| clock::now().checked_add(age(first)));
        // Packets that waited for room may have found it meanwhile.
        let waits = !self.stage.is_empty() || !self.burials.is_empty();
        let at_once = waits.then(clock::now);
        let due = [tick, self.drops_due(), aged, self.idle_due(), at_once];
        let due = due.into_iter().flatten().min();
        match due {
            Some(due) => orders.recv_timeout(due.saturating_duration_since(clock::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// When drops are committed by themselves.
    fn drops_due(&self) -> Option<Instant> {
        let since = self.drops_since.filter(|_| self.failed.is_none());
        since?.checked_add(self.options.drop_after)
    }

    /// Takes an order; whether it goes on after it.
    fn take(&mut self, order: Order) -> bool {
        match order {
            Order::Store(parcel) => self.take_parcel(parcel),
            Order::Hurry => self.hurry(),
            Order::Drop { lane, waived } => self.waive(lane, waived),
            Order::Bury(burial) => self.bury(burial),
            Order::Doom(doomed) => self.doom(doomed),
            Order::Letters(places, of) => self.of_letters(&places, of),
            Order::Expire { lane, from } => self.look_through(lane, from, self.shared.now()),
            Order::Swept(swept) => self.swept(swept),
            Order::Damaged(damage, ask) => self.damaged(damage, ask),
            Order::Forget(lanes) => self.forget_heard(lanes),
            Order::Rekey(promise) => self.rekey(promise),
            Order::Ledger(ledger, promise) => self.remember(ledger, promise),
            Order::Measure(reply) => reply(self.measure()),
            Order::Close => return false,
        }
        true
    }

    /// Puts a drop aside for the next commit.
    pub(super) fn waive(&mut self, lane: Lane, more: Waived) {
        // At the acknowledged number it only says where the ledger's count begins.
        let news = |entry: &LaneEntry| {
            more.through > entry.acked
                || (more.through == entry.acked && more.skipped != entry.skipped)
        };
        if !self.lanes.get(lane).is_some_and(news) {
            return;
        }
        let waived = self.drops.entry(lane).or_default();
        waived.through = waived.through.max(more.through);
        waived.dead_lettered = waived.dead_lettered.saturating_add(more.dead_lettered);
        waived.skipped = more.skipped;
        self.drops_since.get_or_insert_with(clock::now);
    }

    /// Where and when the next packets are born.
    pub(super) fn origin(&self) -> Origin {
        Origin { spool: self.identity.spool, nonce: self.identity.nonce }
    }

    /// The spool's row, for the segment `segment`.
    pub(super) fn spool_row(&self, segment: u64) -> SpoolRow {
        let Identity { spool, replaces, opened, nonce, ledger } = self.identity;
        SpoolRow { spool, replaces, opened, nonce, next_lane: self.next_lane, segment, ledger }
    }

    /// The bytes of the spool's files.
    pub(super) fn file_bytes(&self) -> u64 {
        // A segment that failed is among the sealed ones.
        let active = if self.failed.is_none() { self.active.len() } else { 0 };
        active + self.shared.files().catalog.file_bytes()
    }

    /// Tells everybody how the spool is.
    pub(super) fn publish_status(&self) {
        // Locked before the files are looked at, as the reader does when it has closed one.
        let mut status = self.shared.status();
        let sealed = self.shared.files().catalog.len();
        status.identity = Some(self.identity);
        status.file_bytes = self.file_bytes();
        status.max_bytes = self.options.max_bytes;
        status.segments = sealed + usize::from(self.failed.is_none());
        status.condemned = self.condemned.len();
        status.lanes = self.lanes.len();
        status.retired = self.lanes.retired();
        status.pending_packets = self.pending_packets;
        status.pending_bytes = self.pending_bytes;
        let letters = self.letters();
        status.dead_letters = letters.as_ref().map_or(0, |letters| letters.pending_packets);
        status.dead_letters_bytes = letters.map_or(0, |letters| letters.pending_bytes);
        status.failed = self.failed.as_ref().map(ToString::to_string);
        status.full = self.refused.as_ref().map(Refused::told);
    }

    /// The pieces of every lane in the active segment.
    pub(super) fn active_pieces(&self) -> impl Iterator<Item = (Lane, Piece)> {
        self.lanes
            .iter()
            .flat_map(|(lane, entry)| entry.active.iter().map(move |piece| (lane, *piece)))
    }

    /// How much of a file the lane table, the manifest and what sources remember take.
    pub(super) fn tables_bytes(&self) -> u64 {
        let lanes: u64 =
            self.lanes.iter().map(|(_, entry)| 192 + 2 * entry.target.as_str().len() as u64).sum();
        let pieces = self.shared.files().catalog.pieces().count() + self.active_pieces().count();
        let gone: usize = self.lanes.iter().map(|(_, entry)| entry.gone.len()).sum();
        let sources = self.shared.positions().bytes() + self.keys.bytes();
        size::SEGMENT_BASE_BYTES + lanes + 96 * (pieces + gone) as u64 + sources
    }

    fn close(mut self) -> Result<(), String> {
        self.parked.close();
        self.rides = Rides::new();
        let counts = self.failed.is_none() && self.shared.counts.are_behind();
        if !self.stage.is_empty() || self.frees() || !self.burials.is_empty() || counts {
            self.commit();
        }
        let _ = self.reader.send(Ask::End);
        if let Some(reading) = self.reading.take() {
            reading.join().map_err(|_| "the reader's thread panicked".to_owned())?;
        }
        self.shared.files().active = None;
        if let Some(fault) = self.failed {
            return Err(fault.to_string());
        }
        let path = self.paths.segment(self.active.number);
        let Some(db) = Arc::into_inner(self.active.db) else {
            return Err(format!("{}: expected to close it, found it in use", path.display()));
        };
        db.close().map_err(|error| format!("{}: {error}", path.display()))?;
        drop(self.lock);
        Ok(())
    }
}

impl From<Fault> for AppendError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::DiskFull,
            Fault::Damaged(found) | Fault::Broken(found) => Self::Failed(found),
        }
    }
}
