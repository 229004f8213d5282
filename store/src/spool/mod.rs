//! The spool: a client's packets, from "stored" until they are acknowledged (R1, R2, R3).
//!
//! It is a directory of segments, each a redb file of bounded size. The **active** one takes
//! appends, and holds the lane table and a manifest of all others. A **sealed** one is never written
//! to again, and goes as a whole when its last packet is acknowledged: redb gives no space back to
//! the system while a file holds something, and a large file that was not closed takes seconds to
//! open.
//!
//! ```text
//! <dir>/lock                   held while the spool is open
//! <dir>/spool/00000007.seg     sealed
//! <dir>/spool/00000008.seg     the active one: the highest number
//! <dir>/spool/newest           names the newest one, so that its loss is seen (R7)
//! <dir>/spool/client           names the client that it was made for
//! <dir>/quarantine/            damaged bytes (R10)
//! ```
//!
//! Two threads: "spool" writes (`writer.rs`), "spool-read" reads (`read.rs`).
//!
//! What it never does: send a packet, decide that one may go, or wait for somebody.

mod age;
mod begin;
mod bury;
mod catalog;
mod commit;
mod condemn;
mod counted;
mod damage;
mod doom;
mod envelope;
mod expire;
mod facts;
mod fail;
mod full;
mod identity;
mod keys;
mod lanes;
mod letters;
mod made_for;
mod mark;
mod newest;
mod open;
mod parcel;
mod patience;
mod positions;
mod quarantine;
mod read;
mod refused;
mod release;
mod resend;
mod retire;
mod room;
mod rotate;
mod salvage;
mod scan;
mod sealed;
mod segment;
mod shared;
mod size;
mod stage;
mod tables;
mod tombstone;
mod view;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, SendError, Sender, SyncSender};
use std::time::Duration;

use paquebot_protocol::{Batch, ClientId, Held, Lane, LedgerId, Millis, Number, TargetId};

pub use age::Reading;
pub use full::{LanePolicy, Policies, WhenFull};
pub use letters::{Resent, SpoolLetter, SpoolLetters};
pub(crate) use parcel::POSITION_BYTES_MAX;
pub use parcel::{Key, Parcel, Part, Position};
pub use patience::Patience;

use bury::Burial;
pub use facts::{
    Committed, Identity, LaneState, LaneTotals, Opened, Quarantine, RetiredTotals, SpoolStatus,
    Stored, StoredRun, Stretch, Tombstone,
};
use read::{Ask, Reader};
pub use refused::{FullOf, SpoolFull};
pub use room::SpoolRoom;
use sealed::SealedSegments;
use shared::Shared;
use writer::{Order, Waived};

use crate::clock;
use crate::counts::Counts;
use crate::disk::Disk;
use crate::error::{AppendError, OpenError, ReadError};
use crate::reply::{Promise, Reply};
use crate::thread::{self, Thread};

/// Orders that may wait: far more than permits allow, so that nobody ever waits for room here.
const ORDERS_MAX: usize = 65_536;

/// A target that is used every week keeps its lane.
const RETIRE_AFTER: Duration = Duration::from_hours(7 * 24);

/// Hears of every commit that appended, buried, ended or forgot lanes, or follows a find of damage,
/// after its fsync and its replies.
pub type OnCommit = Box<dyn FnMut(Committed) + Send>;

/// What a spool is opened with.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Its directory, made if absent.
    pub dir: PathBuf,
    /// How many bytes its files may have.
    pub max_bytes: u64,
    /// How many lanes it may have.
    pub lanes_max: usize,
    /// For how long a lane must be empty and have had no packet to be retired (R6).
    pub retire_after: Duration,
    /// About how large a segment becomes before the next one is begun.
    pub segment_bytes: u64,
    /// For how long acknowledgements may wait for a commit to ride on.
    pub drop_after: Duration,
    /// How often the files are looked after while there may be space to give back.
    pub tidy_every: Duration,
    /// What the system says of time, by which packets grow old.
    pub clock: SystemClock,
    /// How packets to a target are kept.
    pub policies: Policies,
    /// Whom a spool is made for that does not say so yet.
    pub client: Option<ClientId>,
}

/// Asks the system for the time: a test puts its own in place.
#[derive(Clone)]
pub struct SystemClock(pub Arc<dyn Fn() -> Reading + Send + Sync>);

