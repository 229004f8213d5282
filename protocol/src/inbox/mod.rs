//! The inbox: the receiver's side of every lane of one session.
//!
//! Decides what is taken, in which order it is dispatched, and what is acknowledged. Upholds R4 (an
//! ack follows a durable outcome), R5 (number order within a lane, no lane waits for another), R6
//! (what lies below the cursor is trimmed), R7 (no second attempt in a lane while one may still
//! run; every run must go on from the chain before it), R8 (a gap is refused, never passed over).
//!
//! One dispatch per lane is out at a time; what arrives meanwhile gathers and goes with the next.

mod order;

use std::collections::{BTreeMap, VecDeque};

use crate::chain::Chain;
use crate::frame::{Ack, OpenLane};
use crate::id::{Lane, Number};
use crate::target::TargetId;

pub use order::{Admission, Order, Violation};

/// A stretch of a lane that arrived: a run, or a skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// The first number.
    pub first: Number,
    /// The last number.
    pub through: Number,
    /// The chain after it.
    pub chain_after: Chain,
    /// The memory that it takes, in bytes.
    pub bytes: u64,
    /// Whether it only declares packets that will never come.
    pub skipped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Opening { first: Number },
    Acquiring,
    Open,
    Paused,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Receiving {
    target: TargetId,
    phase: Phase,
    generation: u32,
    cursor: Number,
    /// The last number that was ever assigned, by the client's word.
    assigned_through: Number,
    received_through: Number,
    chain: Option<Chain>,
    /// What the attempt that runs has no outcome for yet; empty when none runs.
    dispatched: VecDeque<Arrival>,
    waiting: VecDeque<Arrival>,
    held_bytes: u64,
    /// Numbers passed by skips without having been handled, since the ledger knows the lane.
    skipped: u64,
}

/// The receiver's side of all lanes of one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inbox {
    lanes: BTreeMap<Lane, Receiving>,
    lanes_max: usize,
    window_bytes: u64,
    overshoot_bytes: u64,
    orders: VecDeque<Order>,
}

impl Inbox {
    /// An inbox for at most `lanes_max` lanes of `window_bytes` each, which one frame of
    /// `frame_bytes_max` may pass.
    #[must_use]
    pub fn new(lanes_max: usize, window_bytes: u64, frame_bytes_max: u64) -> Self {
        Self {
            lanes: BTreeMap::new(),
            lanes_max,
            window_bytes,
            overshoot_bytes: frame_bytes_max,
            orders: VecDeque::new(),
        }
    }

    /// The client opens a lane, for the first time or again.
    ///
    /// # Errors
    /// When there are too many lanes, or the lane had another target before.
    pub fn open_lane(&mut self, asked: &OpenLane) -> Result<(), Violation> {
        let lane = asked.lane;
        if !self.lanes.contains_key(&lane) && self.lanes.len() >= self.lanes_max {
            return Err(Violation::TooManyLanes { max: self.lanes_max });
        }
        let phase = Phase::Opening { first: asked.first };
        let fresh = || Receiving {
            target: asked.target.clone(),
            phase,
            generation: asked.generation,
            cursor: Number::NONE,
            assigned_through: Number::NONE,
            received_through: Number::NONE,
            chain: None,
            dispatched: VecDeque::new(),
            waiting: VecDeque::new(),
            held_bytes: 0,
            skipped: 0,
        };
        let receiving = self.lanes.entry(lane).or_insert_with(fresh);
        if receiving.target != asked.target {
            return Err(Violation::Target { lane });
        }
        receiving.phase = phase;
        receiving.assigned_through = receiving.assigned_through.max(asked.next.before());
        receiving.generation = asked.generation;
        receiving.forget_waiting();
        self.acquire(lane);
        Ok(())
    }

    /// The lane's lease is ours and the ledger's cursor known.
    pub fn acquired(&mut self, lane: Lane, cursor: Number, chain: Option<Chain>, skipped: u64) {
        let Some(receiving) = self.lanes.get_mut(&lane) else { return };
        if receiving.phase != Phase::Acquiring {
            return;
        }
        receiving.phase = Phase::Open;
        receiving.cursor = cursor;
        receiving.received_through = cursor;
        receiving.chain = chain;
        receiving.skipped = skipped;
        let generation = receiving.generation;
        self.orders.push_back(Order::Opened { lane, generation, cursor, chain, skipped });
    }

