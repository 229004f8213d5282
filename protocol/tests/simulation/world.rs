//! The world: several clients, one server and bad links, in virtual time. Everything that may happen
//! next is an [`Action`], which a seed or the model checker chooses; after each one the invariants
//! are checked.

use std::collections::BTreeSet;

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Millis, Number};

use crate::common::Options;
use crate::common::handler::Mood;
use crate::common::ledger::{Ledger, data_of};
use crate::common::server::Server;
use crate::common::spool::Spool;
use crate::link::Link;
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
    /// A run of another history takes the place of one on its way, as if a client proved nothing.
    Forge(u64),
    /// The server acknowledges what it was never sent.
    FalseAck(usize, usize),
    FillSocket(usize, bool),
    FillDisk(usize, bool),
    FailCommit(usize),
    FailLedger(bool),
    UnsureLedger,
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
    pub(super) ledger_id: u8,
    pub(super) ledger_backup: Option<Ledger>,
    pub(super) options: Options,
    pub(super) links_ever: u64,
    pub(super) serials: u64,
    pub(super) nonces: u64,
    pub(super) spools: u8,
    /// Every packet that some client said was stored, but for those that a restored spool lost.
    pub(super) accepted: BTreeSet<u64>,
    /// The packets that a tombstone stands for somewhere.
    pub(super) declared: BTreeSet<u64>,
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
            Action::ToServer(link, count) => self.arrive_up(link, count),
            Action::ToClient(link, count) => self.arrive_down(link, count),
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
            Action::Forge(link) => self.forge(link),
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
            Action::UnsureLedger => self.server.ledger_is_unsure = true,
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
        (self.server.ledger_fails, self.server.ledger_is_unsure) = (false, false);
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
}
