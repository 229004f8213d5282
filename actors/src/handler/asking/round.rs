//! A round: the packets of one attempt, delivered one after another, in order (R5).
//!
//! A packet that is rejected takes only itself out. At the first one that fails the round ends: what
//! came before it is recorded and acknowledged (R4), how often it was tried is written down (R11),
//! and its lane is paused. In a long round what has an outcome is recorded now and then, so that a
//! crash repeats little and the client's disk is given back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Recipient;
use paquebot_protocol::backoff::Backoff;
use paquebot_protocol::{Millis, Number, Packet, PacketId, Run};
use paquebot_store::{DeadLetter, RecordError};
use tokio::sync::{Semaphore, oneshot, watch};

use super::health::Health;
use super::parcel::{Answer, Asked, Failure, GRACE, Parcel};
use crate::attempt::Attempt;
use crate::clock;
use crate::handler::HandlerMeters;
use crate::ledger::{Record, Recorded, Tried, Unrecorded};
use crate::link::random;

/// What has an outcome is recorded this often, and when so many bytes of dead letters wait.
const RECORD_EVERY: Duration = Duration::from_millis(500);
const DEAD_BYTES_MAX: usize = 1024 * 1024;

/// How long a lane waits when its outcome could not be recorded, and when the handler stops.
const RECORD_FAILED_PAUSE: Millis = Millis(2_000);
const STOPPED_PAUSE: Millis = Millis(5_000);

/// Whoever is asked may ask for this much patience, whatever the longest wait of the back-off is.
const RETRY_AFTER_MAX: Millis = Millis(5 * 60 * 1_000);

/// What the rounds of one handler share.
pub(super) struct Courier {
    pub(super) name: Arc<str>,
    /// Who is asked.
    pub(super) asked: Asked,
    pub(super) retry_initial: Millis,
    pub(super) retry_max: Millis,
    pub(super) give_up_after: Option<Millis>,
    /// One turn is one packet: whoever has had one stands at the end of the line again, so that no
    /// lane waits for more than one packet of each other lane.
    pub(super) turns: Semaphore,
    pub(super) record: Recipient<Record>,
    pub(super) tried: Recipient<Tried>,
    pub(super) meters: HandlerMeters,
    pub(super) health: RefCell<Health>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// One attempt on its way.
pub(super) struct Round {
    courier: Rc<Courier>,
    /// What has not been recorded yet.
    rest: Attempt,
    /// Its runs, each until it is delivered.
    left: VecDeque<Run>,
    /// Everything up to here has an outcome.
    through: Number,
    dead: Vec<DeadLetter>,
    dead_bytes: usize,
    recorded: Instant,
}

/// The handler stops, or is paused.
struct Stopped;

impl Round {
    pub(super) fn new(courier: Rc<Courier>, attempt: Attempt) -> Self {
        let (through, recorded) = (attempt.mark.from, clock::instant());
        let left = attempt.runs.iter().cloned().collect();
        Self { courier, left, rest: attempt, through, dead: Vec::new(), dead_bytes: 0, recorded }
    }

    /// Delivers the packets, to the end of the round.
    pub(super) async fn run(mut self) {
        for run in std::mem::take(&mut self.left) {
            for (number, record) in run.records() {
                let id = run.packet_id(self.rest.mark.lane, number);
                match self.deliver(&run, id, record).await {
                    Ok(Answer::Handled) => self.has_outcome(id.number),
                    Ok(Answer::Rejected(why)) => {
                        self.courier.meters.rejected.add(1);
                        self.bury(id, record, &why);
                    }
                    Ok(Answer::Failed(failure)) => match self.given_up(number, &failure) {
                        Some(why) => self.bury(id, record, &why),
                        None => return self.pause(number, failure).await,
                    },
                    Err(Stopped) => return self.stop().await,
                }
                let due = self.recorded.elapsed() >= RECORD_EVERY;
                if (due || self.dead_bytes > DEAD_BYTES_MAX)
                    && let Err(why) = self.settle().await
                {
                    return self.rest.fail(RECORD_FAILED_PAUSE.0, why);
                }
            }
        }
        if let Err(why) = self.settle().await {
            self.rest.fail(RECORD_FAILED_PAUSE.0, why);
        }
    }

    /// Waits for a turn and makes one attempt at one packet.
    async fn deliver(&self, run: &Run, id: PacketId, record: &[u8]) -> Result<Answer, Stopped> {
        let courier = &*self.courier;
        let mut stopping = courier.stopping.clone();
        let packet = match Packet::decode(record) {
            Ok(packet) => packet,
            Err(error) => return Ok(Answer::Rejected(error.to_string())),
        };
        let turn = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return Err(Stopped),
            turn = courier.turns.acquire() => turn.map_err(|_closed| Stopped)?,
        };
        if courier.meters.board.is_paused() {
            return Err(Stopped);
        }
        let began = clock::instant();
        let parcel = Parcel {
            id,
            client: &self.rest.origin.client,
            target: &self.rest.target,
            // Part of the run's bytes, which the attempt's permits pay for.
            data: run.encoded().slice_ref(packet.data),
            packet,
            attempt: self.rest.failed(id.number, 0).attempts,
        };
        let cut_off = async {
            // The sender is the actor; when it is gone, so is everything.
            let _stopping = stopping.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(GRACE).await;
        };
        let answer = tokio::select! {
            answer = courier.asked.ask(&parcel) => answer,
            () = cut_off => return Err(Stopped),
        };
        drop(turn);
        courier.meters.seconds.record(began.elapsed());
        // Of a dead letter's lane nothing is known by it.
        if !matches!(answer, Answer::Failed(_)) && !self.rest.is_replay() {
            courier.health.borrow_mut().worked(self.rest.key());
        }
        Ok(answer)
    }

