//! An attempt: packets of one lane on their way through router and handler, and what comes of it.
//!
//! Everything that the outcome needs travels with the packets, so that no actor on the way has to
//! ask another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Message, Recipient};
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{ClientId, Lane, LaneKey, Number, PacketId, Run, TargetId};
use paquebot_store::{DeadLetter, Mark, Tried};

use crate::clock;
use crate::permit::Permit;

/// Where an attempt's outcome goes.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The session that dispatched it.
    pub session: SessionId,
    /// Its address.
    pub outcome: Recipient<Outcome>,
    /// The client that sent the packets.
    pub client: ClientId,
}

/// Packets of one lane, in order, to be handled together.
#[derive(Debug)]
pub struct Attempt {
    /// Where the packets go.
    pub target: TargetId,
    /// How the ledger's cursor moves when they are handled.
    pub mark: Mark,
    /// The packets, from the one after `mark.from` to `mark.through`.
    pub runs: Vec<Run>,
    /// Their place in memory.
    pub permit: Vec<Permit>,
    /// What is known of the first packet, if it was tried in vain before (R11).
    pub tried: Option<Tried>,
    /// Set when these are dead letters that are tried again: what is known of each. They may leave gaps,
    /// and no cursor moves.
    pub replay: Option<Arc<BTreeMap<Number, Tried>>>,
    /// Where the outcome goes.
    pub origin: Origin,
}

impl Attempt {
    /// The lane as the ledger names it.
    #[must_use]
    pub fn key(&self) -> LaneKey {
        LaneKey { spool: self.mark.fence.spool, lane: self.mark.lane }
    }

    /// The packets' ids and records, in order.
    pub fn records(&self) -> impl Iterator<Item = (PacketId, &[u8])> {
        let lane = self.mark.lane;
        let of_run = move |run: &'_ Run| {
            let run = run.clone();
            move |number| run.packet_id(lane, number)
        };
        self.runs.iter().flat_map(move |run| {
            let id = of_run(run);
            run.records().map(move |(number, record)| (id(number), record))
        })
    }

    /// Whether the runs hold the packets after `mark.from` up to `mark.through`, without a gap: the
    /// cursor must not move over what was never handled.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut through = self.mark.from;
        for run in &self.runs {
            if run.first() != through.next() {
                return false;
            }
            through = run.last();
        }
        through == self.mark.through
    }

    /// How many packets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        if self.is_replay() {
            return self.runs.iter().map(|run| u64::from(run.head().count)).sum();
        }
        self.mark.through.since(self.mark.from)
    }

    /// Whether these are dead letters that are tried again.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Of so many that were not handled, those that are dead letters only now.
    #[must_use]
    pub fn newly_dead(&self, dead: u64) -> u64 {
        if self.is_replay() { 0 } else { dead }
    }

    /// How many bytes of runs there are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.encoded().len()).sum()
    }

    /// The packets up to `through` as an attempt of their own, so that their outcome can be recorded
    /// while the rest goes on. `None` when there are none.
    #[must_use]
    pub fn split_to(&mut self, through: Number) -> Option<Self> {
        if through <= self.mark.from || through > self.mark.through {
            return None;
        }
        let chain = if through == self.mark.through {
            self.mark.chain
        } else {
            self.runs.iter().find_map(|run| run.chain_at(through))?
        };
        let runs: Vec<Run> =
            self.runs.iter().filter(|run| run.first() <= through).cloned().collect();
        // A run has one permit, and its place in memory while any of it is left.
        let done = self.runs.iter().take_while(|run| run.last() <= through).count();
        self.runs.drain(..done);
        let permit = self.permit.drain(..done.min(self.permit.len())).collect();
        let mut part = Self {
            target: self.target.clone(),
            mark: Mark { through, chain, ..self.mark },
            runs,
            permit,
            tried: self.tried.take(),
            replay: self.replay.clone(),
            origin: self.origin.clone(),
        };
        part.mark.handled = part.count();
        self.mark.from = through;
        self.mark.handled = self.count();
        Some(part)
    }

    /// What is known of the packet `number` once an attempt at it has failed at `now_ms`.
    #[must_use]
    pub fn failed(&self, number: Number, now_ms: u64) -> Tried {
        let before = match &self.replay {
            Some(letters) => letters.get(&number).copied(),
            None => self.tried.filter(|tried| tried.number == number),
        };
        Tried {
            number,
            attempts: before.map_or(0, |tried| tried.attempts).saturating_add(1),
            first_attempt_ms: before.map_or(now_ms, |tried| tried.first_attempt_ms),
            last_attempt_ms: now_ms,
        }
    }

    /// The lane is to be paused: what is left of this attempt was not handled.
    pub fn fail(self, retry_after_ms: u64, reason: String) {
        self.end(Ended::Failed { retry_after_ms, reason, tried: false });
    }

    /// The same, when the first packet of what is left was tried.
    pub fn fail_tried(self, retry_after_ms: u64, reason: String) {
        self.end(Ended::Failed { retry_after_ms, reason, tried: true });
    }

    fn end(self, ended: Ended) {
        let lane = self.mark.lane;
        self.origin.outcome.do_send(Outcome { lane, ended });
    }

    /// One packet of this attempt as a dead letter.
    #[must_use]
    pub fn dead_letter(&self, id: PacketId, record: &[u8], handler: &str, why: &str) -> DeadLetter {
        let Tried { attempts, first_attempt_ms, last_attempt_ms, .. } =
            self.failed(id.number, clock::wall_ms());
        DeadLetter {
            id,
            client: self.origin.client.clone(),
            target: self.target.clone(),
            handler: handler.to_owned(),
            reason: why.to_owned(),
            attempts,
            first_attempt_ms,
            last_attempt_ms,
            record: record.to_vec().into(),
        }
    }
}

/// What came of an attempt; to the session that dispatched it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Outcome {
    /// The lane.
    pub lane: Lane,
    /// How it ended.
    pub ended: Ended,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything up to `through` has a final outcome, durable in the ledger. The attempt goes on
    /// when that is not all of it.
    Settled {
        /// The last packet.
        through: Number,
        /// Those that became dead letters, by why.
        dead: BTreeMap<String, Vec<Number>>,
    },
    /// What was not settled before was not handled; the client is to come again.
    Failed {
        /// When, in milliseconds.
        retry_after_ms: u64,
        /// Why, for people.
        reason: String,
        /// Whether the first packet of what is left was tried.
        tried: bool,
    },
}
