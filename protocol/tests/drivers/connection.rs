//! Drives the sender's side, the outbox, with a server that says whatever the bytes choose, before
//! a shell and a spool that are honest; shared by the fuzz target `connection` and by
//! `hostile_peers.rs`.
//!
//! Whatever the server says: nothing panics, nothing is dropped that it could not have acknowledged,
//! only what is stored is sent, budgets hold, and an honest server gets everything afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arbitrary::Unstructured;
use paquebot_protocol::frame::{Ack, LaneOpened, RefuseRun, RefuseRunCode};
use paquebot_protocol::outbox::{Order, Outbox, Refusal};
use paquebot_protocol::{Chain, Lane, Millis, Number};

use super::choices::{below, lane, number};

const BUDGET_BYTES: u64 = 1_000;
const PACKET_BYTES: u64 = 100;
/// Enough for every state, and an end for bytes that choose nothing.
const STEPS_MAX: usize = 400;
/// More than any honest exchange about what can be stored in so many steps.
const ORDERS_MAX: usize = 20_000;

#[derive(Debug, Default)]
struct Client {
    outbox: Outbox,
    connected: bool,
    now: Millis,
    /// What is durable.
    stored: BTreeMap<Lane, Number>,
    /// The generation that a lane was last opened with, on this connection.
    asked: BTreeMap<Lane, u32>,
    /// The highest number that an ack may name, on this connection.
    ackable: BTreeMap<Lane, Number>,
    /// The highest number that was acknowledged, or final when its lane was opened.
    legitimate: BTreeMap<Lane, Number>,
    dropped: BTreeMap<Lane, Number>,
    in_flight: BTreeMap<Lane, VecDeque<(Number, u64)>>,
    loading: BTreeSet<Lane>,
}

pub(crate) fn drive(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let mut client = Client::default();
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        client.step(&mut bytes);
    }
    client.meet_an_honest_server();
}

/// The one history that this spool knows.
fn chain_at(lane: Lane, number: Number) -> Chain {
    Chain(lane.0.wrapping_mul(1_000_003).wrapping_add(number.0))
}

impl Client {
    fn step(&mut self, bytes: &mut Unstructured<'_>) {
        match below(bytes, 12) {
            0..=1 => self.store(lane(bytes), below(bytes, 6) + 1),
            2..=5 => self.poll(bytes),
            6..=7 => self.lane_opened(bytes),
            8 => self.acked(bytes),
            9 if below(bytes, 3) == 0 => self.refused(bytes),
            9 => {
                let (lane, until) = (lane(bytes), Millis(below(bytes, 4) * 1_000));
                let generation = self.generation(lane, bytes);
                self.outbox.paused(lane, generation, self.now.after(until));
                if self.asked.get(&lane) == Some(&generation) {
                    self.in_flight.remove(&lane);
                    self.loading.remove(&lane);
                }
            }
            10 => {
                self.now = self.now.after(Millis(below(bytes, 4) * 500));
                if let Some(lane) = self.loading.pop_first() {
                    self.outbox.loaded(lane);
                }
            }
            _ if self.connected && below(bytes, 2) == 0 => self.disconnect(),
            _ => self.connect(),
        }
    }

    fn store(&mut self, lane: Lane, count: u64) {
        let through = self.stored.entry(lane).or_default();
        through.0 += count;
        self.outbox.stored(lane, Number::NONE, *through);
    }

    fn connect(&mut self) {
        self.disconnect();
        self.connected = true;
        self.outbox.connected(BUDGET_BYTES);
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.outbox.disconnected();
        self.asked.clear();
        self.ackable.clear();
        self.in_flight.clear();
        self.loading.clear();
    }

    /// The right generation, mostly.
    fn generation(&self, lane: Lane, bytes: &mut Unstructured<'_>) -> u32 {
        let asked = self.asked.get(&lane).copied().unwrap_or_default();
        if below(bytes, 8) == 0 { asked.wrapping_sub(1) } else { asked }
    }

