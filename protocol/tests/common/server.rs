//! The model server: sessions with an inbox each, leases, attempts on their way through the handler
//! and the ledger; the shell that `actors/session` and `actors/ledger.rs` are, in small pieces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paquebot_protocol::frame::{
    Dead, LaneOpened, Pause, RefuseRun, RefuseRunCode, Refused, RefusedCode, SKIP_BYTES, Skip,
};
use paquebot_protocol::inbox::{Admission, Arrival, Inbox, Order, Violation};
use paquebot_protocol::lease::{Leases, SessionId};
use paquebot_protocol::{Chain, Control, Frame, Lane, LaneKey, Number, Run};

use super::Options;
use super::attempt::{Attempt, Job, Stage, begin, check_runs};
use super::handler::{Handler, Mood};
use super::ledger::{Fence, Ledger};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Session {
    fence: Fence,
    inbox: Inbox,
    queues: BTreeMap<Lane, VecDeque<Run>>,
    /// What `lane_opened` has to say of dead letters.
    dead: BTreeMap<Lane, Vec<Number>>,
    closing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) ledger: Ledger,
    pub(crate) handler: Handler,
    /// Nothing can be recorded at present.
    pub(crate) ledger_fails: bool,
    options: Options,
    leases: Leases,
    sessions: BTreeMap<SessionId, Session>,
    waiting: BTreeMap<(LaneKey, SessionId), Number>,
    jobs: Vec<Job>,
    sessions_ever: u64,
    /// The next run of these lanes will be found damaged.
    pub(crate) refusing: BTreeSet<Lane>,
    /// For the next run of these lanes there will be no room.
    pub(crate) putting_off: BTreeSet<Lane>,
    /// The highest cursor that ever was durable, whatever was forgotten since.
    reached: BTreeMap<LaneKey, Number>,
}

