//! The model server: sessions with an inbox each, leases, attempts on their way through the handler
//! and the ledger; the shell that `actors/session` and `actors/ledger.rs` are, in small pieces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paquebot_protocol::frame::{LaneOpened, Pause, RefuseRun, RefuseRunCode, SKIP_BYTES, Skip};
use paquebot_protocol::inbox::{Admission, Arrival, Inbox, Order, Violation};
use paquebot_protocol::lease::{Leases, SessionId};
use paquebot_protocol::{Control, Frame, Lane, LaneKey, Number, Run};

use super::Options;
use super::attempt::{Attempt, Job, begin, check_runs};
use super::handler::Handler;
use super::ledger::{Fence, Ledger};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) fence: Fence,
    pub(super) inbox: Inbox,
    pub(super) queues: BTreeMap<Lane, VecDeque<Run>>,
    /// What `lane_opened` has to say of dead letters.
    pub(super) dead: BTreeMap<Lane, Vec<Number>>,
    pub(super) closing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) ledger: Ledger,
    pub(crate) handler: Handler,
    /// Nothing can be recorded at present.
    pub(crate) ledger_fails: bool,
    /// The next record becomes durable, and is said to have failed: as when an fsync fails late.
    pub(crate) ledger_is_unsure: bool,
    pub(super) options: Options,
    pub(super) leases: Leases,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) waiting: BTreeMap<(LaneKey, SessionId), Number>,
    pub(super) jobs: Vec<Job>,
    pub(super) sessions_ever: u64,
    /// The next run of these lanes will be found damaged.
    pub(crate) refusing: BTreeSet<Lane>,
    /// Lanes of whose next run the last packet is too long for this server.
    pub(crate) too_long: BTreeSet<Lane>,
    /// For the next run of these lanes there will be no room.
    pub(crate) putting_off: BTreeSet<Lane>,
    /// The highest cursor that ever was durable, whatever was forgotten since.
    pub(super) reached: BTreeMap<LaneKey, Number>,
}

impl Server {
    pub(crate) fn new(options: Options) -> Self {
        let mut handler = Handler::new(options.exactly_once);
        handler.keeps_log = options.keeps_log;
        Self {
            ledger: Ledger::default(),
            handler,
            ledger_fails: false,
            ledger_is_unsure: false,
            options,
            leases: Leases::default(),
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            jobs: Vec::new(),
            sessions_ever: 0,
            refusing: BTreeSet::new(),
            too_long: BTreeSet::new(),
            putting_off: BTreeSet::new(),
            reached: BTreeMap::new(),
        }
    }

    /// Welcomes a client, or tells it to take another name; an older session of it may still be there.
    pub(crate) fn welcome(&mut self, fence: Fence) -> Option<SessionId> {
        if !self.ledger.admit(fence) {
            return None;
        }
        self.sessions_ever += 1;
        let Options { lanes_max, window_bytes, frame_bytes_max, .. } = self.options;
        let inbox = Inbox::new(lanes_max, window_bytes, frame_bytes_max);
        let id = SessionId(self.sessions_ever);
        let (queues, dead) = (BTreeMap::new(), BTreeMap::new());
        self.sessions.insert(id, Session { fence, inbox, queues, dead, closing: false });
        Some(id)
    }

    /// The process dies: the ledger is all that is left, and what the handler has done.
    pub(crate) fn crash(&mut self) {
        self.sessions.clear();
        self.waiting.clear();
        self.jobs.clear();
        self.leases = Leases::default();
    }