    fn has_outcome(&mut self, number: Number) {
        self.through = number;
    }

    /// The packet becomes a dead letter.
    fn bury(&mut self, id: PacketId, record: &[u8], why: &str) {
        let letter = self.rest.dead_letter(id, record, &self.courier.name, why);
        self.dead_bytes += record.len();
        self.dead.push(letter);
        self.has_outcome(id.number);
    }

    /// Why a packet that failed once more is not tried again, if it is not.
    fn given_up(&self, number: Number, failure: &Failure) -> Option<String> {
        let tried = self.rest.failed(number, clock::wall_ms());
        let since_ms = tried.last_attempt_ms.saturating_sub(tried.first_attempt_ms);
        let given_up = self.courier.give_up_after.is_some_and(|after| since_ms >= after.0);
        // A dead letter is given up by whoever tries it again.
        let given_up = given_up && !self.rest.is_replay();
        let (attempts, time) = (tried.attempts, roughly(since_ms));
        given_up.then(|| format!("gave up after {attempts} attempts in {time}: last {failure}"))
    }

    /// Records what has an outcome, and waits until that is durable and acknowledged.
    async fn settle(&mut self) -> Result<(), String> {
        let Some(mut part) = self.rest.split_to(self.through) else { return Ok(()) };
        let courier = &*self.courier;
        let dead = std::mem::take(&mut self.dead);
        (self.dead_bytes, self.recorded) = (0, clock::instant());
        let dead_letters = dead.len() as u64;
        let newly_dead = self.rest.newly_dead(dead_letters);
        if let Some(letter) = dead.first() {
            tracing::warn!(handler = %courier.name, target = %part.target, packets = dead_letters,
                first = %letter.id, why = letter.reason, "packets became dead letters");
        }
        part.mark.handled = part.count().saturating_sub(dead_letters);
        let handled = part.mark.handled;
        let (answer, answered) = oneshot::channel::<Result<(), Unrecorded>>();
        // It is acknowledged even when the caller, who waits for the answer below, is gone.
        let delivery = courier.meters.delivery();
        let reply = move |outcome: Result<Recorded, Unrecorded>| {
            if let Ok(recorded) = &outcome {
                recorded.count_in(&delivery);
            }
            drop(answer.send(outcome.map(|recorded| recorded.settle())));
        };
        courier.record.do_send(Record {
            handler: Arc::clone(&courier.name),
            attempts: vec![part],
            file: None,
            dead,
            reply: Some(Box::new(reply)),
        });
        match answered.await {
            Ok(Ok(())) => {
                courier.meters.handled.increment(handled);
                courier.meters.dead_lettered.increment(newly_dead);
                Ok(())
            }
            // The part fails with the rest: the lane is one.
            Ok(Err(Unrecorded { error, .. })) => Err(error.to_string()),
            Err(_gone) => Err("the ledger has stopped".to_owned()),
        }
    }

    /// The packet `number` was tried in vain: its lane waits.
    async fn pause(mut self, number: Number, failure: Failure) {
        if let Err(why) = self.settle().await {
            return self.rest.fail(RECORD_FAILED_PAUSE.0, why);
        }
        if self.rest.is_replay() {
            return self.rest.fail_tried(0, failure.to_string());
        }
        let courier = &*self.courier;
        let tried = self.rest.failed(number, clock::wall_ms());
        let (answer, answered) = oneshot::channel::<Result<(), RecordError>>();
        let (fence, lane) = (self.rest.mark.fence, self.rest.mark.lane);
        let reply = move |outcome| drop(answer.send(outcome));
        courier.tried.do_send(Tried { fence, lane, tried, reply: Box::new(reply) });
        if let Ok(Err(error)) = answered.await {
            tracing::debug!(handler = %courier.name, %lane, %error,
                "how often a packet was tried could not be written down");
        }
        let backoff = Backoff::new(courier.retry_initial, courier.retry_max);
        let mut wait = backoff.after(tried.attempts.saturating_sub(1)).next(random());
        if let Some(after) = courier.give_up_after {
            // It is tried once more when its time is up, and not long after that.
            let since = Millis(tried.last_attempt_ms).since(Millis(tried.first_attempt_ms));
            wait = wait.min(after.since(since));
        }
        if let Some(asked) = failure.retry_after {
            wait = wait.max(Millis::from(asked).min(courier.retry_max.max(RETRY_AFTER_MAX)));
        }
        let reason = format!("handler {}: {failure}", courier.name);
        courier.health.borrow_mut().failed(self.rest.key(), wait, &failure.to_string());
        self.rest.fail_tried(wait.0, reason);
    }

    /// What has an outcome is recorded, the rest stays with its client.
    async fn stop(mut self) {
        let settled = self.settle().await;
        let board = &self.courier.meters.board;
        if board.is_paused() && settled.is_ok() {
            let (retry_after_ms, reason) = board.put_off(self.rest.key());
            return self.rest.fail(retry_after_ms, reason);
        }
        let why = match settled {
            Ok(()) => format!("handler {} is stopping", self.courier.name),
            Err(why) => why,
        };
        self.rest.fail(STOPPED_PAUSE.0, why);
    }
}

/// A length of time for people: a whole number of the largest unit that fits.
fn roughly(length_ms: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("day", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    let fits = UNITS.iter().find(|(_, worth)| length_ms >= *worth);
    fits.map_or_else(
        || format!("{length_ms} ms"),
        |(unit, worth)| format!("{} {unit}", length_ms / worth),
    )
}