impl Server {
    pub(crate) fn new(options: Options) -> Self {
        let mut handler = Handler::new(options.exactly_once);
        handler.keeps_log = options.keeps_log;
        Self {
            ledger: Ledger::default(),
            handler,
            ledger_fails: false,
            options,
            leases: Leases::default(),
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            jobs: Vec::new(),
            sessions_ever: 0,
            refusing: BTreeSet::new(),
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

    /// The jobs that can go on now.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = usize> {
        let can = |job: &Job| match job {
            Job::LookUp { .. } => !self.ledger_fails,
            Job::Attempt(attempt) => {
                let slow = self.handler.mood(attempt.key.lane) == Mood::Slow;
                attempt.stage != Stage::Working || !slow
            }
        };
        self.jobs.iter().enumerate().filter(move |(_, job)| can(job)).map(|(at, _)| at)
    }

    pub(crate) fn reached(&self, key: LaneKey) -> Number {
        self.reached.get(&key).copied().unwrap_or_default()
    }

    /// A job goes on by one piece; gives what a session says because of it.
    pub(crate) fn go_on(&mut self, at: usize) -> Option<(SessionId, Vec<Control>)> {
        let Job::Attempt(attempt) = &mut self.jobs[at] else {
            let Job::LookUp { session, key, first } = self.jobs.remove(at) else { return None };
            return self.looked_up(session, key, first);
        };
        match attempt.stage {
            Stage::Working => {
                match self.handler.mood(attempt.key.lane) {
                    Mood::Stumbling => attempt.stumble(),
                    Mood::Failing => attempt.through = attempt.cursor,
                    Mood::Creeping => {
                        if let Some(half) = attempt.first_half() {
                            return self.creep(at, &half);
                        }
                    }
                    Mood::Well | Mood::Slow => {}
                }
                if attempt.through == attempt.cursor {
                    attempt.stage = Stage::Ended { settled: None, failed: true };
                    return None;
                }
                attempt.stage = Stage::Recording;
                if !self.handler.exactly_once {
                    self.handler.apply(attempt.effects(&self.handler.poison));
                }
                None
            }
            Stage::Recording => {
                let record = attempt.record(&self.handler.poison);
                let moved = !self.ledger_fails && self.ledger.record(&record);
                if moved {
                    let reached = self.reached.entry(attempt.key).or_default();
                    *reached = (*reached).max(record.through);
                    let dead = attempt.dead(&self.handler.poison);
                    self.handler.dead.extend(dead.into_iter().map(|effect| effect.serial));
                    if self.handler.exactly_once {
                        self.handler.apply(attempt.effects(&self.handler.poison));
                    }
                }
                let failed = !moved || attempt.stumbles;
                attempt.stage = Stage::Ended { settled: moved.then_some(record.through), failed };
                None
            }
            Stage::Ended { settled, failed } => {
                let Job::Attempt(attempt) = self.jobs.remove(at) else { return None };
                let dead = settled.map(|_| attempt.dead(&self.handler.poison)).unwrap_or_default();
                let dead = dead.into_iter().map(|effect| effect.number).collect();
                self.ended(attempt.session, attempt.key.lane, settled, failed, dead)
            }
        }
    }

    /// Half of what is left of an attempt has its outcome, and the attempt goes on.
    fn creep(&mut self, at: usize, half: &Attempt) -> Option<(SessionId, Vec<Control>)> {
        let record = half.record(&self.handler.poison);
        let moved = !self.ledger_fails && self.ledger.record(&record);
        if moved {
            let reached = self.reached.entry(half.key).or_default();
            *reached = (*reached).max(record.through);
            let dead = half.dead(&self.handler.poison);
            self.handler.dead.extend(dead.into_iter().map(|effect| effect.serial));
        }
        if moved || !self.handler.exactly_once {
            self.handler.apply(half.effects(&self.handler.poison));
        }
        let Job::Attempt(attempt) = &mut self.jobs[at] else { return None };
        if !moved {
            attempt.stage = Stage::Ended { settled: None, failed: true };
            return None;
        }
        attempt.cursor = half.through;
        let (id, lane) = (half.session, half.key.lane);
        let dead: Vec<_> =
            half.dead(&self.handler.poison).into_iter().map(|effect| effect.number).collect();
        let session = self.sessions.get_mut(&id)?;
        session.inbox.settled(lane, half.through);
        if session.closing {
            self.let_go(id);
            return None;
        }
        let reason = "poison".to_owned();
        let said = Control::Dead(Dead { lane, numbers: dead.clone(), reason });
        Some((id, self.act(id, if dead.is_empty() { Vec::new() } else { vec![said] })))
    }

    fn looked_up(
        &mut self,
        id: SessionId,
        key: LaneKey,
        first: Number,
    ) -> Option<(SessionId, Vec<Control>)> {
        let found = self.ledger.look_up(key, first);
        let session = self.sessions.get_mut(&id).filter(|session| !session.closing)?;
        let Some((cursor, dead)) = found else {
            self.close(id);
            let (message, retry_after_ms) = ("the lane is retired".to_owned(), None);
            let refused = Refused { code: RefusedCode::Rekey, message, retry_after_ms };
            return Some((id, vec![Control::Refused(refused)]));
        };
        let reached = self.reached.entry(key).or_default();
        *reached = (*reached).max(cursor.at);
        session.dead.insert(key.lane, dead);
        // A lane without packets has a known chain, whoever asks.
        let start = || session.inbox.target(key.lane).map(|target| Chain::start(target, key.lane));
        let fresh = cursor.at == Number::NONE;
        let chain = cursor.chain.or_else(|| if fresh { start() } else { None });
        session.inbox.acquired(key.lane, cursor.at, chain, cursor.skipped);
        Some((id, self.act(id, Vec::new())))
    }

    fn ended(
        &mut self,
        id: SessionId,
        lane: Lane,
        settled: Option<Number>,
        failed: bool,
        dead: Vec<Number>,
    ) -> Option<(SessionId, Vec<Control>)> {
        let session = self.sessions.get_mut(&id)?;
        let mut answers = Vec::new();
        if !dead.is_empty() {
            let reason = "poison".to_owned();
            answers.push(Control::Dead(Dead { lane, numbers: dead, reason }));
        }
        if let Some(through) = settled {
            session.inbox.settled(lane, through);
        }
        if failed {
            // What was acknowledged is said before the pause.
            answers = self.act(id, answers);
            let session = self.sessions.get_mut(&id)?;
            session.queues.remove(&lane);
            if let Some(generation) = session.inbox.failed(lane) {
                let (retry_after_ms, reason) = (self.options.retry_after_ms, "failing".to_owned());
                answers.push(Control::Pause(Pause { lane, generation, retry_after_ms, reason }));
            }
        }
        if self.sessions[&id].closing {
            self.let_go(id);
            return None;
        }
        Some((id, self.act(id, answers)))
    }

    /// Carries out what the inbox orders; adds to `answers` what is said.
    fn act(&mut self, id: SessionId, mut answers: Vec<Control>) -> Vec<Control> {
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
    fn let_go(&mut self, id: SessionId) {
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
