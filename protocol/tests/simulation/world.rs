//! The world: several clients, one server and bad links, in virtual time. Everything that may happen
//! next is an [`Action`], which a seed or the model checker chooses; after each one the invariants
//! are checked.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use paquebot_protocol::frame::{Hello, Limits, Refused, RefusedCode, SkipReason, VERSION, Welcome};
use paquebot_protocol::heartbeat::Beat;
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Control, Frame, Lane, LaneKey, LedgerId, Millis, Number, SpoolId};

use crate::common::Options;
use crate::common::handler::Mood;
use crate::common::ledger::{Fence, Ledger, data_of};
use crate::common::server::Server;
use crate::common::spool::Spool;
use crate::link::{Link, decoded};
use crate::machine::Machine;

/// Something that happens. The first group is work that goes on by itself, the second what people and
/// clocks do, the third are faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The first frames on their way arrive together.
    ToServer(u64, usize),
    ToClient(u64, usize),
    /// Some bytes of a frame arrive, and not its end.
    Part(u64),
    /// One end learns that the other is gone.
    ServerNotices(u64),
    ClientNotices(u64),
    Task(usize),
    Commit(usize),
    Job(usize),
    Dial(usize),

    Store {
        machine: usize,
        slot: usize,
        count: u64,
        poison: bool,
    },
    Bury {
        machine: usize,
        slot: usize,
        from: u64,
        count: u64,
        reason: SkipReason,
    },
    Retire(usize, usize),
    Mood(Lane, Mood),
    Wait(Millis),

    Reset(u64),
    Stall(u64),
    Corrupt(u64),
    /// A frame is lost, comes twice, or changes places with the next, as if the client's shell erred.
    Lose(u64),
    Double(u64),
    Swap(u64),
    /// The server acknowledges what it was never sent.
    FalseAck(usize, usize),
    FillSocket(usize, bool),
    FillDisk(usize, bool),
    FailCommit(usize),
    FailLedger(bool),
    CrashClient(usize),
    CrashServer,
    Backup(usize),
    Restore(usize),
    Clone(usize),
    BackupLedger,
    RestoreLedger,
    LoseLedger,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) machines: Vec<Machine>,
    pub(crate) server: Server,
    pub(crate) links: Vec<Link>,
    ledger_id: u8,
    ledger_backup: Option<Ledger>,
    options: Options,
    links_ever: u64,
    serials: u64,
    nonces: u64,
    spools: u8,
    /// Every packet that some client said was stored, but for those that a restored spool lost.
    accepted: BTreeSet<u64>,
    /// The packets that a tombstone stands for somewhere.
    declared: BTreeSet<u64>,
    /// How often a client took a new name because the ledger stood within a tombstone.
    pub(crate) doubts_within_tombstones: u64,
}

impl World {
    pub(crate) fn new(machines: usize, slots: usize, options: Options) -> Self {
        let machine = |at: usize| {
            let id = u8::try_from(at + 1).expect("few machines");
            Machine::new(Spool::new(id), slots, options)
        };
        Self {
            now: Millis(0),
            machines: (0..machines).map(machine).collect(),
            server: Server::new(options),
            links: Vec::new(),
            ledger_id: 1,
            ledger_backup: None,
            options,
            links_ever: 0,
            serials: 0,
            nonces: 100,
            spools: 100,
            accepted: BTreeSet::new(),
            declared: BTreeSet::new(),
            doubts_within_tombstones: 0,
        }
    }

