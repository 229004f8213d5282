//! What the session does with what has arrived: the inbox's orders out, outcomes in.

use actix::{AsyncContext, Context, Handler};
use paquebot_protocol::frame::{Dead, LaneOpened, Pause, RefusedCode};
use paquebot_protocol::inbox::Order;
use paquebot_protocol::{Chain, Control, Lane, Number};
use paquebot_store::{Fence, LedgerError, Mark};

use super::Session;
use crate::attempt::{Attempt, Ended, Origin, Outcome};
use crate::ledger::{Acquire, Acquired, Record};
use crate::router::Route;

/// How long a lane waits whose packets were not at hand, which is a fault of this program.
const INCOMPLETE_PAUSE_MS: u64 = 1_000;

impl Session {
    /// Carries out what the inbox orders, and says what there is to say, in one piece.
    pub(super) fn act(&mut self, ctx: &mut Context<Self>) {
        let mut acks = Vec::new();
        let mut opened = Vec::new();
        while let Some(order) = self.inbox.poll() {
            match order {
                Order::Acquire { lane, first } => {
                    let (Some(key), reply) = (self.key(lane), ctx.address().recipient()) else {
                        continue;
                    };
                    self.ports.acquire.do_send(Acquire { key, session: self.id, first, reply });
                }
                Order::Opened { lane, generation, cursor, chain, skipped } => {
                    let dead = self.dead.remove(&lane).unwrap_or_default();
                    let window_bytes = self.options.lane_window_bytes;
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
                    self.dispatch(lane, cursor, through, chain, ctx);
                }
                Order::Pass { lane, cursor, through, chain } => {
                    let skipped = (0, through.since(cursor));
                    let attempt = self.attempt(lane, cursor, through, chain, skipped, ctx);
                    let attempts = attempt.into_iter().collect();
                    let (handler, dead) = ("".into(), Vec::new());
                    let record = Record { handler, attempts, file: None, dead, reply: None };
                    self.ports.record.do_send(record);
                }
                Order::Ack(ack) => acks.push(ack),
            }
        }
        let mut controls = std::mem::take(&mut self.answers);
        controls.extend((!opened.is_empty()).then_some(Control::LaneOpened(opened)));
        controls.extend((!acks.is_empty()).then_some(Control::Ack(acks)));
        if let Some(writer) = &self.writer
            && let Err(full) = writer.controls(&controls)
        {
            self.throw_out("slow-reader", &full.to_string(), ctx);
        }
    }

    fn dispatch(
        &mut self,
        lane: Lane,
        cursor: Number,
        through: Number,
        chain: Chain,
        ctx: &mut Context<Self>,
    ) {
        let handled = through.since(cursor);
        let Some(mut attempt) = self.attempt(lane, cursor, through, chain, (handled, 0), ctx)
        else {
            return;
        };
        let queue = self.queues.entry(lane).or_default();
        while let Some((run, permit)) = queue.pop_front_if(|(run, _)| run.last() <= through) {
            attempt.runs.push(run);
            attempt.permit.extend(permit);
        }
        if !attempt.is_whole() {
            tracing::error!(%lane, from = %cursor, %through,
                "the packets at hand are not those to be dispatched; the client sends them again");
            return attempt.fail(INCOMPLETE_PAUSE_MS, "packets are missing".to_owned());
        }
        self.ports.route.do_send(Route(attempt));
    }

    fn attempt(
        &mut self,
        lane: Lane,
        from: Number,
        through: Number,
        chain: Chain,
        (handled, skipped): (u64, u64),
        ctx: &mut Context<Self>,
    ) -> Option<Attempt> {
        let hello = self.client.as_ref()?;
        let fence = Fence { spool: hello.spool, opened: hello.opened, nonce: hello.nonce };
        Some(Attempt {
            target: self.inbox.target(lane)?.clone(),
            mark: Mark { fence, lane, from, through, chain, handled, skipped },
            runs: Vec::new(),
            permit: Vec::new(),
            tried: self.tried.remove(&lane),
            replay: None,
            origin: Origin {
                session: self.id,
                outcome: ctx.address().recipient(),
                client: hello.client.clone(),
            },
        })
    }
}

impl Handler<Acquired> for Session {
    type Result = ();

    fn handle(&mut self, acquired: Acquired, ctx: &mut Self::Context) {
        if self.closing {
            return;
        }
        let lane = acquired.key.lane;
        match acquired.found {
            Ok(found) => {
                if found.jumped > 0 {
                    tracing::error!(client = self.client_name(), %lane, packets = found.jumped,
                        "the ledger is behind this client: what it once acknowledged is not on \
                         record under this spool's name (was the ledger restored, or the spool \
                         renamed?); the lane goes on after it");
                }
                self.dead.insert(lane, found.dead);
                self.tried.remove(&lane);
                self.tried.extend(found.tried.map(|tried| (lane, tried)));
                // A lane without packets has a known chain, whoever asks.
                let start = || Some(Chain::start(self.inbox.target(lane)?, lane));
                let fresh = found.cursor == Number::NONE;
                let chain = found.chain.or_else(|| if fresh { start() } else { None });
                self.inbox.acquired(lane, found.cursor, chain, found.skipped);
                self.act(ctx);
            }
            Err(LedgerError::Retired { .. }) => {
                let message = format!(
                    "lane {lane} is retired: this spool was restored from before that, or is a copy"
                );
                tracing::error!(client = self.client_name(), %lane,
                    "a lane came back that was retired: the client's spool was restored from before \
                     that, or is a copy; it is told to take a new name, and what it still holds may \
                     be handled twice");
                self.refuse_for("retired-lane", RefusedCode::Rekey, message, None);
                self.leave("its spool has a lane that is retired", ctx);
            }
            Err(error) => self.leave(&format!("the ledger did not answer: {error}"), ctx),
        }
    }
}

impl Handler<Outcome> for Session {
    type Result = ();

    fn handle(&mut self, outcome: Outcome, ctx: &mut Self::Context) {
        let lane = outcome.lane;
        match outcome.ended {
            Ended::Settled { through, dead } => {
                let dead = dead.into_iter();
                let say =
                    dead.map(|(reason, numbers)| Control::Dead(Dead { lane, numbers, reason }));
                self.answers.extend(say);
                self.pauses.remove(&lane);
                self.inbox.settled(lane, through);
            }
            Ended::Failed { retry_after_ms, reason, .. } => {
                self.queues.remove(&lane);
                if let Some(generation) = self.inbox.failed(lane) {
                    let pause = Pause { lane, generation, retry_after_ms, reason };
                    self.note_pause(&pause);
                    self.answers.push(Control::Pause(pause));
                }
            }
        }
        if self.closing {
            // An attempt of which a part has its outcome goes on, and holds the lane (R7).
            if self.inbox.attempts().all(|running| running != lane) {
                self.release([lane]);
                self.finish(ctx);
            }
        } else {
            self.act(ctx);
        }
    }
}