    /// Something arrived. `chain_at` gives its chain at a number before or within it.
    ///
    /// # Errors
    /// When it leaves a gap, belongs to another history, or is more than the window allows.
    pub fn arrived(
        &mut self,
        lane: Lane,
        generation: u32,
        arrival: Arrival,
        chain_at: impl FnOnce(Number) -> Option<Chain>,
    ) -> Result<Admission, Violation> {
        let (window_bytes, overshoot) = (self.window_bytes, self.overshoot_bytes);
        let receiving = self.lanes.get_mut(&lane).ok_or(Violation::NotOpen { lane })?;
        let ended = matches!(receiving.phase, Phase::Paused | Phase::Closed);
        if receiving.generation != generation || ended {
            return Ok(Admission::Ignored);
        }
        if receiving.phase != Phase::Open {
            return Err(Violation::NotOpen { lane });
        }
        let received = receiving.received_through;
        if arrival.through <= received {
            return Ok(Admission::Ignored);
        }
        if arrival.first > received.next() {
            let (expected, found) = (received.next(), arrival.first);
            return Err(Violation::Gap { lane, expected, found });
        }
        // A skip has no chain within, and none before it where that was destroyed: one that does not
        // know is believed, because no packet is lost by it, and the chain of whatever follows must
        // go on from its end.
        let found = chain_at(received);
        if let Some(expected) = receiving.chain
            && found != Some(expected)
            && (found.is_some() || !arrival.skipped)
        {
            return Err(Violation::History { lane, first: received.next(), expected });
        }
        let held = receiving.held_bytes.saturating_add(arrival.bytes);
        if receiving.held_bytes > 0 && held > window_bytes.saturating_add(overshoot) {
            return Err(Violation::Window { lane, max: window_bytes, found: held });
        }
        receiving.held_bytes = held;
        receiving.received_through = arrival.through;
        receiving.assigned_through = receiving.assigned_through.max(arrival.through);
        receiving.chain = Some(arrival.chain_after);
        receiving.waiting.push_back(arrival);
        self.dispatch(lane);
        let whole = arrival.first == received.next();
        Ok(if whole { Admission::Taken } else { Admission::TakenAfter(received) })
    }

    /// The outcome of everything up to `through` is durable. When that is a part of an attempt, the
    /// attempt goes on, and what it is about has its room in the window back run by run, as the
    /// client reckons.
    pub fn settled(&mut self, lane: Lane, through: Number) {
        let Some(receiving) = self.lanes.get_mut(&lane) else { return };
        let passed = through.since(receiving.cursor);
        receiving.cursor = receiving.cursor.max(through);
        if receiving.dispatched.front().is_some_and(|dispatched| dispatched.skipped) {
            receiving.skipped = receiving.skipped.saturating_add(passed);
        }
        while let Some(dispatched) =
            receiving.dispatched.pop_front_if(|dispatched| dispatched.through <= through)
        {
            receiving.held_bytes = receiving.held_bytes.saturating_sub(dispatched.bytes);
        }
        if receiving.phase == Phase::Open || receiving.phase == Phase::Paused {
            let ack = Ack { lane, through: receiving.cursor, skipped: receiving.skipped };
            self.orders.push_back(Order::Ack(ack));
        }
        self.acquire(lane);
        self.dispatch(lane);
    }

    /// The attempt ended without a final outcome for what follows the cursor: the lane is paused,
    /// and what arrived is forgotten. The generation to say `pause` for, unless the client has
    /// already opened the lane again.
    pub fn failed(&mut self, lane: Lane) -> Option<u32> {
        let receiving = self.lanes.get_mut(&lane)?;
        receiving.dispatched.clear();
        receiving.held_bytes = 0;
        let paused = (receiving.phase == Phase::Open).then_some(receiving.generation);
        if paused.is_some() {
            receiving.phase = Phase::Paused;
            receiving.forget_waiting();
        }
        self.acquire(lane);
        paused
    }

