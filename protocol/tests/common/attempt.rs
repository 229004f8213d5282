//! What takes time at the model server: look-ups in the ledger, and attempts on their way through
//! handler and ledger.

use std::collections::BTreeSet;

use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Chain, LaneKey, Number, Run};

use super::handler::Effect;
use super::ledger::{Fence, Record};

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// With the handler.
    Working,
    /// With the ledger.
    Recording,
    /// Its outcome is on its way to the session.
    Ended { settled: Option<Number>, failed: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    pub(super) session: SessionId,
    pub(super) key: LaneKey,
    fence: Fence,
    pub(super) cursor: Number,
    pub(super) through: Number,
    chain: Chain,
    runs: Vec<Run>,
    pub(super) stumbles: bool,
    pub(super) stage: Stage,
}

/// Something that takes time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Job {
    LookUp { session: SessionId, key: LaneKey, first: Number },
    Attempt(Attempt),
}

impl Attempt {
    /// One that begins with the handler; without runs, what only passes packets, with the ledger.
    pub(super) fn new(
        session: SessionId,
        key: LaneKey,
        fence: Fence,
        cursor: Number,
        through: Number,
        chain: Chain,
        runs: Vec<Run>,
    ) -> Self {
        let stage = if runs.is_empty() { Stage::Recording } else { Stage::Working };
        Self { session, key, fence, cursor, through, chain, runs, stumbles: false, stage }
    }

    /// What the handler does with packets that are not poison.
    pub(super) fn effects(&self, poison: &BTreeSet<u64>) -> Vec<Effect> {
        self.packets().filter(|packet| !poison.contains(&packet.serial)).collect()
    }

    /// The packets that become dead letters.
    pub(super) fn dead(&self, poison: &BTreeSet<u64>) -> Vec<Effect> {
        self.packets().filter(|packet| poison.contains(&packet.serial)).collect()
    }

    pub(super) fn record(&self, poison: &BTreeSet<u64>) -> Record {
        let Self { key, fence, cursor: from, through, chain, .. } = *self;
        let dead = self.dead(poison).into_iter().map(|packet| packet.number).collect();
        let skipped = self.runs.is_empty();
        Record { fence, lane: key.lane, from, through, chain, dead, skipped }
    }

    /// The first half of what is left of it; nothing when that cannot be halved.
    pub(super) fn first_half(&self) -> Option<Self> {
        let through = Number(self.cursor.0 + self.through.since(self.cursor) / 2);
        let chain = self.runs.iter().find_map(|run| run.chain_at(through))?;
        (through > self.cursor).then(|| Self { through, chain, ..self.clone() })
    }

    /// Only the first half of it will be handled.
    pub(super) fn stumble(&mut self) {
        self.stumbles = true;
        match self.first_half() {
            Some(half) => *self = half,
            None => self.through = self.cursor,
        }
    }

    fn packets(&self) -> impl Iterator<Item = Effect> {
        let records = self.runs.iter().flat_map(Run::records);
        let ours = records.filter(|(number, _)| *number > self.cursor && *number <= self.through);
        ours.map(|(number, record)| Effect::of(self.key, number, record))
    }
}

/// What is dispatched is what follows the cursor, all of it and nothing else.
pub(super) fn check_runs(runs: &[Run], cursor: Number, through: Number) {
    let numbers = runs.iter().flat_map(Run::records).map(|(number, _)| number.0);
    let expected = cursor.0 + 1..=through.0;
    assert!(numbers.eq(expected), "dispatched after {cursor} through {through}: {runs:?}");
}

/// Begins an attempt, which must be the only one of its lane until its session has heard its end.
pub(super) fn begin(jobs: &mut Vec<Job>, attempt: Attempt) {
    let key = attempt.key;
    let runs_here = |job: &Job| matches!(job, Job::Attempt(other) if other.key == key);
    assert!(!jobs.iter().any(runs_here), "two attempts at once in {key:?}");
    jobs.push(Job::Attempt(attempt));
}
