//! The model server: sessions with an inbox each, leases, attempts on their way through the handler
//! and the ledger; the shell that `actors/session.rs` and `actors/ledger.rs` are, in small pieces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paquebot_protocol::frame::{LaneOpened, Pause, RefuseRun, RefuseRunCode, SKIP_BYTES};
use paquebot_protocol::inbox::{Admission, Arrival, Inbox, Order};
use paquebot_protocol::lease::{Leases, SessionId};
use paquebot_protocol::{Chain, Control, Frame, Lane, LaneKey, Number, Run, SpoolId};

use super::Options;
use super::attempt::{Attempt, Stage, check_runs};
use super::ledger::{Handler, Ledger, Mood};

#[derive(Debug)]
struct Session {
    spool: SpoolId,
    inbox: Inbox,
    queues: BTreeMap<Lane, VecDeque<Run>>,
    closing: bool,
}

/// Something that takes time.
#[derive(Debug)]
enum Job {
    LookUp { session: SessionId, key: LaneKey, first: Number },
    Attempt(Attempt),
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) ledger: Ledger,
    pub(crate) handler: Handler,
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
}

impl Server {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            ledger: Ledger::default(),
            handler: Handler::new(options.exactly_once),
            options,
            leases: Leases::default(),
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            jobs: Vec::new(),
            sessions_ever: 0,
            refusing: BTreeSet::new(),
            putting_off: BTreeSet::new(),
        }
    }

    /// Welcomes a client; an older session of it may still be there.
    pub(crate) fn welcome(&mut self, spool: SpoolId) -> SessionId {
        self.sessions_ever += 1;
        let Options { lanes_max, window_bytes, frame_bytes_max, .. } = self.options;
        let inbox = Inbox::new(lanes_max, window_bytes, frame_bytes_max);
        let id = SessionId(self.sessions_ever);
        self.sessions.insert(id, Session { spool, inbox, queues: BTreeMap::new(), closing: false });
        id
    }

    /// The process dies: the ledger is all that is left, and what the handler has done.
    pub(crate) fn crash(&mut self) {
        self.sessions.clear();
        self.waiting.clear();
        self.jobs.clear();
        self.leases = Leases::default();
    }

    /// Takes frames of an honest client in, which are never a violation; gives the answers.
    pub(crate) fn hear(&mut self, id: SessionId, frames: Vec<Frame>) -> Vec<Control> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let mut answers = Vec::new();
        for frame in frames {
            match frame {
                Frame::Run { lane, generation, run } if self.refusing.remove(&lane) => {
                    answers.push(session.refuse_run(lane, generation, &run));
                }
                Frame::Run { lane, generation, .. } if self.putting_off.remove(&lane) => {
                    let retry_after_ms = self.options.retry_after_ms;
                    answers.extend(session.put_off(lane, generation, retry_after_ms));
                }
                Frame::Run { lane, generation, run } => session.hear_run(lane, generation, run),
                Frame::Control(Control::OpenLane(lanes)) => {
                    for open in lanes {
                        session.queues.remove(&open.lane);
                        session.inbox.open_lane(&open).expect("an honest open_lane");
                    }
                }
                Frame::Control(Control::Skip(skip)) => {
                    let (first, through, chain_after) =
                        (skip.first, skip.through, skip.chain_after);
                    let bytes = SKIP_BYTES;
                    let arrival = Arrival { first, through, chain_after, bytes, skipped: true };
                    let chain_at =
                        |number| (number == first.before()).then_some(skip.chain).flatten();
                    let taken =
                        session.inbox.arrived(skip.lane, skip.generation, arrival, chain_at);
                    taken.expect("an honest skip");
                }
                Frame::Control(other) => panic!("expected what a client says, found {other:?}"),
            }
        }
        self.act(id, answers)
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

    /// The jobs that can go on now.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = usize> {
        let can = |job: &Job| match job {
            Job::LookUp { .. } => true,
            Job::Attempt(attempt) => {
                let slow = self.handler.mood(attempt.key.lane) == Mood::Slow;
                attempt.stage != Stage::Working || !slow
            }
        };
        self.jobs.iter().enumerate().filter(move |(_, job)| can(job)).map(|(at, _)| at)
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
                    Mood::Creeping if attempt.middle().0 > attempt.cursor => return self.creep(at),
                    Mood::Well | Mood::Slow | Mood::Creeping => {}
                }
                if attempt.through == attempt.cursor {
                    attempt.stage = Stage::Ended { settled: None, failed: true };
                    return None;
                }
                attempt.stage = Stage::Recording;
                if !self.handler.exactly_once {
                    self.handler.apply(attempt.effects());
                }
                None
            }
            Stage::Recording => {
                let (from, through) = (attempt.cursor, attempt.through);
                let moved = self.ledger.record(attempt.key, from, through, attempt.chain);
                if moved && self.handler.exactly_once {
                    self.handler.apply(attempt.effects());
                }
                let failed = !moved || attempt.stumbles;
                attempt.stage = Stage::Ended { settled: moved.then_some(through), failed };
                None
            }
            Stage::Ended { settled, failed } => {
                let (id, lane) = (attempt.session, attempt.key.lane);
                self.jobs.remove(at);
                self.ended(id, lane, settled, failed)
            }
        }
    }

    /// Half of what is left of an attempt has its outcome, and the attempt goes on.
    fn creep(&mut self, at: usize) -> Option<(SessionId, Vec<Control>)> {
        let Job::Attempt(attempt) = &mut self.jobs[at] else { return None };
        let (middle, chain) = attempt.middle();
        let (id, key, from) = (attempt.session, attempt.key, attempt.cursor);
        let whole = std::mem::replace(&mut attempt.through, middle);
        let effects = attempt.effects();
        (attempt.through, attempt.cursor) = (whole, middle);
        let moved = self.ledger.record(key, from, middle, chain);
        if moved || !self.handler.exactly_once {
            self.handler.apply(effects);
        }
        if !moved {
            attempt.stage = Stage::Ended { settled: None, failed: true };
            return None;
        }
        let session = self.sessions.get_mut(&id)?;
        session.inbox.settled(key.lane, middle);
        if session.closing {
            self.let_go(id);
            return None;
        }
        Some((id, self.act(id, Vec::new())))
    }

    fn looked_up(
        &mut self,
        id: SessionId,
        key: LaneKey,
        first: Number,
    ) -> Option<(SessionId, Vec<Control>)> {
        let (cursor, chain) = self.ledger.look_up(key, first);
        let session = self.sessions.get_mut(&id).filter(|session| !session.closing)?;
        session.inbox.acquired(key.lane, cursor, chain, 0);
        Some((id, self.act(id, Vec::new())))
    }

    fn ended(
        &mut self,
        id: SessionId,
        lane: Lane,
        settled: Option<Number>,
        failed: bool,
    ) -> Option<(SessionId, Vec<Control>)> {
        let session = self.sessions.get_mut(&id)?;
        let mut answers = Vec::new();
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
        let spool = session.spool;
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
                    let (window_bytes, dead) = (self.options.window_bytes, Vec::new());
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
                    begin(&mut self.jobs, id, key, (cursor, through, chain), runs);
                }
                Order::Pass { lane, cursor, through, chain } => {
                    let key = LaneKey { spool, lane };
                    begin(&mut self.jobs, id, key, (cursor, through, chain), Vec::new());
                }
                Order::Ack(ack) => {
                    let reached = self.ledger.reached(LaneKey { spool, lane: ack.lane });
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
        let running: BTreeSet<Lane> = session.inbox.attempts().collect();
        for lane in session.inbox.lanes().filter(|lane| !running.contains(lane)) {
            let key = LaneKey { spool: session.spool, lane };
            self.waiting.remove(&(key, id));
            if let Some(next) = self.leases.release(key, id)
                && let Some(first) = self.waiting.remove(&(key, next))
            {
                self.jobs.push(Job::LookUp { session: next, key, first });
            }
        }
        if running.is_empty() {
            self.sessions.remove(&id);
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

    fn hear_run(&mut self, lane: Lane, generation: u32, run: Run) {
        let chain_after = run.verify().expect("an undamaged run");
        let (first, through, bytes) = (run.first(), run.last(), run.encoded().len() as u64);
        let arrival = Arrival { first, through, chain_after, bytes, skipped: false };
        let chain_at = |number| run.chain_at(number);
        let taken = self.inbox.arrived(lane, generation, arrival, chain_at);
        let run = match taken.expect("an honest run") {
            Admission::Taken => Some(run),
            Admission::TakenAfter(number) => run.part(number.next(), through),
            Admission::Ignored => None,
        };
        self.queues.entry(lane).or_default().extend(run);
    }
}

/// Begins an attempt, which must be the only one of its lane until its session has heard its end.
fn begin(
    jobs: &mut Vec<Job>,
    session: SessionId,
    key: LaneKey,
    (cursor, through, chain): (Number, Number, Chain),
    runs: Vec<Run>,
) {
    let runs_here = |job: &Job| matches!(job, Job::Attempt(other) if other.key == key);
    assert!(!jobs.iter().any(runs_here), "two attempts at once in {key:?}");
    let stage = if runs.is_empty() { Stage::Recording } else { Stage::Working };
    let attempt = Attempt { session, key, cursor, through, chain, runs, stumbles: false, stage };
    jobs.push(Job::Attempt(attempt));
}
