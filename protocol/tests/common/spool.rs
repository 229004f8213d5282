//! The model spool: what survives a crash of the client, down to the totals of R8, which are written
//! with the deeds themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paquebot_protocol::batch::Batch;
use paquebot_protocol::frame::{Skip, SkipReason};
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{
    Chain, Control, Frame, Held, Lane, Number, Origin, Packet, Retired, Run, SpoolId, TargetId,
};

use super::ledger::serial_of;
use super::packets::target_of;

/// What became of a lane's packets, by their client (R8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) handled: u64,
    pub(crate) dead: u64,
    /// Expired, evicted, purged, refused and damaged; provisional until the ack that passes them.
    pub(crate) gone: [u64; 5],
}

/// Where a reason stands in [`Totals::gone`].
fn place(reason: SkipReason) -> usize {
    match reason {
        SkipReason::Expired => 0,
        SkipReason::Evicted => 1,
        SkipReason::Purged => 2,
        SkipReason::Refused => 3,
        _ => 4,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Spool {
    pub(crate) id: SpoolId,
    pub(crate) opened: u64,
    pub(crate) nonce: u64,
    pub(crate) lanes: BTreeMap<Lane, StoredLane>,
    /// The lanes that have ended and are forgotten but for this.
    pub(crate) retired: Retired,
    /// Totals of the forgotten ones.
    pub(crate) past: Totals,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StoredLane {
    pub(crate) acked_through: Number,
    pub(crate) stored_through: Number,
    pub(crate) target: TargetId,
    pub(crate) totals: Totals,
    /// No packet is stored here any more.
    pub(crate) retiring: bool,
    /// How many numbers the ledger had passed by skips when the last drop became durable.
    skipped_seen: u64,
    items: VecDeque<Item>,
    /// The chain after the last packet.
    end: Chain,
}

/// What stands in a lane: packets, or a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Run(Run),
    Gone { first: Number, through: Number, chain: Option<Chain>, after: Chain, reason: SkipReason },
}

impl Item {
    pub(crate) fn first(&self) -> Number {
        match self {
            Self::Run(run) => run.first(),
            Self::Gone { first, .. } => *first,
        }
    }

    pub(crate) fn through(&self) -> Number {
        match self {
            Self::Run(run) => run.last(),
            Self::Gone { through, .. } => *through,
        }
    }

    fn chain_before(&self) -> Option<Chain> {
        match self {
            Self::Run(run) => Some(run.head().chain),
            Self::Gone { chain, .. } => *chain,
        }
    }

    /// The frame that goes on from `from`, with at most `packets_max` packets.
    pub(crate) fn frame(
        &self,
        lane: Lane,
        generation: u32,
        from: Number,
        packets_max: u64,
    ) -> Frame {
        match self {
            Self::Run(run) => {
                let through = Number(from.0.saturating_add(packets_max - 1));
                let run = run.part(from, through).expect("a part of the run");
                Frame::Run { lane, generation, run }
            }
            Self::Gone { first, through, chain, after, reason } => {
                // Within a tombstone nobody knows the chain any more.
                let chain = chain.filter(|_| from == *first);
                let (first, through, chain_after, reason) = (from, *through, *after, *reason);
                let skip = Skip { lane, generation, first, through, chain, chain_after, reason };
                Frame::Control(Control::Skip(skip))
            }
        }
    }
}

impl StoredLane {
    fn new(lane: Lane) -> Self {
        let target = target_of(lane);
        let end = Chain::start(&target, lane);
        Self {
            acked_through: Number::NONE,
            stored_through: Number::NONE,
            target,
            totals: Totals::default(),
            retiring: false,
            skipped_seen: 0,
            items: VecDeque::new(),
            end,
        }
    }

    /// What can be said of the chain at the ledger's cursor.
    pub(crate) fn held(&self, cursor: Number) -> Held {
        if cursor < self.acked_through || cursor > self.stored_through {
            return Held::Unknown;
        }
        let mut all_gone = true;
        for item in &self.items {
            let known = match item {
                _ if cursor < item.first() => item.chain_before(),
                Item::Run(run) if cursor <= run.last() => run.chain_at(cursor),
                Item::Gone { through, after, .. } if cursor == *through => Some(*after),
                Item::Gone { through, .. } if cursor < *through => None,
                Item::Gone { .. } => continue,
                Item::Run(_) => {
                    all_gone = false;
                    continue;
                }
            };
            return match known {
                Some(chain) => Held::Chain(chain),
                None if all_gone => Held::Gone,
                None => Held::Unknown,
            };
        }
        Held::Chain(self.end)
    }

    /// What goes on from `from`.
    pub(crate) fn items_from(&self, from: Number) -> impl Iterator<Item = &Item> {
        self.items.iter().skip_while(move |item| item.through() < from)
    }

    /// Whether a tombstone covers the number and the one after it.
    pub(crate) fn is_within_gone(&self, number: Number) -> bool {
        self.items.iter().any(|item| match item {
            Item::Gone { first, through, chain, .. } => {
                let from = if chain.is_some() { *first } else { first.before() };
                from <= number && number < *through
            }
            Item::Run(_) => false,
        })
    }

    /// The packets that are held, by number and serial.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (Number, u64)> {
        let runs = self.items.iter().filter_map(|item| match item {
            Item::Run(run) => Some(run),
            Item::Gone { .. } => None,
        });
        let packets = runs.flat_map(Run::records);
        let held = packets.filter(|(number, _)| *number > self.acked_through);
        held.map(|(number, record)| (number, serial_of(record)))
    }

    /// An ack, or a cursor that was believed: gives the serials of the packets that it drops.
    pub(crate) fn drop_through(
        &mut self,
        through: Number,
        skipped: u64,
        dead: &BTreeSet<Number>,
    ) -> Vec<u64> {
        let acked = self.acked_through;
        let passed = |number: Number| number > acked && number <= through;
        let live: BTreeMap<Number, u64> =
            self.pending().filter(|(number, _)| passed(*number)).collect();
        let dead_live = live.keys().filter(|number| dead.contains(number)).count() as u64;
        self.totals.dead += dead_live;
        self.totals.handled += live.len() as u64 - dead_live;
        // What is declared and was not passed by a skip had been on its way, and was handled.
        let declared: u64 = self.gone_within(acked, through).map(|(_, count)| count).sum();
        let mut came = declared.saturating_sub(skipped.saturating_sub(self.skipped_seen));
        let is_dead = |number: &&Number| passed(**number) && !live.contains_key(*number);
        let dead_gone = came.min(dead.iter().filter(is_dead).count() as u64);
        self.totals.dead += dead_gone;
        self.totals.handled += came - dead_gone;
        let gone: Vec<_> = self.gone_within(acked, through).collect();
        for (reason, count) in gone {
            let back = came.min(count);
            self.totals.gone[place(reason)] -= back;
            came -= back;
        }
        self.skipped_seen = skipped;
        self.acked_through = acked.max(through);
        let acked = self.acked_through;
        self.items.retain(|item| item.through() > acked);
        live.into_values().collect()
    }

    fn gone_within(
        &self,
        acked: Number,
        through: Number,
    ) -> impl Iterator<Item = (SkipReason, u64)> {
        self.items.iter().filter_map(move |item| match item {
            Item::Gone { first, through: last, reason, .. } => {
                let (from, to) = (first.before().max(acked), (*last).min(through));
                Some((*reason, to.since(from)))
            }
            Item::Run(_) => None,
        })
    }

    /// Puts tombstones in place of the packets `from..=through` that are still held; gives their
    /// numbers and serials. Damage takes whole runs, and the chain before them with it.
    pub(crate) fn bury(
        &mut self,
        from: Number,
        through: Number,
        reason: SkipReason,
    ) -> Vec<(Number, u64)> {
        let from = from.max(self.acked_through.next());
        let damaged = reason == SkipReason::Damaged;
        let before: Vec<_> = self.pending().collect();
        for item in std::mem::take(&mut self.items) {
            let (first, last) = (item.first(), item.through());
            let run = match item {
                Item::Run(run) if from <= last && first <= through => run,
                other => {
                    self.push(other);
                    continue;
                }
            };
            let (cut, end) =
                if damaged { (first, last) } else { (from.max(first), through.min(last)) };
            let part = |from, to| run.part(from, to).map(Item::Run);
            part(first, cut.before()).into_iter().for_each(|item| self.push(item));
            let chain = run.chain_at(cut.before()).filter(|_| !damaged);
            let after = run.chain_at(end).expect("a number of the run");
            self.push(Item::Gone { first: cut, through: end, chain, after, reason });
            part(end.next(), last).into_iter().for_each(|item| self.push(item));
        }
        let left: BTreeSet<u64> = self.pending().map(|(_, serial)| serial).collect();
        let buried: Vec<_> =
            before.into_iter().filter(|(_, serial)| !left.contains(serial)).collect();
        self.totals.gone[place(reason)] += buried.len() as u64;
        buried
    }

    /// Neighbours that are gone for one reason become one tombstone.
    fn push(&mut self, item: Item) {
        if let (
            Some(Item::Gone { through, after, reason, .. }),
            Item::Gone { through: last, after: end, reason: why, .. },
        ) = (self.items.back_mut(), &item)
            && reason == why
        {
            (*through, *after) = (*last, *end);
        } else {
            self.items.push_back(item);
        }
    }

    /// R8, exactly.
    pub(crate) fn check(&self, lane: Lane) {
        let Totals { accepted, handled, dead, gone } = self.totals;
        let ended = handled + dead + gone.iter().sum::<u64>();
        let pending = self.pending().count() as u64;
        let totals = self.totals;
        assert_eq!(accepted, ended + pending, "lane {lane}: {totals:?}, {pending} pending");
    }
}

impl Spool {
    pub(crate) fn new(id: u8) -> Self {
        Self {
            id: SpoolId([id; 16]),
            opened: 1,
            nonce: u64::from(id),
            lanes: BTreeMap::new(),
            retired: Retired::default(),
            past: Totals::default(),
        }
    }

    /// Stores packets as one run.
    pub(crate) fn store(&mut self, lane: Lane, packets: &[Vec<u8>]) {
        assert!(!self.retired.contains(lane), "lane {lane} is used again");
        let stored = self.lanes.entry(lane).or_insert_with(|| StoredLane::new(lane));
        assert!(!stored.retiring, "lane {lane} gets a packet after its end");
        let mut batch = Batch::with_capacity(packets.len(), 0);
        for data in packets {
            batch.push(&Packet { created_ms: 1, data, meta: <_>::default() });
        }
        let origin = Origin { spool: self.id, nonce: self.nonce };
        let first = stored.stored_through.next();
        let mut builder = RunBuilder::new(origin, first, stored.end, batch.bytes());
        builder.fill(&batch, 0, usize::MAX);
        stored.end = builder.chain();
        let run = builder.finish().expect("packets");
        stored.stored_through = run.last();
        stored.totals.accepted += packets.len() as u64;
        stored.items.push_back(Item::Run(run));
    }

    /// The lane and all that it is about are forgotten, but not that its number was used.
    pub(crate) fn forget(&mut self, lane: Lane) {
        let Some(stored) = self.lanes.remove(&lane) else { return };
        self.retired.retire(lane);
        assert_eq!(stored.acked_through, stored.stored_through, "lane {lane} ends with packets");
        let (past, last) = (&mut self.past, stored.totals);
        past.accepted += last.accepted;
        past.handled += last.handled;
        past.dead += last.dead;
        for (sum, count) in past.gone.iter_mut().zip(last.gone) {
            *sum += count;
        }
    }

    /// Opens the spool once more.
    pub(crate) fn open(&mut self, nonce: u64) {
        self.opened += 1;
        self.nonce = nonce;
    }

    /// The spool takes a new name (R7): no ledger knows anything of it.
    pub(crate) fn rekey(&mut self, id: SpoolId) {
        self.id = id;
        for stored in self.lanes.values_mut() {
            stored.skipped_seen = 0;
        }
    }
}
