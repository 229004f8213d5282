//! A rig for the ledger on a disk in memory, and what is written there.

use std::path::PathBuf;
use std::sync::Arc;

use paquebot_protocol::{Chain, ClientId, Lane, LaneKey, Number, SpoolId};
use paquebot_store::{
    Admitted, CursorAt, DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterPage, Fence,
    Ledger, LedgerError, LedgerOpened, LedgerOptions, Mark, OpenError, Record, RecordError,
    Replays,
};

use super::{CrashDisk, ask, target, until};

pub fn client(name: &str) -> ClientId {
    name.parse().unwrap()
}

pub fn fence(spool: u8, opened: u64, nonce: u64) -> Fence {
    Fence { spool: SpoolId([spool; 16]), opened, nonce }
}

pub fn key(fence: Fence, lane: u64) -> LaneKey {
    LaneKey { spool: fence.spool, lane: Lane(lane) }
}

/// The mark that moves a lane's cursor.
pub fn mark(fence: Fence, lane: u64, from: u64, through: u64) -> Mark {
    let chain = Chain(through * 1000 + lane);
    let handled = through - from;
    let (lane, from, through) = (Lane(lane), Number(from), Number(through));
    Mark { fence, lane, from, through, chain, handled, skipped: 0 }
}

/// A ledger on a disk in memory.
pub struct LedgerRig {
    pub disk: CrashDisk,
    pub ledger: Ledger,
    pub opened: LedgerOpened,
    pub limits: DeadLetterLimits,
}

impl LedgerRig {
    pub fn new() -> Self {
        Self::open(CrashDisk::new(1)).unwrap()
    }

    pub fn open(disk: CrashDisk) -> Result<Self, OpenError> {
        Self::with(disk, DeadLetterLimits::default())
    }

    pub fn with(disk: CrashDisk, limits: DeadLetterLimits) -> Result<Self, OpenError> {
        let options = LedgerOptions { dir: Self::dir(), dead_letters: limits };
        let (ledger, opened) = Ledger::open(options, Arc::new(disk.clone()))?;
        Ok(Self { disk, ledger, opened, limits })
    }

    pub fn dir() -> PathBuf {
        PathBuf::from("/data/server")
    }

    pub fn reopen(self) -> Self {
        self.ledger.close().unwrap();
        Self::with(self.disk, self.limits).unwrap()
    }

    pub fn crash(self) -> Self {
        Self::with(self.disk.survivor(), self.limits).unwrap()
    }

    pub fn admit(&self, fence: Fence) -> Result<Admitted, LedgerError> {
        self.admit_as("till-17", fence, None)
    }

    pub fn admit_as(
        &self,
        name: &str,
        fence: Fence,
        replaces: Option<SpoolId>,
    ) -> Result<Admitted, LedgerError> {
        ask(|reply| self.ledger.admit(fence, replaces, client(name), reply))
    }

    pub fn cursor(&self, key: LaneKey, first: u64) -> CursorAt {
        ask(|reply| self.ledger.cursor(key, Number(first), reply)).unwrap()
    }

    pub fn record(&self, marks: Vec<Mark>, dead: Vec<DeadLetter>) -> Result<(), RecordError> {
        ask(|reply| {
            let handler = "orders".into();
            self.ledger.record(Record {
                handler,
                marks,
                file: None,
                dead,
                replays: Replays::default(),
                reply,
            });
        })
    }

    /// All dead letters, page by page, with their records.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        let mut filter = DeadLetterFilter { limit: 7, ..DeadLetterFilter::default() };
        loop {
            let page = self.list(&filter);
            letters.extend(page.letters.into_iter().map(|listed| {
                let whole = self.letter(listed.letter.id).expect("a listed letter");
                assert_eq!(whole.record.len() as u64, listed.size);
                DeadLetter { record: whole.record, ..listed.letter }
            }));
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return letters,
            }
        }
    }

    pub fn list(&self, filter: &DeadLetterFilter) -> DeadLetterPage {
        ask(|reply| self.ledger.list_dead_letters(filter.clone(), reply)).unwrap()
    }

    pub fn letter(&self, id: paquebot_protocol::PacketId) -> Option<DeadLetter> {
        ask(|reply| self.ledger.dead_letter(id, reply)).unwrap()
    }

    pub fn discard(&self, ids: &[paquebot_protocol::PacketId]) -> u64 {
        ask(|reply| self.ledger.discard_dead_letters(ids.to_vec(), reply)).unwrap()
    }

    /// Waits until it records again.
    pub fn until_it_works(&self) {
        until("the ledger works", || self.ledger.status().failed.is_none());
    }
}

/// A packet that nobody could handle.
pub fn letter(fence: Fence, lane: u64, number: u64) -> DeadLetter {
    DeadLetter {
        id: paquebot_protocol::PacketId {
            spool: fence.spool,
            lane: Lane(lane),
            number: Number(number),
        },
        client: client("till-17"),
        target: target("orders.new"),
        handler: "orders".to_owned(),
        reason: "no such article".to_owned(),
        attempts: 3,
        first_attempt_ms: 1_000,
        last_attempt_ms: 2_000,
        record: b"the packet's record".as_slice().into(),
    }
}