    /// Takes frames of a client in; gives the answers, or what an honest client never says.
    pub(crate) fn hear(
        &mut self,
        id: SessionId,
        frames: Vec<Frame>,
    ) -> Result<Vec<Control>, Violation> {
        let mut answers = Vec::new();
        for frame in frames {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.closing)
            else {
                return Ok(answers);
            };
            match frame {
                Frame::Run { lane, generation, .. } if self.putting_off.remove(&lane) => {
                    let retry_after_ms = self.options.retry_after_ms;
                    answers.extend(session.put_off(lane, generation, retry_after_ms));
                }
                Frame::Run { lane, generation, run } => {
                    let damaged = self.refusing.remove(&lane) || run.verify().is_err();
                    if damaged {
                        answers.push(session.refuse_run(lane, generation, &run));
                    } else if self.too_long.remove(&lane) {
                        answers.extend(session.refuse_packet(lane, generation, run.last()));
                    } else {
                        session.hear_run(lane, generation, run)?;
                    }
                }
                Frame::Control(Control::OpenLane(lanes)) => {
                    for open in lanes {
                        session.queues.remove(&open.lane);
                        session.inbox.open_lane(&open)?;
                    }
                }
                Frame::Control(Control::Skip(skip)) => session.hear_skip(&skip)?,
                Frame::Control(Control::Retire(lane)) => {
                    session.inbox.retire(lane)?;
                    let fence = session.fence;
                    self.ledger.retire(fence, lane);
                    self.give_back(LaneKey { spool: fence.spool, lane }, id);
                }
                Frame::Control(Control::Ping(number)) => answers.push(Control::Pong(number)),
                Frame::Control(Control::Pong(_)) => {}
                Frame::Control(other) => panic!("expected what a client says, found {other:?}"),
            }
        }
        Ok(self.act(id, answers))
    }

    /// The socket of a session is found dead, or a newer session took over.
    pub(crate) fn close(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.closing = true;
            session.queues.clear();
            session.inbox.close();
            self.let_go(id);
        }
    }

    /// Sessions that do not know yet that they have ended.
    pub(crate) fn open_sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.iter().filter(|(_, session)| !session.closing).map(|(id, _)| *id)
    }

    /// The opening that a session belongs to, while it lives.
    pub(crate) fn fence(&self, id: SessionId) -> Option<Fence> {
        self.sessions.get(&id).map(|session| session.fence)
    }

    /// Carries out what the inbox orders; adds to `answers` what is said.
    pub(super) fn act(&mut self, id: SessionId, mut answers: Vec<Control>) -> Vec<Control> {
        let Some(session) = self.sessions.get_mut(&id) else { return answers };
        let spool = session.fence.spool;
        let (mut opened, mut acks) = (Vec::new(), Vec::new());
        while let Some(order) = session.inbox.poll() {
            match order {
                Order::Acquire { lane, first } => {
                    let key = LaneKey { spool, lane };
                    if self.leases.acquire(key, id) {
                        self.jobs.push(Job::LookUp { session: id, key, first });
                    } else {
                        self.waiting.insert((key, id), first);
                    }
                }
                Order::Opened { lane, generation, cursor, chain, skipped } => {
                    let window_bytes = self.options.window_bytes;
                    let dead = session.dead.remove(&lane).unwrap_or_default();
                    opened.push(LaneOpened {
                        lane,
                        generation,
                        cursor,
                        chain,
                        window_bytes,
                        dead,
                        skipped,
                    });
                }
                Order::Dispatch { lane, cursor, through, chain } => {
                    let key = LaneKey { spool, lane };
                    let queue = session.queues.entry(lane).or_default();
                    let mut runs = Vec::new();
                    while let Some(run) = queue.pop_front_if(|run| run.last() <= through) {
                        runs.push(run);
                    }
                    check_runs(&runs, cursor, through);
                    let attempt =
                        Attempt::new(id, key, session.fence, cursor, through, chain, runs);
                    begin(&mut self.jobs, attempt);
                }
                Order::Pass { lane, cursor, through, chain } => {
                    let (key, runs) = (LaneKey { spool, lane }, Vec::new());
                    let attempt =
                        Attempt::new(id, key, session.fence, cursor, through, chain, runs);
                    begin(&mut self.jobs, attempt);
                }
                Order::Ack(ack) => {
                    let key = LaneKey { spool, lane: ack.lane };
                    let reached = self.reached.get(&key).copied().unwrap_or_default();
                    assert!(ack.through <= reached, "{ack:?}, of which {reached} is durable");
                    acks.push(ack);
                }
            }
        }
        answers.extend((!opened.is_empty()).then_some(Control::LaneOpened(opened)));
        answers.extend((!acks.is_empty()).then_some(Control::Ack(acks)));
        answers
    }

    /// A closing session gives back every lane in which no attempt of it is running any more.
    pub(super) fn let_go(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let spool = session.fence.spool;
        let running: BTreeSet<Lane> = session.inbox.attempts().collect();
        let lanes: Vec<Lane> =
            session.inbox.lanes().filter(|lane| !running.contains(lane)).collect();
        if running.is_empty() {
            self.sessions.remove(&id);
        }
        for lane in lanes {
            self.give_back(LaneKey { spool, lane }, id);
        }
    }

    fn give_back(&mut self, key: LaneKey, id: SessionId) {
        self.waiting.remove(&(key, id));
        if let Some(next) = self.leases.release(key, id)
            && let Some(first) = self.waiting.remove(&(key, next))
        {
            self.jobs.push(Job::LookUp { session: next, key, first });
        }
    }
}

impl Session {
    fn refuse_run(&mut self, lane: Lane, generation: u32, run: &Run) -> Control {
        if self.inbox.refuse(lane, generation) {
            self.queues.remove(&lane);
        }
        let (first, through, code) = (run.first(), run.last(), RefuseRunCode::Undecodable);
        Control::RefuseRun(RefuseRun { lane, generation, first, through, code })
    }

    fn refuse_packet(&mut self, lane: Lane, generation: u32, number: Number) -> Option<Control> {
        let (first, through, code) = (number, number, RefuseRunCode::TooLarge);
        let refused = self.inbox.refuse(lane, generation);
        if refused {
            self.queues.remove(&lane);
        }
        refused.then_some(Control::RefuseRun(RefuseRun { lane, generation, first, through, code }))
    }

    fn put_off(&mut self, lane: Lane, generation: u32, retry_after_ms: u64) -> Option<Control> {
        let put_off = self.inbox.refuse(lane, generation);
        if put_off {
            self.queues.remove(&lane);
        }
        let reason = "no room".to_owned();
        put_off.then_some(Control::Pause(Pause { lane, generation, retry_after_ms, reason }))
    }

    fn hear_run(&mut self, lane: Lane, generation: u32, run: Run) -> Result<(), Violation> {
        let chain_after = run.verify().expect("an undamaged run");
        let (first, through, bytes) = (run.first(), run.last(), run.encoded().len() as u64);
        let arrival = Arrival { first, through, chain_after, bytes, skipped: false };
        let chain_at = |number| run.chain_at(number);
        let taken = self.inbox.arrived(lane, generation, arrival, chain_at);
        let run = match taken? {
            Admission::Taken => Some(run),
            Admission::TakenAfter(number) => run.part(number.next(), through),
            Admission::Ignored => None,
        };
        self.queues.entry(lane).or_default().extend(run);
        Ok(())
    }

    fn hear_skip(&mut self, skip: &Skip) -> Result<(), Violation> {
        let (first, through, chain_after) = (skip.first, skip.through, skip.chain_after);
        let arrival = Arrival { first, through, chain_after, bytes: SKIP_BYTES, skipped: true };
        let chain_at = |number| (number == first.before()).then_some(skip.chain).flatten();
        let taken = self.inbox.arrived(skip.lane, skip.generation, arrival, chain_at);
        taken.map(|_| ())
    }
}
