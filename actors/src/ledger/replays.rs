//! What the ledger records of dead letters that were tried again, told apart from packets of lanes.

use std::collections::HashMap;

use paquebot_protocol::{Number, PacketId};
use paquebot_store::{DeadLetter, LetterKey, Replays, StillDead};

use crate::attempt::Attempt;

/// What became of the dead letters among `attempts`; those of `dead` that were dead before go.
pub(super) fn take(attempts: &[Attempt], dead: &mut Vec<DeadLetter>) -> Replays {
    let mut replays = Replays::default();
    if !attempts.iter().any(Attempt::is_replay) {
        return replays;
    }
    let mut again = HashMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.is_replay()) {
        let session = attempt.mark.fence.spool;
        again.extend(ids(attempt).map(|id| (id, session)));
    }
    let mut rejected: HashMap<PacketId, DeadLetter> = HashMap::new();
    for letter in std::mem::take(dead) {
        if again.contains_key(&letter.id) {
            rejected.insert(letter.id, letter);
        } else {
            dead.push(letter);
        }
    }
    for (id, session) in again {
        let key = LetterKey { session, lane: id.lane, number: id.number };
        match rejected.remove(&id) {
            Some(DeadLetter { handler, reason, attempts, last_attempt_ms, .. }) => {
                replays.rejected.push(StillDead {
                    key,
                    handler,
                    reason,
                    attempts,
                    last_attempt_ms,
                });
            }
            None => replays.handled.push(key),
        }
    }
    replays
}

fn ids(attempt: &Attempt) -> impl Iterator<Item = PacketId> {
    let lane = attempt.mark.lane;
    attempt.runs.iter().flat_map(move |run| {
        let numbers = run.first().0..=run.last().0;
        numbers.map(move |number| run.packet_id(lane, Number(number)))
    })
}
