//! The model client: a spool that survives a crash, and around the outbox a shell that does what
//! `actors/connection.rs` does, one small piece of work at a time.

use std::collections::{BTreeMap, VecDeque};

use paquebot_protocol::batch::Batch;
use paquebot_protocol::frame::{OpenLane, Pause, RefuseRun, SKIP_BYTES, Skip, SkipReason};
use paquebot_protocol::outbox::{Order, Outbox};
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{
    Chain, Control, Frame, Held, Lane, Millis, Number, Origin, Packet, Run, SpoolId, TargetId,
};

use super::Options;
use super::packets::target_of;

/// How many runs are at hand after one read.
const RUNS_PER_READ: usize = 2;

/// How long a lane waits in which a run was refused.
const REFUSED_RUN_PAUSE: Millis = Millis(300_000);

/// What survives a crash of the client.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    pub(crate) id: SpoolId,
    pub(crate) nonce: u64,
    pub(crate) lanes: BTreeMap<Lane, StoredLane>,
}

#[derive(Debug, Clone)]
pub(crate) struct StoredLane {
    pub(crate) acked_through: Number,
    target: TargetId,
    items: VecDeque<Item>,
    /// The chain after each number, from 0 on.
    chains: Vec<Chain>,
}

#[derive(Debug, Clone)]
enum Item {
    Run(Run),
    Gone { through: Number },
}

impl Item {
    fn through(&self) -> Number {
        match self {
            Self::Run(run) => run.last(),
            Self::Gone { through } => *through,
        }
    }
}

impl StoredLane {
    fn new(lane: Lane) -> Self {
        let target = target_of(lane);
        let chains = vec![Chain::start(&target, lane)];
        Self { acked_through: Number::NONE, target, items: VecDeque::new(), chains }
    }

    pub(crate) fn stored_through(&self) -> Number {
        Number(self.chains.len() as u64 - 1)
    }

    /// What the real spool knows: nothing below what was dropped, nothing beyond what was stored.
    pub(crate) fn chain_at(&self, number: Number) -> Option<Chain> {
        let held = number >= self.acked_through;
        held.then(|| self.chains.get(usize::try_from(number.0).ok()?).copied()).flatten()
    }

    fn drop_through(&mut self, through: Number) {
        self.acked_through = self.acked_through.max(through);
        let acked = self.acked_through;
        self.items.retain(|item| item.through() > acked);
    }
}

impl Spool {
    /// Stores packets as one run.
    pub(crate) fn store(&mut self, lane: Lane, packets: &[Vec<u8>]) {
        let stored = self.lanes.entry(lane).or_insert_with(|| StoredLane::new(lane));
        let mut batch = Batch::with_capacity(packets.len(), 0);
        for data in packets {
            batch.push(&Packet { created_ms: 1, data, meta: <_>::default() });
        }
        let (before, first) = (stored.chains[stored.chains.len() - 1], stored.stored_through());
        let origin = Origin { spool: self.id, nonce: self.nonce };
        let mut builder = RunBuilder::new(origin, first.next(), before, batch.bytes());
        builder.fill(&batch, 0, usize::MAX);
        let run = builder.finish().expect("packets");
        for (number, _) in run.records() {
            stored.chains.push(run.chain_at(number).expect("a number of the run"));
        }
        stored.items.push_back(Item::Run(run));
    }

    /// Puts a tombstone in place of the newest run, if that is not one; gives its span.
    pub(crate) fn expire(&mut self, lane: Lane) -> Option<(Number, Number)> {
        let newest = self.lanes.get_mut(&lane)?.items.back_mut()?;
        let Item::Run(run) = newest else { return None };
        let span = (run.first(), run.last());
        *newest = Item::Gone { through: span.1 };
        Some(span)
    }

