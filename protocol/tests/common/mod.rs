//! The rig: a client and a server joined by two ordered queues of frames, as TCP is, that may be cut
//! at any moment, losing what is on its way. Outbox, inbox, leases, runs and chains are the real
//! ones; stores, handler and shells are models, and everything that takes time in the program is a
//! move here, which a test or a random number chooses.
//!
//! What must hold always is asserted at each move, here and in the models; what must come out in the
//! end, in [`Pair::settle`].

#![allow(dead_code, reason = "every test file uses a part of the rig")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

pub(crate) mod attempt;
pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod handler;
pub(crate) mod jobs;
pub(crate) mod ledger;
pub(crate) mod moves;
pub(crate) mod options;
pub(crate) mod packets;
pub(crate) mod sender;
pub(crate) mod server;
pub(crate) mod spool;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, LaneKey, Millis, Number};

use client::Client;
pub(crate) use options::Options;

use handler::Mood;
use ledger::{Fence, data_of};
use moves::{Link, Move};
use server::Server;
use spool::Spool;

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) now: Millis,
    options: Options,
    link: Option<Link>,
    /// The serial numbers of all packets that were ever stored, but for those a restored spool lost.
    accepted: BTreeMap<(Lane, Number), u64>,
    /// The packets that a tombstone stands for.
    expired: BTreeSet<(Lane, Number)>,
    serials: u64,
    effects_checked: usize,
    /// What a restored spool or a ledger that lost a lane may cost: exact counts on both sides.
    counts_differ: bool,
    /// A client came to doubt because the ledger stood within a tombstone.
    pub(crate) doubts_within_tombstones: u32,
}

impl Pair {
    pub(crate) fn new(options: Options) -> Self {
        let mut pair = Self {
            client: Client::new(Spool::new(1), options),
            server: Server::new(options),
            now: Millis(0),
            options,
            link: None,
            accepted: BTreeMap::new(),
            expired: BTreeSet::new(),
            serials: 0,
            effects_checked: 0,
            counts_differ: false,
            doubts_within_tombstones: 0,
        };
        pair.reconnect();
        pair
    }

    /// The application hands over `count` packets.
    pub(crate) fn store(&mut self, lane: Lane, count: u64) {
        let lanes = &self.client.spool.lanes;
        let mut number = lanes.get(&lane).map_or(Number::NONE, |stored| stored.stored_through);
        let mut packets = Vec::new();
        for _ in 0..count {
            number = number.next();
            self.serials += 1;
            self.accepted.insert((lane, number), self.serials);
            packets.push(data_of(self.serials));
        }
        self.client.store(lane, &packets);
        self.client_acts();
    }

    /// The newest packets of the lane, as many as that, expire.
    pub(crate) fn expire(&mut self, lane: Lane, count: u64) {
        let stored = self.client.spool.lanes.get(&lane);
        let through = stored.map_or(Number::NONE, |stored| stored.stored_through);
        let from = Number(through.0.saturating_sub(count) + 1);
        self.bury(lane, from, through, SkipReason::Expired);
    }

    /// Packets of the lane are put away for a tombstone.
    pub(crate) fn bury(&mut self, lane: Lane, from: Number, through: Number, reason: SkipReason) {
        if let Some(stored) = self.client.spool.lanes.get_mut(&lane) {
            let buried = stored.bury(from, through, reason);
            self.expired.extend(buried.into_iter().map(|(number, _)| (lane, number)));
        }
        self.check();
    }

    /// One piece of work is done, which `choice` picks among all that may be next.
    pub(crate) fn step(&mut self, choice: usize) -> bool {
        let moves = self.moves();
        let Some(next) = choice.checked_rem(moves.len()).map(|at| moves[at]) else { return false };
        self.make(next);
        self.check();
        true
    }

    /// Everything that can be done without waiting is done.
    pub(crate) fn run_dry(&mut self) {
        let mut steps = 0;
        while self.step(steps) {
            steps += 1;
            assert!(steps < 100_000, "there is no end to it");
        }
    }

    /// The link breaks, and what is on its way is lost. The client knows at once; the server's
    /// session learns it at some later step.
    pub(crate) fn cut(&mut self) {
        if self.link.take().is_some() {
            self.client.disconnected();
            self.client_acts();
        }
    }

    pub(crate) fn reconnect(&mut self) {
        if self.link.is_none() {
            let Spool { id: spool, opened, nonce, .. } = self.client.spool;
            let Some(session) = self.server.welcome(Fence { spool, opened, nonce }) else {
                return self.rekey();
            };
            let (to_server, to_client) = (VecDeque::new(), VecDeque::new());
            self.link = Some(Link { session, to_server, to_client, is_full: false });
            self.client.outbox.connected(self.options.budget_bytes);
            self.client_acts();
        }
    }

