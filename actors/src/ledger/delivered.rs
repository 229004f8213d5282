//! How long the packets of a record took, from their events on.

use std::collections::HashSet;

use paquebot_protocol::PacketId;
use paquebot_protocol::packet::created_ms;

use super::Recorded;
use crate::attempt::Attempt;
use crate::clock;
use crate::meters::Delivery;

impl Recorded {
    /// Counts how long those took that are handled; dead letters are none of them.
    pub(crate) fn count_in(&self, delivery: &Delivery) {
        let dead: HashSet<PacketId> = self.letters.iter().map(|(id, _)| *id).collect();
        let handled = self.attempts.iter().flat_map(|attempt| created(attempt, &dead));
        delivery.handled(clock::wall_ms(), handled);
    }
}

/// When the events of an attempt's packets were, but for those of dead letters.
fn created<'a>(
    attempt: &'a Attempt,
    dead: &'a HashSet<PacketId>,
) -> impl Iterator<Item = u64> + use<'a> {
    let (from, through) = (attempt.mark.from, attempt.mark.through);
    let (lane, is_replay) = (attempt.mark.lane, attempt.is_replay());
    attempt.runs.iter().flat_map(move |run| {
        let of_run = move |(number, record): (_, &[u8])| {
            // A run may hold more than the part of it that this record is about.
            let is_meant = is_replay || (from < number && number <= through);
            let is_dead = || !dead.is_empty() && dead.contains(&run.packet_id(lane, number));
            if is_meant && !is_dead() { created_ms(record) } else { None }
        };
        run.records().filter_map(of_run)
    })
}
