//! The model client: around the outbox and a spool a shell that does what `actors/connection` does,
//! one small piece of work at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paquebot_protocol::frame::{Ack, OpenLane, Pause, RefuseRun, SKIP_BYTES, SkipReason};
use paquebot_protocol::outbox::{Order, Outbox, Refusal};
use paquebot_protocol::{Chain, Control, Frame, Held, Lane, Millis, Number, SpoolId};

use super::Options;
use super::spool::{Item, Spool};

/// How many runs are at hand after one read.
const RUNS_PER_READ: usize = 2;

/// The ping that follows `retire`: its answer says that the server has heard.
const RETIRED: u64 = 3;

/// Something that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    pub(crate) lane: Lane,
    pub(crate) generation: u32,
    pub(crate) first: Number,
    pub(crate) through: Number,
    pub(crate) skipped: bool,
}

/// A drop that no commit has made durable yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Drop {
    pub(crate) lane: Lane,
    pub(crate) through: Number,
    skipped: u64,
    dead: BTreeSet<Number>,
}

/// Work that the store does meanwhile; its answer may come after the connection it was for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    Read(Lane),
    Prove { lane: Lane, generation: u32, cursor: Number, chain: Option<Chain> },
}

/// The store cannot confirm the ledger's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// The ledger stands within a tombstone, and packets before it are still held.
    pub(crate) within_tombstone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) spool: Spool,
    pub(crate) outbox: Outbox,
    /// What no commit has made durable yet.
    pub(crate) lazy_drops: Vec<Drop>,
    /// What the server can never take, and has become dead letters here.
    pub(crate) refused: BTreeSet<(Lane, Number)>,
    /// Everything that ever went out, if that is kept.
    pub(crate) sent: Vec<Sent>,
    pub(crate) rekeyed: u32,
    options: Options,
    tasks: VecDeque<Task>,
    /// The generation that each lane was last opened with on this connection.
    opened: BTreeMap<Lane, u32>,
    /// What was read ahead, as it stood in the spool then.
    shelf: BTreeMap<Lane, VecDeque<Item>>,
    in_flight: BTreeMap<Lane, VecDeque<(Number, u64)>>,
    /// The highest number that may be acknowledged on this connection.
    ackable: BTreeMap<Lane, Number>,
    /// The packets that the server called dead and no drop has passed.
    dead: BTreeMap<Lane, BTreeSet<Number>>,
    /// Lanes that `retire` was said for, and no answer has come.
    retiring: Vec<Lane>,
}

impl Client {
    pub(crate) fn new(spool: Spool, options: Options) -> Self {
        let mut outbox = Outbox::default();
        for (lane, stored) in &spool.lanes {
            outbox.stored(*lane, stored.acked_through, stored.stored_through);
            if stored.retiring {
                outbox.retire(*lane);
            }
        }
        Self {
            spool,
            outbox,
            lazy_drops: Vec::new(),
            refused: BTreeSet::new(),
            sent: Vec::new(),
            rekeyed: 0,
            options,
            tasks: VecDeque::new(),
            opened: BTreeMap::new(),
            shelf: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            ackable: BTreeMap::new(),
            dead: BTreeMap::new(),
            retiring: Vec::new(),
        }
    }

    pub(crate) fn store(&mut self, lane: Lane, packets: &[Vec<u8>]) {
        self.spool.store(lane, packets);
        let stored = &self.spool.lanes[&lane];
        self.outbox.stored(lane, stored.acked_through, stored.stored_through);
    }

    /// No packet comes into the lane any more.
    pub(crate) fn retire(&mut self, lane: Lane) {
        if let Some(stored) = self.spool.lanes.get_mut(&lane) {
            stored.retiring = true;
            self.outbox.retire(lane);
        }
    }

    pub(crate) fn disconnected(&mut self) {
        self.outbox.disconnected();
        self.opened.clear();
        self.shelf.clear();
        self.in_flight.clear();
        self.ackable.clear();
        self.retiring.clear();
    }

    /// A server, or a mix-up of connections, acknowledges what was never sent on this one.
    pub(crate) fn hear_false_ack(&mut self, lane: Lane) {
        let Some(acked) = self.outbox.acked_through(lane) else { return };
        let most = self.ackable.get(&lane).copied().unwrap_or_default().max(acked);
        let ack = Ack { lane, through: most.next(), skipped: 0 };
        assert!(self.outbox.acked(&ack).is_err(), "{ack:?} is believed, {most} was sent");
    }

