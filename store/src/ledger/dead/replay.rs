//! Letters that a handler was given again: those that were handled go, the others are brought up to
//! date.
//!
//! The ledger's transaction decides. Before it is durable nothing is done to a segment, and after it
//! nothing that happens to one brings a letter back.

use std::collections::BTreeMap;

use super::{DeadKey, DeadLetters};
use crate::fault::Fault;
use crate::ledger::fence::number_of;
use crate::ledger::letters::{LetterKey, StillDead};
use crate::schema;

impl LetterKey {
    /// The key as a segment has it.
    pub(in crate::ledger) fn dead_key(&self) -> DeadKey {
        (number_of(self.session), self.lane.0, self.number.0)
    }
}

impl DeadLetters {
    /// Whether there is such a letter, and it counts.
    pub(in crate::ledger) fn counts(&mut self, key: DeadKey) -> Result<bool, Fault> {
        Ok(!self.unsettled.contains_key(&key) && self.find(key)?.is_some())
    }

    /// The letter goes when the ledger's transaction is durable; until then nobody else gets it.
    pub(in crate::ledger) fn begin_to_leave(&mut self, key: DeadKey) -> Result<(), Fault> {
        if let Some(brief) = self.find(key)? {
            self.discount(&brief);
            self.unsettled.insert(key, brief);
            self.leaving.push(key);
            *self.gone.entry(schema::GONE_REPLAYED).or_default() += 1;
        }
        Ok(())
    }

    /// The ledger's transaction failed: those that were about to leave stay.
    pub(in crate::ledger) fn stay(&mut self) {
        let staying = std::mem::take(&mut self.leaving);
        let count = staying.len() as u64;
        if let Some(gone) = self.gone.get_mut(schema::GONE_REPLAYED) {
            *gone = gone.saturating_sub(count);
        }
        self.gone.retain(|_, count| *count > 0);
        self.settle(staying);
    }

    /// The ledger's transaction is durable: they are gone.
    pub(in crate::ledger) fn leave(&mut self) {
        let left = std::mem::take(&mut self.leaving);
        if !left.is_empty() {
            self.replayed.extend(left);
            self.clear_out();
        }
    }

    /// Removes what was replayed from its segments. What cannot be removed now stays unseen, and is
    /// removed later.
    pub(in crate::ledger) fn clear_out(&mut self) {
        let left = self.replayed.iter().filter(|key| self.unsettled.contains_key(*key));
        let left: Vec<DeadKey> = left.copied().collect();
        if !left.is_empty() {
            // A segment that fails says so by itself.
            let _ = self.remove_unsettled(&left);
        }
    }

    /// Letters that the ledger still has to name as replayed, because a segment may hold them, or
    /// because nobody has told it yet that none does.
    pub(in crate::ledger) fn has_replayed(&self) -> bool {
        !self.replayed.is_empty()
    }

    /// Those that are out of their segments.
    pub(super) fn out(&self) -> Vec<DeadKey> {
        let out = self.replayed.iter().filter(|key| !self.unsettled.contains_key(*key));
        out.copied().collect()
    }

    /// Brings letters up to date that were tried again in vain; gives how many there were.
    pub(in crate::ledger) fn still_dead(&mut self, still: &[StillDead]) -> Result<u64, Fault> {
        let mut by_segment: BTreeMap<u64, Vec<(u64, &StillDead)>> = BTreeMap::new();
        let mut renamed = Vec::new();
        for still in still {
            let key = still.key.dead_key();
            if self.unsettled.contains_key(&key) {
                continue;
            }
            let Some(brief) = self.find(key)? else { continue };
            by_segment.entry(brief.segment).or_default().push((brief.position, still));
            if brief.handler != still.handler {
                renamed.push((brief, still.handler.clone()));
            }
        }
        let mut count = 0;
        for (segment, letters) in by_segment {
            self.change(segment, |file| file.update(&letters))?;
            count += letters.len() as u64;
        }
        for (mut brief, handler) in renamed {
            self.discount(&brief);
            brief.handler = handler;
            self.count(&brief);
        }
        Ok(count)
    }
}