    fn frame_from(&self, lane: Lane, generation: u32, from: Number, packets_max: u64) -> Frame {
        let stored = &self.lanes[&lane];
        let item = stored.items.iter().find(|item| item.through() >= from).expect("a held packet");
        match item {
            Item::Run(run) => {
                let through = Number(from.0.saturating_add(packets_max - 1));
                let run = run.part(from, through).expect("a part of the run");
                Frame::Run { lane, generation, run }
            }
            Item::Gone { through } => {
                let chain = stored.chain_at(from.before()).expect("the chain before");
                let chain_after = stored.chain_at(*through).expect("the chain after");
                let reason = SkipReason::Expired;
                let (first, through) = (from, *through);
                let chain = Some(chain);
                let skip = Skip { lane, generation, first, through, chain, chain_after, reason };
                Frame::Control(Control::Skip(skip))
            }
        }
    }
}

/// Something that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) lane: Lane,
    pub(crate) generation: u32,
    pub(crate) first: Number,
    pub(crate) through: Number,
    pub(crate) skipped: bool,
}

/// Work that the store does meanwhile; its answer may come after the connection it was for.
#[derive(Debug, Clone)]
enum Task {
    Read(Lane),
    Prove { lane: Lane, generation: u32, cursor: Number, chain: Option<Chain> },
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) spool: Spool,
    pub(crate) outbox: Outbox,
    /// Drops that no commit has made durable yet.
    pub(crate) lazy_drops: Vec<(Lane, Number)>,
    /// Everything that ever went out.
    pub(crate) sent: Vec<Sent>,
    pub(crate) rekeyed: u32,
    window_bytes: u64,
    budget_bytes: u64,
    tasks: VecDeque<Task>,
    /// The generation that each lane was last opened with on this connection.
    opened: BTreeMap<Lane, u32>,
    at_hand: BTreeMap<Lane, usize>,
    in_flight: BTreeMap<Lane, VecDeque<(Number, u64)>>,
}

impl Client {
    pub(crate) fn new(spool: Spool, options: Options) -> Self {
        let Options { window_bytes, budget_bytes, .. } = options;
        let mut outbox = Outbox::default();
        for (lane, stored) in &spool.lanes {
            outbox.stored(*lane, stored.acked_through, stored.stored_through());
        }
        Self {
            spool,
            outbox,
            lazy_drops: Vec::new(),
            sent: Vec::new(),
            rekeyed: 0,
            window_bytes,
            budget_bytes,
            tasks: VecDeque::new(),
            opened: BTreeMap::new(),
            at_hand: BTreeMap::new(),
            in_flight: BTreeMap::new(),
        }
    }

    pub(crate) fn store(&mut self, lane: Lane, packets: &[Vec<u8>]) {
        self.spool.store(lane, packets);
        let stored = &self.spool.lanes[&lane];
        self.outbox.stored(lane, stored.acked_through, stored.stored_through());
    }

    pub(crate) fn disconnected(&mut self) {
        self.outbox.disconnected();
        self.opened.clear();
        self.at_hand.clear();
        self.in_flight.clear();
    }

    /// Takes in a frame of an honest server, which is never a violation.
    pub(crate) fn hear(&mut self, control: Control, now: Millis) {
        match control {
            Control::LaneOpened(answers) => {
                for answer in answers {
                    self.outbox.lane_opened(&answer).expect("an honest lane_opened");
                }
            }
            Control::Ack(acks) => {
                for ack in acks {
                    self.outbox.acked(&ack).expect("an honest ack");
                    let flying = self.in_flight.entry(ack.lane).or_default();
                    flying.retain(|(through, _)| *through > ack.through);
                }
            }
            Control::Pause(Pause { lane, generation, retry_after_ms, .. }) => {
                self.pause(lane, generation, now.after(Millis(retry_after_ms)));
            }
            Control::RefuseRun(RefuseRun { lane, generation, .. }) => {
                self.pause(lane, generation, now.after(REFUSED_RUN_PAUSE));
            }
            other => panic!("expected what a server says, found {other:?}"),
        }
    }

    fn pause(&mut self, lane: Lane, generation: u32, until: Millis) {
        self.outbox.paused(lane, generation, until);
        self.at_hand.remove(&lane);
        self.in_flight.remove(&lane);
    }