impl std::fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemClock")
    }
}

impl SpoolOptions {
    /// Options with segments sized after the quota.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, max_bytes: u64, lanes_max: usize) -> Self {
        // Some sixteen of them, small enough to open fast; a small quota needs small ones, because
        // a file that is about to double counts twice.
        let segment_bytes = (max_bytes / 16).clamp(4 << 20, 64 << 20);
        let segment_bytes = segment_bytes.min(max_bytes / 8).max(512 << 10);
        Self {
            dir: dir.into(),
            max_bytes,
            lanes_max,
            retire_after: RETIRE_AFTER,
            segment_bytes,
            drop_after: Duration::from_millis(50),
            tidy_every: Duration::from_millis(500),
            clock: SystemClock(Arc::new(clock::reading)),
            policies: Policies::default(),
            client: None,
        }
    }
}

/// Packets to be stored.
pub struct Append {
    /// Whom they are addressed to.
    pub target: TargetId,
    /// The packets.
    pub batch: Batch,
    /// Called when they are durable, or when they will not be.
    pub reply: Reply<Result<Stored, AppendError>>,
}

/// A handle to a spool: cheap to clone.
///
/// [`Spool::close`] ends its threads; without it they end, as cleanly, some time after the last
/// handle is dropped.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    orders: Arc<SyncSender<Order>>,
    asks: Sender<Ask>,
    thread: Thread,
}

impl Spool {
    /// Opens the spool in `options.dir`, or makes it. `on_commit` hears of every commit that
    /// stored packets, on the store's thread, when it is durable and everybody was answered.
    ///
    /// # Errors
    /// When it cannot be opened; nothing is destroyed then.
    pub fn open(
        options: SpoolOptions,
        disk: Arc<dyn Disk>,
        on_commit: OnCommit,
    ) -> Result<(Self, Opened), OpenError> {
        let (asks, asked) = mpsc::channel();
        let (orders, ordered) = mpsc::sync_channel(ORDERS_MAX);
        let (mut writer, opened) = open::open(options, Arc::clone(&disk), on_commit, asks.clone())?;
        let (shared, orders) = (Arc::clone(&writer.shared), Arc::new(orders));
        let sealed = SealedSegments::new(disk, writer.paths.clone());
        let reader = Reader::new(Arc::clone(&shared), Arc::downgrade(&orders), sealed);
        writer.reading = Some(thread::start("spool-read", move || reader.run(&asked))?);
        let thread = Thread::start("spool", move || writer.run(&ordered))?;
        Ok((Self { shared, orders, asks, thread }, opened))
    }

    /// Stores packets. Waits only when more orders are queued than the callers' permits allow for.
    pub fn append(&self, append: Append) {
        let Append { target, batch, reply } = append;
        let reply = Box::new(move |stored: Result<Vec<Stored>, AppendError>| {
            reply(stored.and_then(|all| all.first().copied().ok_or(AppendError::Closed)));
        });
        let parts = vec![Part { target, batch, key: None }];
        let (positions, patience, count) = (Vec::new(), None, None);
        self.store(Parcel { parts, positions, patience, count, reply });
    }

    /// Stores what a source hands over, in one commit: all of it, or nothing.
    pub fn store(&self, parcel: Parcel) {
        if let Err(SendError(Order::Store(parcel))) = self.orders.send(Order::Store(parcel)) {
            (parcel.reply)(Err(AppendError::Closed));
        }
    }

    /// Looks at what waits for room: whose [`Patience`] has run out is answered now.
    pub fn hurry(&self) {
        // A closed spool has answered everybody.
        let _ = self.orders.send(Order::Hurry);
    }

    /// The places of a source, each with how far it has come there, as of the last commit.
    #[must_use]
    pub fn positions(&self, source: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.shared.positions().of(source)
    }

    /// Lets go of everything in `lane` up to `through`, of which `dead_lettered` packets became
    /// dead letters. `skipped` is how many numbers the ledger has passed by skips in this lane.
    /// Lazy: it rides on the next commit, or waits for `drop_after`; when it is lost in a crash,
    /// the packets are sent again.
    pub fn drop_through(&self, lane: Lane, through: Number, dead_lettered: u64, skipped: u64) {
        let waived = Waived { through, dead_lettered, skipped };
        // A closed spool forgets it, as a crash would.
        let _ = self.orders.send(Order::Drop { lane, waived });
    }

