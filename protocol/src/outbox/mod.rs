//! The outbox: the sender's side of every lane of one client.
//!
//! Decides which lane is opened, what is sent next, and which ack is believed. It knows numbers and
//! sizes; the shell holds the bytes and asks the store for them. Upholds R2 (only what was stored is
//! sent), R3 (only a valid ack drops), R5 (lanes take turns, by their priority, and do not wait for each
//! other), R11 (a lane with nothing in flight may always send).
//!
//! A lane's life on a connection: closed → opening → (proving) → open ⇄ paused. A new connection
//! closes every lane.

mod order;
mod refusal;
mod sending;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::chain::Chain;
use crate::frame::{Ack, LaneOpened};
use crate::id::{Lane, Number};
use crate::time::Millis;
use crate::window::Window;

use sending::{Phase, Retiring, Sending};
use turns::Turns;

pub use order::{Order, Violation};
pub use refusal::Refusal;
pub use turns::Priority;

/// The sender's side of all lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Outbox {
    lanes: BTreeMap<Lane, Sending>,
    connected: bool,
    budget_bytes: u64,
    in_flight_bytes: u64,
    to_open: Turns,
    ready: Turns,
    resume: BTreeSet<(Millis, Lane)>,
    drops: VecDeque<(Lane, Number, u64)>,
    proofs: VecDeque<(Lane, Option<Chain>)>,
    /// Lanes that end, and `retire` is still to be said.
    ending: BTreeSet<Lane>,
}

impl Outbox {
    /// Packets of `lane` up to `through` are durable; `acked_through` matters only when the lane is
    /// new to the outbox.
    pub fn stored(&mut self, lane: Lane, acked_through: Number, through: Number) {
        let fresh = || Sending::new(acked_through);
        let sending = self.lanes.entry(lane).or_insert_with(fresh);
        sending.stored_through = sending.stored_through.max(through);
        self.wake(lane);
    }

    /// There is a lane, whose packets up to `acked_through` are final; the others are sent so early.
    pub fn add(&mut self, lane: Lane, acked_through: Number, priority: Priority) {
        let fresh = || Sending::new(acked_through);
        self.lanes.entry(lane).or_insert_with(fresh).priority = priority;
    }

    /// The server said welcome; `budget_bytes` may be in flight over all lanes.
    pub fn connected(&mut self, budget_bytes: u64) {
        self.disconnected();
        self.connected = true;
        self.budget_bytes = budget_bytes;
        let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        for lane in lanes {
            self.wake(lane);
        }
    }