    /// Carries out the outbox's orders, but for sending when the socket is full, and gives the drops
    /// among them.
    pub(crate) fn act(
        &mut self,
        now: Millis,
        mut wire: Option<&mut VecDeque<Frame>>,
        is_full: bool,
    ) -> Vec<(Lane, Number)> {
        let (mut drops, mut opening) = (Vec::new(), Vec::new());
        let next = if is_full { Outbox::poll_all_but_send } else { Outbox::poll };
        while let Some(order) = next(&mut self.outbox, now) {
            match order {
                Order::Drop { lane, through, .. } => drops.push((lane, through)),
                Order::Prove { lane, generation, cursor, chain } => {
                    self.tasks.push_back(Task::Prove { lane, generation, cursor, chain });
                }
                Order::Open { lane, generation, first, next } => {
                    let target = self.spool.lanes[&lane].target.clone();
                    self.opened.insert(lane, generation);
                    opening.push(OpenLane { lane, generation, target, first, next });
                }
                Order::Send { lane, generation, from, packets_max } => {
                    let wire = wire.as_deref_mut().expect("nothing is sent without a connection");
                    self.send(lane, generation, from, packets_max, wire);
                }
            }
        }
        if let Some(wire) = wire
            && !opening.is_empty()
        {
            wire.push_back(Frame::Control(Control::OpenLane(opening)));
        }
        drops
    }

    fn send(
        &mut self,
        lane: Lane,
        generation: u32,
        from: Number,
        packets_max: u64,
        wire: &mut VecDeque<Frame>,
    ) {
        let at_hand = self.at_hand.entry(lane).or_default();
        if *at_hand == 0 {
            self.outbox.loading(lane);
            self.tasks.push_back(Task::Read(lane));
            return;
        }
        *at_hand -= 1;
        let frame = self.spool.frame_from(lane, generation, from, packets_max);
        let (through, bytes, skipped) = match &frame {
            Frame::Run { run, .. } => (run.last(), run.encoded().len() as u64, false),
            Frame::Control(Control::Skip(skip)) => (skip.through, SKIP_BYTES, true),
            Frame::Control(other) => panic!("expected a run or a skip, found {other:?}"),
        };
        let stored = &self.spool.lanes[&lane];
        assert!(through <= stored.stored_through(), "lane {lane}: sent before it was stored");
        assert!(skipped || through.since(from.before()) <= packets_max, "lane {lane}: ramp passed");
        let all_bytes: u64 = self.in_flight.values().flatten().map(|(_, bytes)| bytes).sum();
        let flying = self.in_flight.entry(lane).or_default();
        let lane_bytes: u64 = flying.iter().map(|(_, bytes)| bytes).sum();
        let room = lane_bytes < self.window_bytes && all_bytes < self.budget_bytes;
        assert!(lane_bytes == 0 || room, "lane {lane}: {lane_bytes} of {all_bytes} in flight");
        flying.push_back((through, bytes));
        self.sent.push(Sent { lane, generation, first: from, through, skipped });
        wire.push_back(frame);
        self.outbox.sent(lane, through, bytes);
    }

    /// Whether the store owes answers.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// The store gives its next answer; `false` when it cannot confirm the ledger's history. A
    /// doubt that belongs to an earlier connection counts for nothing.
    pub(crate) fn finish_task(&mut self) -> bool {
        match self.tasks.pop_front() {
            Some(Task::Read(lane)) => {
                self.at_hand.insert(lane, RUNS_PER_READ);
                self.outbox.loaded(lane);
            }
            Some(Task::Prove { lane, generation, cursor, chain }) => {
                let ours = self.spool.lanes.get(&lane).and_then(|stored| stored.chain_at(cursor));
                if ours.map_or(Held::Unknown, Held::Chain).proves(chain) {
                    self.outbox.proven(lane, generation);
                } else {
                    return self.opened.get(&lane) != Some(&generation);
                }
            }
            None => {}
        }
        true
    }

    pub(crate) fn commit_drops(&mut self) {
        for (lane, through) in self.lazy_drops.drain(..) {
            if let Some(stored) = self.spool.lanes.get_mut(&lane) {
                stored.drop_through(through);
            }
        }
    }

    /// The spool takes a new name (R7).
    pub(crate) fn rekey(&mut self) {
        self.rekeyed += 1;
        let last = &mut self.spool.id.0[15];
        *last = last.wrapping_add(1);
    }
}