    /// The client loses its memory, and with it the acks that no commit has made durable.
    pub(crate) fn crash_client(&mut self) {
        self.link = None;
        let mut spool = self.client.spool.clone();
        spool.open(spool.nonce + 1);
        self.start_client(spool);
    }

    /// The client comes back with a copy of its spool from earlier.
    pub(crate) fn restore_spool(&mut self, earlier: Spool) {
        self.link = None;
        let there = |lane: &Lane| earlier.lanes.get(lane).map(|stored| stored.stored_through);
        self.accepted.retain(|(lane, number), _| Some(*number) <= there(lane));
        self.counts_differ = true;
        let mut spool = earlier;
        spool.open(self.client.spool.nonce + 1);
        self.start_client(spool);
    }

    /// Sessions, leases and attempts are gone.
    pub(crate) fn crash_server(&mut self) {
        self.server.crash();
        self.cut();
    }

    /// The server comes back with a ledger that knows nothing of the lane, as after a restore. The
    /// client's drops are durable by then.
    pub(crate) fn forget_lane(&mut self, lane: Lane) {
        self.client.commit_drops();
        self.counts_differ = true;
        self.crash_server();
        let key = self.key(lane);
        self.server.ledger.forget(key);
    }

    pub(crate) fn fail_handler(&mut self, lane: Lane) {
        self.server.handler.set_mood(lane, Mood::Failing);
    }

    pub(crate) fn creep_handler(&mut self, lane: Lane) {
        self.server.handler.set_mood(lane, Mood::Creeping);
    }

    pub(crate) fn stumble_handler(&mut self, lane: Lane) {
        self.server.handler.set_mood(lane, Mood::Stumbling);
    }

    pub(crate) fn delay_handler(&mut self, lane: Lane) {
        self.server.handler.set_mood(lane, Mood::Slow);
    }

    /// The next run of the lane that arrives is found damaged.
    pub(crate) fn refuse_run(&mut self, lane: Lane) {
        self.server.refusing.insert(lane);
    }

    /// The last packet of the lane's next run that arrives is longer than the server takes.
    pub(crate) fn refuse_packet(&mut self, lane: Lane) {
        self.server.too_long.insert(lane);
    }

    /// There is no room for the next run of the lane that arrives.
    pub(crate) fn put_off(&mut self, lane: Lane) {
        self.server.putting_off.insert(lane);
    }

    pub(crate) fn heal_handler(&mut self, lane: Lane) {
        self.server.handler.set_mood(lane, Mood::Well);
    }

    /// The client's socket takes no more packets for a while, or takes them again.
    pub(crate) fn fill_socket(&mut self, is_full: bool) {
        if let Some(link) = &mut self.link {
            link.is_full = is_full;
            self.client_acts();
        }
    }

    pub(crate) fn wait(&mut self, length: Millis) {
        self.now = self.now.after(length);
        self.client_acts();
    }

    /// Faults stop, nothing new comes in; everything must drain in a bounded number of steps.
    pub(crate) fn settle(&mut self) {
        self.server.handler.be_well();
        self.server.refusing.clear();
        self.server.too_long.clear();
        self.server.putting_off.clear();
        self.fill_socket(false);
        let pending: u64 = self.accepted.len() as u64;
        let steps_max = 200 + 60 * usize::try_from(pending).unwrap_or(usize::MAX);
        for step in 0.. {
            assert!(step < steps_max, "not drained after {steps_max} steps: {}", self.state());
            self.reconnect();
            if !self.step(step) {
                let Some(due) = self.client.outbox.deadline() else { break };
                self.now = self.now.max(due);
                self.client_acts();
            }
        }
        self.check_drained();
    }

    /// The serial numbers of what was handled in a lane, in the order in which that happened.
    pub(crate) fn handled(&self, lane: Lane) -> Vec<u64> {
        let effects = self.server.handler.effects.iter();
        effects.filter(|effect| effect.key.lane == lane).map(|effect| effect.serial).collect()
    }

    pub(crate) fn cursor(&self, lane: Lane) -> Option<Number> {
        self.server.ledger.cursor(self.key(lane))
    }

    fn rekey(&mut self) {
        // What was acknowledged, and what the ledger counted, belongs to the old name.
        self.cut();
        let mut id = self.client.spool.id;
        id.0[15] = id.0[15].wrapping_add(1);
        self.client.rekey(id);
        self.counts_differ = true;
        self.server.handler.may_repeat.extend(self.accepted.values());
    }

    fn key(&self, lane: Lane) -> LaneKey {
        LaneKey { spool: self.client.spool.id, lane }
    }

    fn start_client(&mut self, spool: Spool) {
        let Client { sent, rekeyed, .. } =
            std::mem::replace(&mut self.client, Client::new(spool, self.options));
        (self.client.sent, self.client.rekeyed) = (sent, rekeyed);
    }

