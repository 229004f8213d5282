//! Retirement: which lanes of a spool have ended for ever (R6).
//!
//! A ledger that forgets the cursor of a retired lane must not take that lane for a new one when it
//! comes back in a restored spool: everything in it would be handled again, and nobody told. "Lower
//! than the highest lane known" does not tell the two apart: after a re-key, and at a ledger that was
//! lost, lanes that rest are unknown too until they have something to send, and each would cost
//! another re-key. So the retired lanes themselves are remembered, as stretches: lanes are numbered
//! without gaps and never used again, so there are at most as many stretches as lanes that are not
//! retired, and one.

use std::collections::BTreeMap;

use crate::id::Lane;

/// The retired lanes of one spool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Retired {
    /// The last lane of each stretch, by its first; stretches neither overlap nor touch.
    stretches: BTreeMap<Lane, Lane>,
}

impl Retired {
    /// `lane` ends for ever. Says whether that is news.
    pub fn retire(&mut self, lane: Lane) -> bool {
        if self.contains(lane) {
            return false;
        }
        let after = Lane(lane.0.saturating_add(1));
        let last = self.stretches.remove(&after).unwrap_or(lane);
        let before = self.stretches.range_mut(..lane).next_back();
        match before.filter(|(_, end)| end.0.saturating_add(1) == lane.0) {
            Some((_, end)) => *end = last,
            None => _ = self.stretches.insert(lane, last),
        }
        true
    }

    /// Whether `lane` may not be opened any more.
    #[must_use]
    pub fn contains(&self, lane: Lane) -> bool {
        self.stretches.range(..=lane).next_back().is_some_and(|(_, end)| lane <= *end)
    }

    /// First and last lane of each stretch, in order: what a ledger keeps.
    pub fn stretches(&self) -> impl Iterator<Item = (Lane, Lane)> {
        self.stretches.iter().map(|(first, last)| (*first, *last))
    }
}

impl FromIterator<(Lane, Lane)> for Retired {
    /// From what [`Retired::stretches`] gave.
    fn from_iter<T: IntoIterator<Item = (Lane, Lane)>>(stretches: T) -> Self {
        Self { stretches: stretches.into_iter().collect() }
    }
}