    /// The connection is gone, and with it everything in flight.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.in_flight_bytes = 0;
        self.to_open.clear();
        self.ready.clear();
        self.resume.clear();
        self.proofs.clear();
        for (lane, sending) in &mut self.lanes {
            if sending.retiring == Retiring::Said {
                // Whether it was heard is not known: it is said again.
                sending.retiring = Retiring::Wanted;
                self.ending.insert(*lane);
            }
            sending.phase = Phase::Closed;
            sending.was_paused = false;
            sending.queued = false;
            sending.sent_through = sending.acked_through;
            sending.ackable_through = sending.acked_through;
            sending.in_flight.clear();
        }
    }

    /// The server says where a lane goes on. Asks for a proof when there is something to prove.
    ///
    /// # Errors
    /// When the answer cannot be right. A cursor *ahead* of this client is no violation but another
    /// history: it is asked for as a proof, which fails.
    pub fn lane_opened(&mut self, answer: &LaneOpened) -> Result<(), Violation> {
        let LaneOpened { lane, cursor, chain, window_bytes, skipped, .. } = *answer;
        let sending = self.lanes.get_mut(&lane).ok_or(Violation::UnknownLane { lane })?;
        if answer.generation != sending.generation || sending.phase != Phase::Opening {
            return Ok(());
        }
        if cursor < sending.acked_through {
            return Err(Violation::CursorBehind { lane, first: sending.acked_through, cursor });
        }
        if chain.is_none() && cursor == sending.acked_through {
            // The ledger knows no history, and begins with what this client still holds. What it
            // counts as skipped begins anew, too: the store must not go by what an older ledger said.
            if cursor > Number::NONE {
                self.drops.push_back((lane, cursor, skipped));
            }
            self.open(lane, cursor, window_bytes, skipped);
        } else {
            sending.phase = Phase::Proving { cursor, window_bytes, skipped };
            self.proofs.push_back((lane, chain));
        }
        Ok(())
    }

    /// The store confirmed the ledger's chain.
    pub fn proven(&mut self, lane: Lane, generation: u32) {
        let Some(sending) = self.lanes.get(&lane) else { return };
        if let Phase::Proving { cursor, window_bytes, skipped } = sending.phase
            && generation == sending.generation
        {
            self.open(lane, cursor, window_bytes, skipped);
        }
    }

    /// A run or a skip up to `through` went out.
    pub fn sent(&mut self, lane: Lane, through: Number, bytes: u64) {
        let Some(sending) = self.lanes.get_mut(&lane) else { return };
        debug_assert!(through > sending.sent_through && through <= sending.stored_through);
        sending.sent_through = through;
        sending.ackable_through = sending.ackable_through.max(through);
        sending.window.take(bytes);
        sending.in_flight.push_back((through, bytes));
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
        self.wake(lane);
    }

    /// The run that was ordered has to be read from the store first.
    pub fn loading(&mut self, lane: Lane) {
        if let Some(sending) = self.lanes.get_mut(&lane)
            && sending.phase == Phase::Open
        {
            sending.phase = Phase::Loading;
        }
    }

    /// What had to be read is at hand.
    pub fn loaded(&mut self, lane: Lane) {
        if let Some(sending) = self.lanes.get_mut(&lane)
            && sending.phase == Phase::Loading
        {
            sending.phase = Phase::Open;
            self.wake(lane);
        }
    }

    /// The server acknowledged a lane.
    ///
    /// # Errors
    /// When that was never sent on this connection.
    pub fn acked(&mut self, ack: &Ack) -> Result<(), Violation> {
        let Ack { lane, through, skipped } = *ack;
        let sending = self.lanes.get_mut(&lane).ok_or(Violation::UnknownLane { lane })?;
        let sent = sending.ackable_through;
        if through > sent {
            return Err(Violation::AckBeyondSent { lane, sent, through });
        }
        // An attempt from before a pause may end well after it.
        sending.sent_through = sending.sent_through.max(through);
        while let Some((last, bytes)) = sending.in_flight.front().copied()
            && last <= through
        {
            sending.in_flight.pop_front();
            sending.window.give_back(bytes);
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        }
        if through > sending.acked_through {
            sending.acked_through = through;
            self.drops.push_back((lane, through, skipped));
        }
        self.wake(lane);
        Ok(())
    }

    /// The server paused a lane: what is in flight there is gone, and it is opened again at `until`.
    pub fn paused(&mut self, lane: Lane, generation: u32, until: Millis) {
        let Some(sending) = self.lanes.get_mut(&lane) else { return };
        if generation != sending.generation
            || matches!(sending.phase, Phase::Closed | Phase::Paused)
        {
            return;
        }
        sending.phase = Phase::Paused;
        sending.was_paused = true;
        // A turn that it still has among those that are ready is not the one that opens it again.
        sending.queued = false;
        sending.sent_through = sending.acked_through;
        let flying: u64 = sending.in_flight.drain(..).map(|(_, bytes)| bytes).sum();
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(flying);
        self.resume.insert((until, lane));
    }

    /// The drop of everything in `lane` up to `through` is durable.
    pub fn dropped(&mut self, lane: Lane, through: Number) {
        if let Some(sending) = self.lanes.get_mut(&lane) {
            sending.dropped_through = sending.dropped_through.max(through);
        }
    }

    /// The lane will never get another packet, and the store has noted that. It is retired once all of
    /// it is acknowledged and that drop is durable: a client that comes back with packets of a retired
    /// lane would have them handled twice.
    pub fn retire(&mut self, lane: Lane) {
        if let Some(sending) = self.lanes.get_mut(&lane)
            && sending.retiring == Retiring::No
        {
            sending.retiring = Retiring::Wanted;
            self.ending.insert(lane);
        }
    }

    /// The next lane to say `retire` for, which is said once on a connection, and again on the next
    /// until [`Outbox::retire_heard`].
    pub fn poll_retire(&mut self) -> Option<Lane> {
        if !self.connected {
            return None;
        }
        // An answer that is still to come would find the lane unknown to the ledger.
        let asking = |phase| matches!(phase, Phase::Opening | Phase::Proving { .. });
        let ends = |lane: &&Lane| {
            self.lanes.get(lane).is_some_and(|sending| {
                sending.dropped_through == sending.stored_through && !asking(sending.phase)
            })
        };
        let lane = self.ending.iter().find(ends).copied()?;
        self.ending.remove(&lane);
        self.lanes.get_mut(&lane)?.retiring = Retiring::Said;
        Some(lane)
    }

    /// The server has answered something that was sent on this connection after `retire`, so it has
    /// heard that: the lane is over, and the store may forget it. Says whether it was said.
    pub fn retire_heard(&mut self, lane: Lane) -> bool {
        let said = |sending: &Sending| sending.retiring == Retiring::Said;
        let over = self.lanes.get(&lane).is_some_and(said);
        if over {
            self.lanes.remove(&lane);
        }
        over
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self, now: Millis) -> Option<Order> {
        self.poll_all_but_send(now).or_else(|| self.poll_send())
    }

    /// The next thing to do while the socket takes no more packets: everything but [`Order::Send`].
    pub fn poll_all_but_send(&mut self, now: Millis) -> Option<Order> {
        if let Some((lane, through, skipped)) = self.drops.pop_front() {
            return Some(Order::Drop { lane, through, skipped });
        }
        if let Some(order) = self.poll_proof() {
            return Some(order);
        }
        while let Some((until, lane)) = self.resume.first().copied()
            && until <= now
        {
            self.resume.pop_first();
            if let Some(sending) = self.lanes.get_mut(&lane) {
                sending.phase = Phase::Closed;
                self.wake(lane);
            }
        }
        self.poll_open()
    }

    /// When to poll again although nothing happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.resume.first().map(|(until, _)| *until)
    }

    /// Everything up to here is acknowledged.
    #[must_use]
    pub fn acked_through(&self, lane: Lane) -> Option<Number> {
        self.lanes.get(&lane).map(|sending| sending.acked_through)
    }

    /// Everything up to here is on its way or beyond.
    #[must_use]
    pub fn sent_through(&self, lane: Lane) -> Option<Number> {
        self.lanes.get(&lane).map(|sending| sending.sent_through)
    }

    fn poll_proof(&mut self) -> Option<Order> {
        while let Some((lane, chain)) = self.proofs.pop_front() {
            if let Some(sending) = self.lanes.get(&lane)
                && let Phase::Proving { cursor, .. } = sending.phase
            {
                let generation = sending.generation;
                return Some(Order::Prove { lane, generation, cursor, chain });
            }
        }
        None
    }

    fn poll_open(&mut self) -> Option<Order> {
        while let Some(lane) = self.to_open.pop() {
            let Some(sending) = self.lanes.get_mut(&lane) else { continue };
            sending.queued = false;
            if sending.phase != Phase::Closed {
                continue;
            }
            sending.phase = Phase::Opening;
            sending.generation = sending.generation.wrapping_add(1);
            return Some(Order::Open {
                lane,
                generation: sending.generation,
                first: sending.acked_through.next(),
                next: sending.stored_through.next(),
            });
        }
        None
    }

    fn poll_send(&mut self) -> Option<Order> {
        for _ in 0..self.ready.len() {
            let lane = self.ready.pop()?;
            let Some(sending) = self.lanes.get_mut(&lane) else { continue };
            sending.queued = false;
            let waiting = sending.sent_through < sending.stored_through;
            if sending.phase != Phase::Open || !waiting || !sending.window.is_open() {
                continue;
            }
            let lane_is_idle = sending.in_flight.is_empty();
            if self.in_flight_bytes >= self.budget_bytes && !lane_is_idle {
                // Acks of any lane make room: keep the turn.
                sending.queued = true;
                self.ready.push(sending.priority, lane);
                continue;
            }
            return Some(Order::Send {
                lane,
                generation: sending.generation,
                from: sending.sent_through.next(),
                packets_max: sending.window.packets_max(),
            });
        }
        None
    }

    fn open(&mut self, lane: Lane, cursor: Number, window_bytes: u64, skipped: u64) {
        let Some(sending) = self.lanes.get_mut(&lane) else { return };
        let window = if sending.was_paused { Window::ramping } else { Window::new };
        sending.phase = Phase::Open;
        sending.window = window(window_bytes);
        // An ack may have come while the cursor was being proved.
        sending.sent_through = cursor.max(sending.acked_through);
        sending.ackable_through = sending.ackable_through.max(cursor);
        if cursor > sending.acked_through {
            sending.acked_through = cursor;
            self.drops.push_back((lane, cursor, skipped));
        }
        self.wake(lane);
    }

    /// Gives a lane its turn when there is something to do for it.
    fn wake(&mut self, lane: Lane) {
        let Some(sending) = self.lanes.get_mut(&lane) else { return };
        let waiting = sending.sent_through < sending.stored_through;
        if !self.connected || sending.queued || !waiting {
            return;
        }
        match sending.phase {
            Phase::Closed => {
                sending.queued = true;
                self.to_open.push(sending.priority, lane);
            }
            Phase::Open if sending.window.is_open() => {
                sending.queued = true;
                self.ready.push(sending.priority, lane);
            }
            Phase::Open | Phase::Opening | Phase::Proving { .. } => {}
            Phase::Loading | Phase::Paused => {}
        }
    }
}