    fn lane_opened(&mut self, bytes: &mut Unstructured<'_>) {
        let lane = lane(bytes);
        let generation = self.generation(lane, bytes);
        let acked = self.outbox.acked_through(lane).unwrap_or_default();
        let cursor = if below(bytes, 3) == 0 { number(bytes) } else { acked };
        let chain = match below(bytes, 4) {
            0 => None,
            1 => Some(Chain(below(bytes, 3))),
            _ => Some(chain_at(lane, cursor)),
        };
        let window_bytes = [0, 1, 500, u64::MAX][usize::try_from(below(bytes, 4)).unwrap_or(0)];
        let (dead, skipped) = (vec![number(bytes)], below(bytes, 3));
        let answer = LaneOpened { lane, generation, cursor, chain, window_bytes, dead, skipped };
        // What a connection does that is told what cannot be: it is given up.
        if self.connected && self.outbox.lane_opened(&answer).is_err() {
            self.disconnect();
        }
    }

    /// The server refuses anything; what is final has been sent and has no outcome.
    fn refused(&mut self, bytes: &mut Unstructured<'_>) {
        let lane = lane(bytes);
        let generation = self.generation(lane, bytes);
        let (first, through) = (number(bytes), number(bytes));
        let code = match below(bytes, 3) {
            0 => RefuseRunCode::Undecodable,
            1 => RefuseRunCode::Forbidden,
            _ => RefuseRunCode::TooLarge,
        };
        if !self.connected {
            return;
        }
        let acked = self.outbox.acked_through(lane).unwrap_or_default();
        match self.outbox.refused(&RefuseRun { lane, generation, first, through, code }) {
            Ok(Refusal::Final(numbers)) => {
                assert!(*numbers.start() > acked && *numbers.end() <= self.stored[&lane]);
                self.outbox.paused(lane, generation, Millis(u64::MAX));
                self.in_flight.remove(&lane);
                self.loading.remove(&lane);
                // They are declared, in their place, and the lane goes on.
                self.outbox.resume(lane);
            }
            Ok(Refusal::Over | Refusal::Held) => {}
            Err(_) => self.disconnect(),
        }
    }

    fn acked(&mut self, bytes: &mut Unstructured<'_>) {
        let lane = lane(bytes);
        let ackable = self.ackable(lane);
        let through = match below(bytes, 4) {
            0 => number(bytes),
            1 => Number(ackable.0.saturating_sub(below(bytes, 3))),
            _ => ackable,
        };
        if !self.connected {
            return;
        }
        match self.outbox.acked(&Ack { lane, through, skipped: below(bytes, 3) }) {
            Ok(()) => {
                assert!(through <= ackable, "{lane}: {through} was never sent");
                self.count_acked(lane, through);
            }
            Err(_) => self.disconnect(),
        }
    }

    fn count_acked(&mut self, lane: Lane, through: Number) {
        let flying = self.in_flight.entry(lane).or_default();
        while flying.pop_front_if(|(last, _)| *last <= through).is_some() {}
        let legitimate = self.legitimate.entry(lane).or_default();
        *legitimate = through.max(*legitimate);
    }

    fn ackable(&self, lane: Lane) -> Number {
        let acked = self.outbox.acked_through(lane).unwrap_or_default();
        self.ackable.get(&lane).copied().unwrap_or_default().max(acked)
    }

    fn poll(&mut self, bytes: &mut Unstructured<'_>) {
        let is_full = below(bytes, 8) == 0;
        let order = match is_full {
            true => self.outbox.poll_all_but_send(self.now),
            false => self.outbox.poll(self.now),
        };
        match order {
            None => {}
            Some(Order::Open { lane, generation, first, next }) => {
                self.opening(lane, generation, first, next);
            }
            Some(Order::Prove { lane, generation, cursor, chain }) => {
                self.prove(lane, generation, cursor, chain);
            }
            Some(Order::Send { lane, from, packets_max, .. }) if below(bytes, 4) == 0 => {
                self.check_send(lane, from, packets_max);
                self.loading.insert(lane);
                self.outbox.loading(lane);
            }
            Some(Order::Send { lane, from, packets_max, .. }) => {
                self.check_send(lane, from, packets_max);
                self.send(lane, from, packets_max.min(below(bytes, 4) + 1));
            }
            Some(Order::Drop { lane, through, .. }) => self.drop_through(lane, through),
        }
    }