    /// What arrived under this generation cannot be taken: nothing more is, until the lane is opened
    /// again. An attempt that runs is waited for, and counts. Says whether the lane was open.
    pub fn refuse(&mut self, lane: Lane, generation: u32) -> bool {
        let Some(receiving) = self.lanes.get_mut(&lane) else { return false };
        let open = receiving.generation == generation && receiving.phase == Phase::Open;
        if open {
            receiving.phase = Phase::Paused;
            receiving.forget_waiting();
        }
        open
    }

    /// The client will never use the lane again: the ledger may forget its cursor when it has noted
    /// that (`Retired`), and the session gives its lease back. The lane counts as never opened then.
    ///
    /// # Errors
    /// When there is work in the lane: then not everything in it was acknowledged.
    pub fn retire(&mut self, lane: Lane) -> Result<(), Violation> {
        let Some(receiving) = self.lanes.get(&lane) else { return Ok(()) };
        let opening = matches!(receiving.phase, Phase::Opening { .. } | Phase::Acquiring);
        if opening || !receiving.dispatched.is_empty() || !receiving.waiting.is_empty() {
            return Err(Violation::RetiredEarly { lane });
        }
        self.lanes.remove(&lane);
        Ok(())
    }

    /// The connection is gone: nothing more is dispatched, and attempts that run are waited for.
    pub fn close(&mut self) {
        // An attempt that was ordered and not begun never ends: waited for, it would hold its lease.
        for order in std::mem::take(&mut self.orders) {
            if let Order::Dispatch { lane, .. } | Order::Pass { lane, .. } = order
                && let Some(receiving) = self.lanes.get_mut(&lane)
            {
                receiving.dispatched.clear();
            }
        }
        for receiving in self.lanes.values_mut() {
            receiving.phase = Phase::Closed;
            receiving.forget_waiting();
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Where the lane's packets go.
    #[must_use]
    pub fn target(&self, lane: Lane) -> Option<&TargetId> {
        self.lanes.get(&lane).map(|receiving| &receiving.target)
    }

    /// The last packet of a lane that its client has told of, by itself or by sending it.
    #[must_use]
    pub fn assigned_through(&self, lane: Lane) -> Option<Number> {
        self.lanes.get(&lane).map(|receiving| receiving.assigned_through)
    }

    /// Lanes with an attempt that has not ended.
    pub fn attempts(&self) -> impl Iterator<Item = Lane> {
        let running = |(_, receiving): &(&Lane, &Receiving)| !receiving.dispatched.is_empty();
        self.lanes.iter().filter(running).map(|(lane, _)| *lane)
    }

    /// All lanes that were opened.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.lanes.keys().copied()
    }

    /// Goes on with an opening, once no attempt of the one before is running.
    fn acquire(&mut self, lane: Lane) {
        let Some(receiving) = self.lanes.get_mut(&lane) else { return };
        if let Phase::Opening { first } = receiving.phase
            && receiving.dispatched.is_empty()
        {
            receiving.phase = Phase::Acquiring;
            self.orders.push_back(Order::Acquire { lane, first });
        }
    }

    /// Dispatches what is waiting: all runs up to the next skip, or the skip.
    fn dispatch(&mut self, lane: Lane) {
        let Some(receiving) = self.lanes.get_mut(&lane) else { return };
        if !receiving.dispatched.is_empty() || receiving.phase != Phase::Open {
            return;
        }
        let Some(mut last) = receiving.waiting.pop_front() else { return };
        receiving.dispatched.push_back(last);
        while !last.skipped
            && let Some(next) = receiving.waiting.pop_front_if(|next| !next.skipped)
        {
            receiving.dispatched.push_back(next);
            last = next;
        }
        let (cursor, through, chain) = (receiving.cursor, last.through, last.chain_after);
        self.orders.push_back(if last.skipped {
            Order::Pass { lane, cursor, through, chain }
        } else {
            Order::Dispatch { lane, cursor, through, chain }
        });
    }
}

impl Receiving {
    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.held_bytes = self.dispatched.iter().map(|dispatched| dispatched.bytes).sum();
    }
}