    /// Forgets lanes that have ended: the server has heard that they are retired (R6). Lazy, as a drop
    /// is; when it is lost in a crash, the lanes are among those of the next opening.
    pub fn forget(&self, lanes: Vec<Lane>) {
        // A closed spool forgets it, as a crash would.
        let _ = self.orders.send(Order::Forget(lanes));
    }

    /// Declares packets of `lane` gone, durably, and tells how many: a tombstone that overlaps what
    /// is acknowledged is cut, one that overlaps another changes nothing.
    pub fn bury(
        &self,
        lane: Lane,
        tombstones: Vec<Tombstone>,
        reply: Reply<Result<u64, AppendError>>,
    ) {
        let promise = Promise::new(reply);
        let _ = self.orders.send(Order::Bury(Burial { lane, tombstones, promise }));
    }

    /// Reads runs and tombstones of `lane`, in order and verified, from the one with `from` on, or
    /// from the first that is still held: about `bytes_max` of them, and at least one if any is
    /// pending. The first may begin before `from`.
    pub fn read(
        &self,
        lane: Lane,
        from: Number,
        bytes_max: usize,
        reply: Reply<Result<Vec<Stretch>, ReadError>>,
    ) {
        // When nobody takes it, it is dropped, and its promise says that the spool is closed.
        let _ = self.asks.send(Ask::Read { lane, from, bytes_max, promise: Promise::new(reply) });
    }

    /// What the spool's clock shows, by which its packets grow old.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.shared.now()
    }

    /// Has packets of `lane`, from one on, declared expired if their time is over; a commit tells.
    pub fn expire(&self, lane: Lane, from: Number) {
        let _ = self.orders.send(Order::Expire { lane, from });
    }

    /// What this spool holds of the chain of `lane` at `number` (R7).
    pub fn chain_at(&self, lane: Lane, number: Number, reply: Reply<Result<Held, ReadError>>) {
        let _ = self.asks.send(Ask::ChainAt { lane, number, promise: Promise::new(reply) });
    }

    /// How much room there is, in the writer's own words.
    pub fn measure(&self, reply: Reply<SpoolRoom>) {
        let _ = self.orders.send(Order::Measure(reply));
    }

    /// Since when the first pending packet of each of these lanes is here, by the spool's clock, and up
    /// to which number that is so. Lanes that hold none, or cannot be read, are left out.
    pub fn oldest(&self, lanes: Vec<Lane>, reply: Reply<Vec<(Lane, Number, Millis)>>) {
        let _ = self.asks.send(Ask::Oldest { lanes, reply });
    }

    /// Takes a new random id that names the one it replaces (R7). Numbers and chains stay, and
    /// packets keep the id that they were born with.
    pub fn rekey(&self, reply: Reply<Result<Identity, AppendError>>) {
        let _ = self.orders.send(Order::Rekey(Promise::new(reply)));
    }

    /// Remembers the ledger that packets are sent to, over restarts (R7).
    pub fn remember(&self, ledger: LedgerId, reply: Reply<Result<Identity, AppendError>>) {
        let _ = self.orders.send(Order::Ledger(ledger, Promise::new(reply)));
    }

    /// Every lane that holds packets, as of the last commit, in order.
    #[must_use]
    pub fn backlog(&self) -> Vec<LaneState> {
        let lanes = self.shared.lanes();
        let holding = lanes.values().filter(|known| known.state.pending_packets > 0);
        holding.map(|known| known.state.clone()).collect()
    }

    /// How the spool is, as of the last commit.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        self.shared.status().clone()
    }

    /// What is counted here and goes on over restarts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.clone()
    }

    /// Every lane that is sent, as of the last commit, in order.
    #[must_use]
    pub fn lane_states(&self) -> Vec<LaneState> {
        self.shared.lane_states()
    }

    /// Commits what waits, answers it, and ends the threads. What is asked afterwards is answered
    /// with "closed". Calling it again does nothing.
    ///
    /// # Errors
    /// When the spool had failed, or its file could not be closed.
    pub fn close(&self) -> Result<(), String> {
        self.thread.end(|| drop(self.orders.send(Order::Close)))
    }
}