    fn opening(&mut self, lane: Lane, generation: u32, first: Number, next: Number) {
        assert!(self.connected, "{lane} is opened for nobody");
        // An ack may have come since the lane was to be opened, so that there is nothing left to send.
        assert!(first <= next);
        assert_eq!(next, self.stored[&lane].next());
        self.asked.insert(lane, generation);
    }

    fn prove(&mut self, lane: Lane, generation: u32, cursor: Number, chain: Option<Chain>) {
        assert!(self.connected, "a proof for nobody");
        if cursor <= self.stored[&lane] && chain == Some(chain_at(lane, cursor)) {
            let ackable = self.ackable(lane).max(cursor);
            self.ackable.insert(lane, ackable);
            self.outbox.proven(lane, generation);
            self.count_acked(lane, cursor);
        } else {
            // The spool is re-keyed, and comes again.
            self.connect();
        }
    }

    fn check_send(&self, lane: Lane, from: Number, packets_max: u64) {
        assert!(self.connected && packets_max > 0);
        assert!(!self.loading.contains(&lane), "{lane} is being read");
        assert!(from <= self.stored[&lane], "{from} of {lane} is not stored");
        assert!(from > self.outbox.acked_through(lane).unwrap_or_default());
        let flying = |lane: &Lane| {
            let flying = self.in_flight.get(lane).into_iter().flatten();
            flying.map(|(_, bytes)| *bytes).sum::<u64>()
        };
        let all: u64 = self.in_flight.keys().map(flying).sum();
        assert!(flying(&lane) == 0 || all < BUDGET_BYTES, "{all} bytes are in flight");
    }

    fn send(&mut self, lane: Lane, from: Number, packets: u64) {
        let through = Number(from.0 + packets - 1).min(self.stored[&lane]);
        let bytes = (through.0 - from.0 + 1) * PACKET_BYTES;
        self.outbox.sent(lane, through, bytes);
        self.in_flight.entry(lane).or_default().push_back((through, bytes));
        let ackable = self.ackable(lane).max(through);
        self.ackable.insert(lane, ackable);
    }

    fn drop_through(&mut self, lane: Lane, through: Number) {
        let legitimate = self.legitimate.get(&lane).copied().unwrap_or_default();
        assert!(through <= legitimate, "{lane}: {through} was not acknowledged");
        assert!(through <= self.stored[&lane]);
        let before = self.dropped.insert(lane, through).unwrap_or_default();
        // The same number again only tells where the ledger's count of skipped ones begins.
        assert!(through >= before, "{lane}: dropped back");
    }

    /// Faults stop: everything drains without anything new (R11).
    fn meet_an_honest_server(&mut self) {
        self.connect();
        for _ in 0..ORDERS_MAX {
            match self.outbox.poll(self.now) {
                None => break,
                Some(Order::Open { lane, generation, first, next }) => {
                    self.opening(lane, generation, first, next);
                    let (cursor, chain, dead) = (first.before(), None, Vec::new());
                    let (window_bytes, skipped) = (PACKET_BYTES, 0);
                    let opened =
                        LaneOpened { lane, generation, cursor, chain, window_bytes, dead, skipped };
                    self.outbox.lane_opened(&opened).expect("an honest answer");
                }
                Some(Order::Prove { lane, generation, cursor, chain }) => {
                    self.prove(lane, generation, cursor, chain);
                }
                Some(Order::Send { lane, from, packets_max, .. }) => {
                    self.check_send(lane, from, packets_max);
                    self.send(lane, from, packets_max.min(3));
                    let ack = Ack { lane, through: self.ackable(lane), skipped: 0 };
                    self.outbox.acked(&ack).expect("an honest ack");
                    self.count_acked(lane, ack.through);
                }
                Some(Order::Drop { lane, through, .. }) => self.drop_through(lane, through),
            }
        }
        for (lane, stored) in self.stored.clone() {
            let stored = Some(stored);
            assert_eq!(self.outbox.acked_through(lane), stored, "{lane} is stuck");
            assert_eq!(self.dropped.get(&lane).copied(), stored, "{lane} was not dropped");
        }
    }
}
