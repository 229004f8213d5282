//! Rigs: a spool and a ledger on a disk in memory, with verbs. Waits are for answers, never for
//! time.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "every test uses a part of the rig")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a rig that panics fails its test"
)]

pub mod crash_disk;
pub mod ledger_rig;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{
    Batch, Chain, ClientId, Held, Lane, LaneKey, Number, Packet, Run, SpoolId, TargetId,
};
use paquebot_store::{
    Admitted, Append, AppendError, Committed, CursorAt, DeadLetter, DeadLetterFilter,
    DeadLetterLimits, DeadLetterPage, Fence, Identity, LaneState, Ledger, LedgerError,
    LedgerOpened, LedgerOptions, Mark, OpenError, Opened, ReadError, Record, RecordError, Reply,
    Spool, SpoolOptions, Stored, Stretch, Tombstone,
};

pub use crash_disk::*;
pub use ledger_rig::*;

/// Longer than any answer takes, even here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks something of a store, and waits for the answer.
pub fn ask<T: Send + 'static>(question: impl FnOnce(Reply<T>)) -> T {
    let (answer, answered) = mpsc::channel();
    question(Box::new(move |found| drop(answer.send(found))));
    answered.recv_timeout(PATIENCE).expect("an answer")
}

/// Waits until `condition` holds.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("waited in vain until {what}");
}

pub fn target(name: &str) -> TargetId {
    name.parse().unwrap()
}

pub fn dir() -> PathBuf {
    PathBuf::from("/data/client")
}

/// A segment's path.
pub fn segment(number: u64) -> PathBuf {
    dir().join("spool").join(format!("{number:08}.seg"))
}

/// Options for a spool with small segments, in which drops ride on appends alone, and that looks
/// after its files at once.
pub fn options() -> SpoolOptions {
    let mut options = SpoolOptions::new(dir(), 1 << 30, 1_000);
    options.segment_bytes = 1 << 20;
    options.drop_after = Duration::from_secs(3600);
    options.tidy_every = Duration::from_millis(1);
    options
}

/// A batch of packets with this data each.
pub fn batch(data: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::default();
    for (at, data) in data.iter().enumerate() {
        batch.push(&Packet { created_ms: at as u64, data, ..Packet::default() });
    }
    batch
}

/// `count` packets of about `bytes` bytes, each telling its place after `from`.
pub fn data(from: u64, count: u64, bytes: usize) -> Vec<Vec<u8>> {
    let one = |number: u64| {
        let mut data = number.to_string().into_bytes();
        data.resize(bytes.max(data.len()), b'.');
        data
    };
    (from + 1..=from + count).map(one).collect()
}

/// Numbers of a lane, each with its data, or without when it is declared gone.
pub type Numbers = Vec<(u64, Option<Vec<u8>>)>;

/// A spool on a disk in memory.
pub struct SpoolRig {
    pub disk: CrashDisk,
    pub spool: Spool,
    pub opened: Opened,
    pub options: SpoolOptions,
    pub commits: Arc<Mutex<Vec<Committed>>>,
}

impl SpoolRig {
    pub fn new() -> Self {
        Self::open(CrashDisk::new(1), options()).unwrap()
    }

