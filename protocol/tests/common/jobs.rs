//! What takes time at the model server, piece by piece: look-ups, and attempts on their way through
//! the handler and the ledger.

use paquebot_protocol::frame::{Dead, Pause, Refused, RefusedCode};
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Chain, Control, Lane, LaneKey, Number};

use super::attempt::{Attempt, Job, Stage};
use super::handler::Mood;
use super::server::Server;

impl Server {
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
                    self.handler.apply(attempt.effects(&self.handler.poison), &mut self.ledger);
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
                        self.handler.apply(attempt.effects(&self.handler.poison), &mut self.ledger);
                    }
                }
                let told = moved && !std::mem::take(&mut self.ledger_is_unsure);
                let failed = !told || attempt.stumbles;
                attempt.stage = Stage::Ended { settled: told.then_some(record.through), failed };
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
            self.handler.apply(half.effects(&self.handler.poison), &mut self.ledger);
        }
        let Job::Attempt(attempt) = &mut self.jobs[at] else { return None };
        if !moved || std::mem::take(&mut self.ledger_is_unsure) {
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
}