    /// Takes in a frame of an honest server, which is never a violation.
    pub(crate) fn hear(&mut self, control: Control, now: Millis) {
        match control {
            Control::LaneOpened(answers) => {
                for answer in answers {
                    self.dead.entry(answer.lane).or_default().extend(&answer.dead);
                    self.may_ack(answer.lane, answer.cursor);
                    self.outbox.lane_opened(&answer).expect("an honest lane_opened");
                }
            }
            Control::Dead(dead) => {
                self.dead.entry(dead.lane).or_default().extend(&dead.numbers);
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
            Control::RefuseRun(refused) => self.hear_refusal(&refused, now),
            Control::Pong(RETIRED) => {
                for lane in std::mem::take(&mut self.retiring) {
                    assert!(self.outbox.retire_heard(lane), "lane {lane} was not retired");
                    self.spool.forget(lane);
                }
            }
            Control::Pong(_) => {}
            other => panic!("expected what a server says, found {other:?}"),
        }
    }

    /// What can never be sent is declared, in one commit; anything else is sent again later.
    fn hear_refusal(&mut self, refused: &RefuseRun, now: Millis) {
        let RefuseRun { lane, generation, .. } = *refused;
        let until = now.after(self.options.refused_run_pause);
        match self.outbox.refused(refused).expect("an honest refusal") {
            Refusal::Over => {}
            Refusal::Held => self.pause(lane, generation, until),
            Refusal::Final(numbers) => {
                self.pause(lane, generation, until);
                let stored = self.spool.lanes.get_mut(&lane).expect("a lane that was sent");
                let buried = stored.bury(*numbers.start(), *numbers.end(), SkipReason::Refused);
                self.refused.extend(buried.into_iter().map(|(number, _)| (lane, number)));
                self.outbox.resume(lane);
            }
        }
    }

    fn may_ack(&mut self, lane: Lane, through: Number) {
        let most = self.ackable.entry(lane).or_default();
        *most = (*most).max(through);
    }

    fn pause(&mut self, lane: Lane, generation: u32, until: Millis) {
        self.outbox.paused(lane, generation, until);
        self.shelf.remove(&lane);
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
                Order::Drop { lane, through, skipped } => {
                    drops.push((lane, through));
                    let known = self.dead.entry(lane).or_default();
                    let alive = known.split_off(&through.next());
                    let dead = std::mem::replace(known, alive);
                    self.lazy_drops.push(Drop { lane, through, skipped, dead });
                }
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
        if let Some(wire) = wire {
            if !opening.is_empty() {
                wire.push_back(Frame::Control(Control::OpenLane(opening)));
            }
            if self.retiring.is_empty() {
                self.retiring.extend(std::iter::from_fn(|| self.outbox.poll_retire()));
                let retire = |lane: &Lane| Frame::Control(Control::Retire(*lane));
                wire.extend(self.retiring.iter().map(retire));
                let some = !self.retiring.is_empty();
                wire.extend(some.then_some(Frame::Control(Control::Ping(RETIRED))));
            }
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
        let shelf = self.shelf.entry(lane).or_default();
        shelf.retain(|item| item.through() >= from);
        let Some(item) = shelf.front().filter(|item| item.first() <= from) else {
            self.outbox.loading(lane);
            self.tasks.push_back(Task::Read(lane));
            return;
        };
        let frame = item.frame(lane, generation, from, packets_max);
        let (through, bytes, skipped) = match &frame {
            Frame::Run { run, .. } => (run.last(), run.encoded().len() as u64, false),
            Frame::Control(Control::Skip(skip)) => (skip.through, SKIP_BYTES, true),
            Frame::Control(other) => panic!("expected a run or a skip, found {other:?}"),
        };
        let stored = &self.spool.lanes[&lane];
        assert!(through <= stored.stored_through, "lane {lane}: sent before it was stored");
        assert!(skipped || through.since(from.before()) <= packets_max, "lane {lane}: ramp passed");
        let Options { window_bytes, budget_bytes, .. } = self.options;
        let all_bytes: u64 = self.in_flight.values().flatten().map(|(_, bytes)| bytes).sum();
        let flying = self.in_flight.entry(lane).or_default();
        let lane_bytes: u64 = flying.iter().map(|(_, bytes)| bytes).sum();
        let room = lane_bytes < window_bytes && all_bytes < budget_bytes;
        assert!(lane_bytes == 0 || room, "lane {lane}: {lane_bytes} of {all_bytes} in flight");
        flying.push_back((through, bytes));
        if self.options.keeps_log {
            self.sent.push(Sent { lane, generation, first: from, through, skipped });
        }
        wire.push_back(frame);
        self.may_ack(lane, through);
        self.outbox.sent(lane, through, bytes);
    }

    /// Whether the store owes answers.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// The store gives its next answer. A doubt that belongs to an earlier connection counts for
    /// nothing.
    pub(crate) fn finish_task(&mut self) -> Result<(), Doubt> {
        match self.tasks.pop_front() {
            Some(Task::Read(lane)) => {
                let from = self.outbox.sent_through(lane).unwrap_or_default().next();
                let stored = self.spool.lanes.get(&lane);
                let items = stored.map(|stored| stored.items_from(from).take(RUNS_PER_READ));
                let items = items.map(|items| items.cloned().collect()).unwrap_or_default();
                self.shelf.insert(lane, items);
                self.outbox.loaded(lane);
            }
            Some(Task::Prove { lane, generation, cursor, chain }) => {
                let stored = self.spool.lanes.get(&lane);
                let held = stored.map_or(Held::Unknown, |stored| stored.held(cursor));
                if held.proves(chain) {
                    self.outbox.proven(lane, generation);
                } else if self.opened.get(&lane) == Some(&generation) {
                    let within = |stored: &super::spool::StoredLane| stored.is_within_gone(cursor);
                    return Err(Doubt { within_tombstone: stored.is_some_and(within) });
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The drops become durable; gives the serials of the packets that go with them.
    pub(crate) fn commit_drops(&mut self) -> Vec<u64> {
        let mut serials = Vec::new();
        for Drop { lane, through, skipped, dead } in std::mem::take(&mut self.lazy_drops) {
            if let Some(stored) = self.spool.lanes.get_mut(&lane) {
                serials.extend(stored.drop_through(through, skipped, &dead));
            }
            self.outbox.dropped(lane, through);
        }
        serials
    }

    /// The spool takes a new name (R7). What was dropped under the old one is durable first.
    pub(crate) fn rekey(&mut self, id: SpoolId) -> Vec<u64> {
        let serials = self.commit_drops();
        self.rekeyed += 1;
        self.spool.rekey(id);
        serials
    }
}
