//! A model attempt: packets of a lane on their way through the handler and the ledger.

use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Chain, LaneKey, Number, Run};

use super::ledger::Effect;

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// With the handler.
    Working,
    /// With the ledger.
    Recording,
    /// Its outcome is on its way to the session.
    Ended { settled: Option<Number>, failed: bool },
}

#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) session: SessionId,
    pub(crate) key: LaneKey,
    pub(crate) cursor: Number,
    pub(crate) through: Number,
    pub(crate) chain: Chain,
    pub(crate) runs: Vec<Run>,
    pub(crate) stumbles: bool,
    pub(crate) stage: Stage,
}

impl Attempt {
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let records = self.runs.iter().flat_map(Run::records);
        let ours = records.filter(|(number, _)| *number > self.cursor && *number <= self.through);
        ours.map(|(number, record)| Effect::of(self.key, number, record)).collect()
    }

    /// The number in the middle of what is left, and the chain there.
    pub(crate) fn middle(&self) -> (Number, Chain) {
        let middle = Number(self.cursor.0 + self.through.since(self.cursor) / 2);
        let chain = self.runs.iter().find_map(|run| run.chain_at(middle));
        (middle, chain.expect("a number of the attempt, or the one before"))
    }

    /// Only the first half of it will be handled.
    pub(crate) fn stumble(&mut self) {
        (self.through, self.chain) = self.middle();
        self.stumbles = true;
    }
}

/// What is dispatched is what follows the cursor, all of it and nothing else.
pub(crate) fn check_runs(runs: &[Run], cursor: Number, through: Number) {
    let numbers = runs.iter().flat_map(Run::records).map(|(number, _)| number.0);
    let expected = cursor.0 + 1..=through.0;
    assert!(numbers.eq(expected), "dispatched after {cursor} through {through}: {runs:?}");
}
