//! Replays in a transaction: what was handled after all goes with what the handler records (R4), so
//! that a dead letter's effect and its end are one.
//!
//! A record that is about a letter which is not there any more is refused whole: somebody else has
//! replayed, discarded or removed it, and its effect must not count.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::history::{Passage, Stretch};
use super::letters::Replays;
use super::sheet::Sheet;
use crate::error::RecordError;
use crate::fault::Fault;
use crate::schema;

impl Sheet<'_> {
    /// Whether every letter that was handled is there.
    pub(super) fn judge_replays(&mut self, replays: &Replays) -> Result<(), RecordError> {
        let mut seen = BTreeSet::new();
        for key in &replays.handled {
            // What fails here is a segment's affair, and that of whoever asked.
            if !seen.insert(key) || !self.dead.counts(key.dead_key())? {
                return Err(RecordError::NoLetter { lane: key.lane, number: key.number });
            }
        }
        Ok(())
    }

    /// Lets them go, and writes down who has them.
    pub(super) fn put_replays(
        &mut self,
        replays: Replays,
        handler: &Arc<str>,
    ) -> Result<(), Fault> {
        for key in &replays.handled {
            let (spool, lane, through) = key.dead_key();
            let (lane, from, how) = ((spool, lane), through.saturating_sub(1), Passage::Replayed);
            self.passes(Stretch { lane, from, through, how }, handler)?;
            self.transaction.open_table(schema::REPLAYED)?.insert(key.dead_key(), ())?;
            self.wrote = true;
            // It was found a moment ago. A segment that cannot be read any more loses the letter.
            let _ = self.dead.begin_to_leave(key.dead_key());
        }
        self.still_dead.extend(replays.rejected);
        Ok(())
    }
}