    pub fn open(disk: CrashDisk, options: SpoolOptions) -> Result<Self, OpenError> {
        let commits = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&commits);
        let on_commit = Box::new(move |committed| heard.lock().unwrap().push(committed));
        let (spool, opened) = Spool::open(options.clone(), Arc::new(disk.clone()), on_commit)?;
        Ok(Self { disk, spool, opened, options, commits })
    }

    /// Closes it and opens it again.
    pub fn reopen(self) -> Self {
        self.spool.close().unwrap();
        Self::open(self.disk, self.options).unwrap()
    }

    /// Cuts the power, and opens what is left.
    pub fn crash(self) -> Self {
        Self::open(self.disk.survivor(), self.options).unwrap()
    }

    pub fn append(&self, to: &str, data: &[Vec<u8>]) -> Result<Stored, AppendError> {
        let (target, batch) = (target(to), batch(data));
        ask(|reply| self.spool.append(Append { target, batch, reply }))
    }

    pub fn stretches(
        &self,
        lane: Lane,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<Stretch>, ReadError> {
        ask(|reply| self.spool.read(lane, Number(from), bytes_max, reply))
    }

    /// Runs of a lane without tombstones.
    pub fn read(&self, lane: Lane, from: u64, bytes_max: usize) -> Result<Vec<Run>, ReadError> {
        let stretches = self.stretches(lane, from, bytes_max)?.into_iter();
        let run = |stretch| match stretch {
            Stretch::Run { run, .. } => run,
            Stretch::Tombstone(tombstone) => panic!("expected a run, found {tombstone:?}"),
        };
        Ok(stretches.map(run).collect())
    }

    /// Every packet from `from` on: its number and data. The runs' chains must meet.
    pub fn packets(&self, lane: Lane, from: u64) -> Vec<(u64, Vec<u8>)> {
        let (mut packets, mut next, mut chain) = (Vec::new(), Number(from), None);
        loop {
            let runs = self.read(lane, next.0, 300_000);
            let runs = runs.unwrap_or_else(|error| {
                panic!("{error}: {:?}, {:?}", self.lane(lane), self.disk.names())
            });
            if runs.is_empty() {
                return packets;
            }
            for run in runs {
                if chain.is_some() && run.first() == next {
                    assert_eq!(chain, Some(run.head().chain), "the chain at {next} of {lane}");
                }
                chain = Some(run.verify().unwrap());
                for (number, record) in run.records().filter(|(number, _)| *number >= next) {
                    packets.push((number.0, Packet::decode(record).unwrap().data.to_vec()));
                }
                next = run.last().next();
            }
        }
    }

    /// Everything after `from`: each number with its data, or without when it is declared gone. The
    /// chains must meet.
    pub fn numbers(&self, lane: Lane, from: u64) -> Numbers {
        let (mut numbers, mut next, mut chain) = (Vec::new(), Number(from), None);
        loop {
            let stretches = self.stretches(lane, next.0, 300_000).unwrap();
            if stretches.is_empty() {
                return numbers;
            }
            for stretch in stretches {
                let last = stretch.last();
                let (first, before, after) = match &stretch {
                    Stretch::Run { run, .. } => {
                        (run.first(), Some(run.head().chain), run.verify().unwrap())
                    }
                    Stretch::Tombstone(gone) => (gone.first, gone.chain, gone.chain_after),
                };
                if let (Some(chain), Some(before)) = (chain, before)
                    && first == next
                {
                    assert_eq!(chain, before, "the chain at {next} of {lane}");
                }
                chain = Some(after);
                match &stretch {
                    Stretch::Run { run, .. } => {
                        for (number, record) in run.records().filter(|(number, _)| *number >= next)
                        {
                            let data = Packet::decode(record).unwrap().data.to_vec();
                            numbers.push((number.0, Some(data)));
                        }
                    }
                    Stretch::Tombstone(_) => {
                        numbers.extend((next.0..=last.0).map(|number| (number, None)));
                    }
                }
                next = last.next();
            }
        }
    }

    /// Appends packets that live for so long, or for ever.
    pub fn append_for(
        &self,
        to: &str,
        data: &[Vec<u8>],
        ttl_ms: Option<u64>,
    ) -> Result<Stored, AppendError> {
        let (target, mut batch) = (target(to), Batch::default());
        for data in data {
            let meta = paquebot_protocol::Meta { ttl_ms, ..Default::default() };
            batch.push(&Packet { created_ms: 1, data, meta });
        }
        ask(|reply| self.spool.append(Append { target, batch, reply }))
    }

    /// Declares packets gone, if their chains are known.
    pub fn bury(&self, lane: Lane, first: u64, last: u64, reason: SkipReason) -> u64 {
        self.try_bury(lane, first, last, reason).unwrap()
    }

    /// Declares packets gone, if their chains are known and the disk works.
    pub fn try_bury(
        &self,
        lane: Lane,
        first: u64,
        last: u64,
        reason: SkipReason,
    ) -> Result<u64, AppendError> {
        let chain_at = |number| ask(|reply| self.spool.chain_at(lane, Number(number), reply));
        let chain = match chain_at(first - 1) {
            Ok(Held::Chain(chain)) => Some(chain),
            _ => None,
        };
        let Ok(Held::Chain(chain_after)) = chain_at(last) else { return Ok(0) };
        let (first, last) = (Number(first), Number(last));
        let tombstone = Tombstone { first, last, chain, chain_after, reason };
        ask(|reply| self.spool.bury(lane, vec![tombstone], reply))
    }

    /// The acknowledged number, and every number after it, with its data unless it is declared gone.
    pub fn held_or_gone(&self, lane: Lane) -> (u64, Numbers) {
        loop {
            let acked = self.lane(lane).acked_through;
            let numbers = self.numbers(lane, acked.next().0);
            if self.lane(lane).acked_through == acked {
                return (acked.0, numbers);
            }
        }
    }

    /// The acknowledged number, and every packet after it: drops that are committed meanwhile make
    /// it look again.
    pub fn held(&self, lane: Lane) -> (u64, Vec<(u64, Vec<u8>)>) {
        loop {
            let acked = self.lane(lane).acked_through;
            let packets = self.packets(lane, acked.next().0);
            if self.lane(lane).acked_through == acked {
                return (acked.0, packets);
            }
        }
    }

    pub fn held_at(&self, lane: Lane, number: u64) -> Held {
        ask(|reply| self.spool.chain_at(lane, Number(number), reply)).unwrap()
    }

    pub fn chain_at(&self, lane: Lane, number: u64) -> Option<Chain> {
        match self.held_at(lane, number) {
            Held::Chain(chain) => Some(chain),
            Held::Gone | Held::Unknown => None,
        }
    }

    pub fn rekey(&self) -> Result<Identity, AppendError> {
        ask(|reply| self.spool.rekey(reply))
    }

    /// Drops, and waits until this is durable.
    pub fn drop_through(&self, lane: Lane, through: u64) {
        self.spool.drop_through(lane, Number(through), 0, 0);
        if self.options.drop_after > Duration::from_secs(60) {
            self.append("rig.carrier", &data(0, 1, 1)).unwrap();
        } else {
            until("it is dropped", || self.lane(lane).acked_through >= Number(through));
        }
    }

    pub fn lane(&self, lane: Lane) -> LaneState {
        self.spool.lane_states().into_iter().find(|state| state.lane == lane).unwrap()
    }

    /// The lane of a target, if there is one.
    pub fn lane_of(&self, to: &str) -> Option<LaneState> {
        let target = target(to);
        self.spool.lane_states().into_iter().find(|state| state.target == target)
    }

    /// The bytes of all segments of the spool, by the disk's account.
    pub fn disk_bytes(&self) -> u64 {
        let names = self.disk.names().into_iter();
        let segments = names.filter(|name| name.extension() == Some(Path::new("seg").as_os_str()));
        segments.filter_map(|name| Some(self.disk.bytes(&name)?.len() as u64)).sum()
    }

    /// How many segments lie on the disk.
    pub fn segments(&self) -> usize {
        let is_segment = |name: &&PathBuf| name.extension() == Some(Path::new("seg").as_os_str());
        self.disk.names().iter().filter(is_segment).count()
    }
}