    /// The work that can go on now.
    pub(crate) fn work(&self) -> Vec<Action> {
        let mut work = Vec::new();
        for link in &self.links {
            let (up, down, id) = (link.to_server.len(), link.to_client.len(), link.id);
            let (client, server) = (link.client_is_there, link.server_is_there);
            let moves = !link.is_stalled;
            if server && moves {
                work.extend((up > 0).then_some(Action::ToServer(id, 1)));
                work.extend((up > 1).then_some(Action::ToServer(id, up)));
                work.extend((up == 0 && !client).then_some(Action::ServerNotices(id)));
            }
            if client && moves {
                work.extend((down > 0).then_some(Action::ToClient(id, 1)));
                work.extend((down > 1).then_some(Action::ToClient(id, down)));
                work.extend((down == 0 && !server).then_some(Action::ClientNotices(id)));
            }
            if server && self.is_superseded(link) {
                work.push(Action::ServerNotices(id));
            }
        }
        for (at, machine) in self.machines.iter().enumerate() {
            work.extend(machine.client.is_waiting().then_some(Action::Task(at)));
            work.extend(machine.has_work().then_some(Action::Commit(at)));
            let dials = machine.link.is_none() && machine.dial_at <= self.now;
            work.extend(dials.then_some(Action::Dial(at)));
        }
        work.extend(self.server.jobs().map(Action::Job));
        work
    }