    /// The choice that lets the server go on, if it can.
    pub(crate) fn server_job(&self) -> usize {
        let is_job = |next: &Move| matches!(next, Move::ServerJob(_));
        self.moves().iter().position(is_job).unwrap_or_default()
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if let Some(link) = &self.link {
            let (up, down) = (link.to_server.len(), link.to_client.len());
            moves.extend((up > 0).then_some(Move::ToServer(1)));
            moves.extend((up > 1).then_some(Move::ToServer(up)));
            moves.extend((down > 0).then_some(Move::ToClient(1)));
            moves.extend((down > 1).then_some(Move::ToClient(down)));
        }
        moves.extend(self.client.is_waiting().then_some(Move::ClientTask));
        moves.extend((!self.client.lazy_drops.is_empty()).then_some(Move::CommitDrops));
        moves.extend(self.server.jobs().map(Move::ServerJob));
        let linked = self.link.as_ref().map(|link| link.session);
        let dead = self.server.open_sessions().filter(|id| Some(*id) != linked);
        moves.extend(dead.map(Move::ServerNotices));
        moves
    }

    fn make(&mut self, next: Move) {
        match (next, &mut self.link) {
            (Move::ToServer(count), Some(link)) => {
                let frames = link.to_server.drain(..count).collect();
                let answers = self.server.hear(link.session, frames);
                let answers = answers.expect("what an honest client says");
                link.to_client.extend(answers);
            }
            (Move::ToClient(count), Some(link)) => {
                for control in link.to_client.drain(..count) {
                    self.client.hear(control, self.now);
                }
                self.expired.append(&mut self.client.refused);
                self.client_acts();
            }
            (Move::ToServer(_) | Move::ToClient(_), None) => {}
            (Move::ClientTask, _) => {
                if let Err(doubt) = self.client.finish_task() {
                    self.doubts_within_tombstones += u32::from(doubt.within_tombstone);
                    self.rekey();
                }
                self.client_acts();
            }
            (Move::CommitDrops, _) => {
                self.client.commit_drops();
                self.client_acts();
            }
            (Move::ServerJob(at), link) => {
                // What a session says to a link that is gone is lost.
                if let Some((session, answers)) = self.server.go_on(at)
                    && let Some(link) = link.as_mut().filter(|link| link.session == session)
                {
                    link.to_client.extend(answers);
                }
            }
            (Move::ServerNotices(session), _) => self.server.close(session),
        }
    }

    fn client_acts(&mut self) {
        let is_full = self.link.as_ref().is_some_and(|link| link.is_full);
        let wire = self.link.as_mut().map(|link| &mut link.to_server);
        for (lane, through) in self.client.act(self.now, wire, is_full) {
            let reached = self.server.reached(self.key(lane));
            assert!(through <= reached, "lane {lane}: {through} dropped, {reached} durable");
        }
    }

    /// What must hold after each step and is not asserted where it happens.
    fn check(&mut self) {
        for effect in self.server.handler.effects.iter().skip(self.effects_checked) {
            let stored = self.accepted.get(&(effect.key.lane, effect.number));
            assert_eq!(stored, Some(&effect.serial), "{effect:?} is not what was stored");
        }
        self.effects_checked = self.server.handler.effects.len();
        for (lane, stored) in &self.client.spool.lanes {
            let acked = self.client.outbox.acked_through(*lane).unwrap_or_default();
            assert!(stored.acked_through <= acked, "lane {lane}: dropped before it was acked");
            assert!(acked <= stored.stored_through, "lane {lane}: acked what does not exist");
            stored.check(*lane);
        }
        self.server.ledger.check();
    }

    fn check_drained(&mut self) {
        self.client.commit_drops();
        for (lane, stored) in &self.client.spool.lanes {
            let (acked, through) = (stored.acked_through, stored.stored_through);
            assert_eq!(acked, through, "lane {lane} is not drained: {}", self.state());
            let theirs = self
                .server
                .ledger
                .row(self.key(*lane))
                .map_or((0, 0), |cursor| (cursor.handled, cursor.dead));
            let ours = (stored.totals.handled, stored.totals.dead);
            assert!(self.counts_differ || ours == theirs, "lane {lane}: {ours:?}, {theirs:?}");
        }
        let handled: BTreeSet<u64> =
            self.server.handler.effects.iter().map(|effect| effect.serial).collect();
        for (at, serial) in &self.accepted {
            let done = handled.contains(serial) || self.expired.contains(at);
            assert!(done, "{at:?} was neither handled nor declared: {}", self.state());
        }
    }

    fn state(&self) -> String {
        format!("{:#?} {:#?}", self.client.outbox, self.server)
    }
}