    /// When something happens next although nothing is on its way.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        let machines = self.machines.iter();
        let dials = machines.clone().filter(|machine| machine.link.is_none());
        let dials = dials.map(|machine| machine.dial_at);
        let resumes = machines.filter_map(|machine| machine.client.outbox.deadline());
        let beats = self.links.iter().filter(|_| self.options.has_heartbeat).flat_map(|link| {
            let client = link.client_is_there.then(|| link.client_beat.deadline());
            let server = link.server_is_there.then(|| link.server_beat.deadline());
            client.into_iter().chain(server)
        });
        dials.chain(resumes).chain(beats).filter(|at| *at > self.now).min()
    }

    /// Does it, if it can be done, and checks what must hold always.
    pub(crate) fn apply(&mut self, action: Action) {
        match action {
            Action::ToServer(link, count) => self.to_server(link, count),
            Action::ToClient(link, count) => self.to_client(link, count),
            Action::Part(link) => {
                let now = self.now;
                if let Some(link) = self.link(link).filter(|link| !link.is_stalled) {
                    if !link.to_client.is_empty() {
                        link.client_beat.heard(now);
                    }
                    if !link.to_server.is_empty() {
                        link.server_beat.heard(now);
                    }
                }
            }
            Action::ServerNotices(link) => self.server_leaves(link),
            Action::ClientNotices(link) => {
                if let Some(machine) = self.link(link).map(|link| link.machine) {
                    self.lose(machine);
                }
            }
            Action::Task(at) => {
                if let Err(doubt) = self.machines[at].client.finish_task() {
                    self.doubts_within_tombstones += u64::from(doubt.within_tombstone);
                    self.rekey(at, doubt.within_tombstone);
                }
                self.act(at);
            }
            Action::Commit(at) => self.commit(at),
            Action::Job(at) => {
                if let Some((session, answers)) = self.server.go_on(at) {
                    self.say(session, answers);
                }
            }
            Action::Dial(at) => self.dial(at),
            Action::Store { machine, slot, count, poison } => {
                let serials = self.serials + 1..=self.serials + count;
                self.serials += count;
                if poison {
                    self.server.handler.poison.insert(self.serials);
                }
                let packets = serials.map(data_of).collect();
                self.machines[machine].staged.push((slot, packets));
            }
            Action::Bury { machine, slot, from, count, reason } => {
                let Some(lane) = self.machines[machine].lane(slot) else { return };
                let lanes = &mut self.machines[machine].client.spool.lanes;
                let Some(stored) = lanes.get_mut(&lane) else { return };
                let from = Number(stored.acked_through.0 + from);
                let buried = stored.bury(from, Number(from.0 + count - 1), reason);
                self.declared.extend(buried.into_iter().map(|(_, serial)| serial));
            }
            Action::Retire(machine, slot) => {
                self.machines[machine].retire(slot);
                self.act(machine);
            }
            Action::Mood(lane, mood) => self.server.handler.set_mood(lane, mood),
            Action::Wait(length) => self.wait(length),
            Action::Reset(link) => {
                if let Some(link) = self.link(link) {
                    link.reset();
                    let machine = link.machine;
                    let id = link.id;
                    let used = self.machines[machine].link == Some(id);
                    if used {
                        self.lose(machine);
                    }
                }
            }
            Action::Stall(link) => {
                if let Some(link) = self.link(link) {
                    link.is_stalled = true;
                }
            }
            Action::Corrupt(link) => {
                if let Some(link) = self.link(link) {
                    link.corrupt();
                }
            }
            Action::Lose(link) => self.tamper(link, |frames| _ = frames.pop_front()),
            Action::Double(link) => self.tamper(link, |frames| {
                let first = frames.front().cloned();
                first.into_iter().for_each(|frame| frames.push_front(frame));
            }),
            Action::Swap(link) => self.tamper(link, |frames| {
                if frames.len() > 1 {
                    frames.swap(0, 1);
                }
            }),
            Action::FalseAck(at, slot) => {
                if let Some(lane) = self.machines[at].lane(slot) {
                    self.machines[at].client.hear_false_ack(lane);
                    self.lose(at);
                }
            }
            Action::FillSocket(at, is_full) => {
                self.machines[at].is_full = is_full;
                self.act(at);
            }
            Action::FillDisk(at, is_full) => self.machines[at].disk_is_full = is_full,
            Action::FailCommit(at) => self.machines[at].commit_fails = true,
            Action::FailLedger(fails) => self.server.ledger_fails = fails,
            Action::CrashClient(at) => {
                let copy = self.machines[at].copy();
                self.start(at, copy);
            }
            Action::CrashServer => self.crash_server(),
            Action::Backup(at) => self.machines[at].backup = Some(self.machines[at].copy()),
            Action::Restore(at) => self.restore(at),
            Action::Clone(at) => self.clone_machine(at),
            Action::BackupLedger => self.ledger_backup = Some(self.server.ledger.clone()),
            Action::RestoreLedger => {
                if let Some(earlier) = self.ledger_backup.clone() {
                    self.replace_ledger(earlier);
                }
            }
            Action::LoseLedger => {
                self.ledger_id = self.ledger_id.wrapping_add(1);
                self.replace_ledger(Ledger::default());
            }
        }
        self.links.retain(|link| link.client_is_there || link.server_is_there);
        self.check();
    }

    /// Faults stop, and nothing new comes in.
    pub(crate) fn heal(&mut self) {
        self.server.handler.be_well();
        self.server.ledger_fails = false;
        // TCP loses no frames; who lost some waits for answers that never come.
        let tampered = self.links.iter().filter(|link| link.is_tampered_with);
        for id in tampered.map(|link| link.id).collect::<Vec<_>>() {
            self.apply(Action::Reset(id));
        }
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            (machine.is_full, machine.disk_is_full, machine.commit_fails) = (false, false, false);
            self.act(at);
        }
    }

    /// Every packet has come to its end, and nothing is left to be done for one.
    pub(crate) fn is_drained(&self) -> bool {
        self.machines.iter().all(Machine::is_drained)
    }

    fn link(&mut self, id: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// A newer session of the same spool is there, or a later opening of it is on record.
    fn is_superseded(&self, link: &Link) -> bool {
        let Some((session, fence)) =
            link.session.and_then(|id| self.server.fence(id).map(|fence| (id, fence)))
        else {
            return false;
        };
        let mut newer =
            self.links.iter().filter_map(|link| link.session).filter(|id| *id > session);
        newer.any(|id| self.server.fence(id).is_some_and(|other| other.spool == fence.spool))
    }

    fn to_server(&mut self, id: u64, count: usize) {
        let heard = if self.options.has_heartbeat { self.now } else { Millis(0) };
        let Some(link) = self.link(id).filter(|link| link.server_is_there) else { return };
        link.server_beat.heard(heard);
        let count = count.min(link.to_server.len());
        let frames: Vec<Frame> = link.to_server.drain(..count).map(|body| decoded(&body)).collect();
        let mut rest = VecDeque::from(frames);
        if let Some(Frame::Control(Control::Hello(_))) = rest.front()
            && let Some(Frame::Control(Control::Hello(hello))) = rest.pop_front()
        {
            self.welcome(id, &hello);
        }
        if let Some(session) = self.link(id).and_then(|link| link.session) {
            match self.server.hear(session, rest.into()) {
                Ok(answers) => self.say(session, answers),
                Err(violation) => {
                    let is_honest = self.link(id).is_some_and(|link| !link.is_tampered_with);
                    assert!(!is_honest, "an honest client, and {violation:?}");
                    self.server_leaves(id);
                }
            }
        }
    }

    /// Only what comes after the welcome: before it there is nothing to lose.
    fn tamper(&mut self, id: u64, change: impl FnOnce(&mut VecDeque<Bytes>)) {
        if let Some(link) = self.link(id).filter(|link| link.session.is_some()) {
            link.is_tampered_with = true;
            change(&mut link.to_server);
        }
    }

    fn welcome(&mut self, id: u64, hello: &Hello) {
        let fence = Fence { spool: hello.spool, opened: hello.opened, nonce: hello.nonce };
        let session = self.server.welcome(fence);
        let ledger = LedgerId([self.ledger_id; 16]);
        let Some(link) = self.link(id) else { return };
        link.session = session;
        let answer = if session.is_some() {
            welcome(ledger)
        } else {
            let (code, message) = (RefusedCode::Rekey, "another opening is on record".to_owned());
            let retry_after_ms = None;
            Control::Refused(Refused { code, message, retry_after_ms })
        };
        link.send_down([Frame::Control(answer)]);
        if session.is_none() {
            link.server_is_there = false;
        }
    }

    fn to_client(&mut self, id: u64, count: usize) {
        let now = self.now;
        let heard = if self.options.has_heartbeat { self.now } else { Millis(0) };
        let Some(link) = self.link(id).filter(|link| link.client_is_there) else { return };
        link.client_beat.heard(heard);
        let at = link.machine;
        let count = count.min(link.to_client.len());
        let bodies: Vec<_> = link.to_client.drain(..count).collect();
        for body in bodies {
            if self.machines[at].link != Some(id) {
                return;
            }
            let Frame::Control(control) = decoded(&body) else { panic!("a run from the server") };
            match control {
                Control::Welcome(_) => {
                    let machine = &mut self.machines[at];
                    (machine.welcomed, machine.is_full) = (true, false);
                    machine.backoff.reset();
                    machine.client.outbox.connected(self.options.budget_bytes);
                }
                Control::Refused(refused) if refused.code == RefusedCode::Rekey => {
                    self.rekey(at, false);
                }
                Control::Refused(_) => self.lose(at),
                Control::Ping(number) => {
                    let pong = Frame::Control(Control::Pong(number));
                    self.link(id).into_iter().for_each(|link| link.send_up([pong.clone()]));
                }
                Control::Pong(_) => {}
                other => self.machines[at].client.hear(other, now),
            }
        }
        self.act(at);
    }

    fn dial(&mut self, at: usize) {
        self.links_ever += 1;
        let id = self.links_ever;
        let machine = &mut self.machines[at];
        let Spool { id: spool, opened, nonce, .. } = machine.client.spool;
        (machine.link, machine.welcomed) = (Some(id), false);
        let start = if self.options.has_heartbeat { self.now } else { Millis(0) };
        let mut link = Link::new(id, at, start);
        link.send_up([Frame::Control(hello(spool, opened, nonce))]);
        self.links.push(link);
    }

    /// The client gives its link up, and dials again later.
    fn lose(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let id = machine.link.take();
        machine.client.disconnected();
        // Without heartbeats nothing depends on when exactly something happens.
        if self.options.has_heartbeat {
            self.nonces += 1;
            machine.dial_at = self.now.after(machine.backoff.next(self.nonces.wrapping_mul(7919)));
        }
        if let Some(link) = id.and_then(|id| self.link(id)) {
            link.client_is_there = false;
            link.to_client.clear();
        }
        self.act(at);
    }

    fn server_leaves(&mut self, id: u64) {
        let Some(link) = self.link(id) else { return };
        link.server_is_there = false;
        link.to_server.clear();
        if let Some(session) = link.session {
            self.server.close(session);
        }
    }

    fn rekey(&mut self, at: usize, within_tombstone: bool) {
        let machine = &mut self.machines[at];
        assert!(machine.may_rekey || within_tombstone, "one history was taken for two");
        self.spools += 1;
        let dropped = machine.client.rekey(SpoolId([self.spools; 16]));
        self.check_dropped(&dropped);
        self.machines[at].counts_differ = true;
        self.may_repeat(at);
        self.lose(at);
    }

    /// Everything that this client holds may be handled a second time.
    fn may_repeat(&mut self, at: usize) {
        let lanes = self.machines[at].client.spool.lanes.values();
        let serials = lanes.flat_map(|lane| lane.pending().map(|(_, serial)| serial));
        self.server.handler.may_repeat.extend(serials);
    }

    fn commit(&mut self, at: usize) {
        let (dropped, accepted) = self.machines[at].commit();
        self.check_dropped(&dropped);
        self.accepted.extend(accepted);
        self.act(at);
    }

    /// R3: what is dropped has come to its end; a copy of the spool may have declared it gone.
    fn check_dropped(&self, serials: &[u64]) {
        for serial in serials {
            assert!(
                self.has_ended(*serial),
                "packet {serial} was dropped, and nobody has handled it"
            );
        }
    }

    fn has_ended(&self, serial: u64) -> bool {
        let handler = &self.server.handler;
        let known = [&handler.handled, &handler.dead, &self.declared];
        known.iter().any(|known| known.contains(&serial))
    }

    fn act(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let mut wire = VecDeque::new();
        let connected = machine.link.is_some() && machine.welcomed;
        let drops = machine.client.act(self.now, connected.then_some(&mut wire), machine.is_full);
        let (id, spool) = (machine.link, machine.client.spool.id);
        if let Some(link) = id.and_then(|id| self.link(id)) {
            link.send_up(wire);
        }
        for (lane, through) in drops {
            let reached = self.server.reached(LaneKey { spool, lane });
            assert!(through <= reached, "lane {lane}: {through} dropped, {reached} durable");
        }
    }

    fn say(&mut self, session: SessionId, answers: Vec<Control>) {
        let refused = answers.iter().any(|answer| matches!(answer, Control::Refused(_)));
        let link = self.links.iter_mut().find(|link| link.session == Some(session));
        if let Some(link) = link.filter(|link| link.server_is_there) {
            link.send_down(answers.into_iter().map(Frame::Control));
            if refused {
                link.server_is_there = false;
            }
        }
    }

    fn wait(&mut self, length: Millis) {
        self.now = self.now.after(length);
        let now = self.now;
        let (mut lost, mut left) = (Vec::new(), Vec::new());
        for link in self.links.iter_mut().filter(|_| self.options.has_heartbeat) {
            let beat = link.client_is_there.then(|| link.client_beat.poll(now)).flatten();
            match beat {
                Some(Beat::Ping) => link.send_up(ping(link)),
                Some(Beat::Dead) => lost.push(link.machine),
                None => {}
            }
            let beat = link.server_is_there.then(|| link.server_beat.poll(now)).flatten();
            match beat {
                Some(Beat::Ping) if link.session.is_some() => {
                    link.send_down([Frame::Control(Control::Ping(2))]);
                }
                Some(Beat::Dead) => left.push(link.id),
                _ => {}
            }
        }
        lost.into_iter().for_each(|at| self.lose(at));
        left.into_iter().for_each(|id| self.server_leaves(id));
        for at in 0..self.machines.len() {
            self.act(at);
        }
    }

    /// The client's process ends, and comes back with `copy`.
    fn start(&mut self, at: usize, mut copy: crate::machine::Copy) {
        self.nonces += 1;
        copy.spool.open(self.nonces);
        if let Some(link) = self.machines[at].link.and_then(|id| self.link(id)) {
            link.client_is_there = false;
            link.to_client.clear();
        }
        let mut machine = Machine::from_copy(copy, self.options);
        let before = &self.machines[at];
        machine.client.rekeyed = before.client.rekeyed;
        machine.backup.clone_from(&before.backup);
        (machine.may_rekey, machine.counts_differ) = (before.may_rekey, before.counts_differ);
        (machine.disk_is_full, machine.dial_at) = (before.disk_is_full, self.now);
        self.machines[at] = machine;
    }

    fn restore(&mut self, at: usize) {
        let Some(copy) = self.machines[at].backup.clone() else { return };
        let pending = |machine: &Machine| -> BTreeSet<u64> {
            let lanes = machine.client.spool.lanes.values();
            lanes.flat_map(|lane| lane.pending().map(|(_, serial)| serial)).collect()
        };
        let before = pending(&self.machines[at]);
        (self.machines[at].may_rekey, self.machines[at].counts_differ) = (true, true);
        self.start(at, copy);
        let held: BTreeSet<u64> = self.machines.iter().flat_map(pending).collect();
        self.accepted.retain(|serial| !before.contains(serial) || held.contains(serial));
    }

    fn clone_machine(&mut self, at: usize) {
        (self.machines[at].may_rekey, self.machines[at].counts_differ) = (true, true);
        let copy = self.machines[at].copy();
        self.machines.push(self.machines[at].clone());
        let last = self.machines.len() - 1;
        self.machines[last].link = None;
        self.start(last, copy);
    }

    fn crash_server(&mut self) {
        self.server.crash();
        for link in &mut self.links {
            link.server_is_there = false;
            link.to_server.clear();
        }
    }

    fn replace_ledger(&mut self, ledger: Ledger) {
        self.crash_server();
        self.server.ledger = ledger;
        for at in 0..self.machines.len() {
            (self.machines[at].may_rekey, self.machines[at].counts_differ) = (true, true);
            self.may_repeat(at);
        }
    }

    /// What must hold after each step and is not asserted where it happens.
    fn check(&self) {
        self.server.ledger.check();
        for machine in &self.machines {
            let spool = &machine.client.spool;
            for (lane, stored) in &spool.lanes {
                stored.check(*lane);
                let acked = machine.client.outbox.acked_through(*lane).unwrap_or_default();
                assert!(stored.acked_through <= acked, "lane {lane}: dropped before it was acked");
                assert!(acked <= stored.stored_through, "lane {lane}: acked what does not exist");
                let row = self.server.ledger.row(LaneKey { spool: spool.id, lane: *lane });
                let theirs = row.copied().unwrap_or_default();
                let ours = stored.totals;
                let known = machine.counts_differ
                    || (ours.handled <= theirs.handled && ours.dead <= theirs.dead);
                assert!(known, "lane {lane}: {ours:?}, of which the ledger has {theirs:?}");
            }
        }
    }

    /// What must hold when everything has drained.
    pub(crate) fn check_drained(&self) {
        assert!(self.is_drained(), "not drained");
        for serial in &self.accepted {
            let ended = self.has_ended(*serial);
            assert!(ended, "packet {serial} was neither handled nor declared");
        }
        for machine in self.machines.iter().filter(|machine| !machine.counts_differ) {
            let spool = &machine.client.spool;
            for (lane, stored) in &spool.lanes {
                let row = self.server.ledger.row(LaneKey { spool: spool.id, lane: *lane });
                let theirs = row.copied().unwrap_or_default();
                let ours = stored.totals;
                let gone: u64 = ours.gone.iter().sum();
                let ours = (ours.handled, ours.dead, gone);
                let theirs = (theirs.handled, theirs.dead, theirs.skipped);
                assert_eq!(ours, theirs, "lane {lane}: handled, dead and skipped on both sides");
            }
        }
    }
}

fn ping(link: &Link) -> Option<Frame> {
    // Before its welcome a client says nothing.
    link.session.map(|_| Frame::Control(Control::Ping(1)))
}

fn hello(spool: SpoolId, opened: u64, nonce: u64) -> Control {
    Control::Hello(Hello {
        version: VERSION,
        spool,
        replaces: None,
        opened,
        nonce,
        client: "sim".parse().expect("a client id"),
        token: None,
        capabilities: Vec::new(),
        program: String::new(),
    })
}

fn welcome(ledger: LedgerId) -> Control {
    let limits = Limits { frame_bytes_max: u32::MAX, window_bytes: 0, lanes_max: 0 };
    let (capabilities, program) = (Vec::new(), String::new());
    Control::Welcome(Welcome { version: VERSION, ledger, opened: 0, limits, capabilities, program })
}
