//! Tombstones: what stands in a lane in place of packets that will never come (R3, R8).
//!
//! A tombstone wins over whatever a segment still holds of its packets. Neighbours of one reason
//! become one, so that a lane that is evicted for years has one; it goes when it is acknowledged.

use std::collections::BTreeMap;

use paquebot_protocol::Number;
use paquebot_protocol::frame::SkipReason;

use super::facts::Tombstone;

/// The tombstones of one lane, by their last number; they never overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tombstones {
    by_last: BTreeMap<Number, Tombstone>,
    /// The numbers under all of them.
    count: u64,
}

/// What adding a tombstone changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// The one that stands there now.
    pub(super) whole: Tombstone,
    /// The last number of the one before, which has become part of it.
    pub(super) replaced: Option<Number>,
}

impl Tombstones {
    /// Puts one there and joins it with its neighbours; nothing when one is there already.
    pub(super) fn add(&mut self, mut added: Tombstone) -> Option<Added> {
        if self.after(added.first).is_some_and(|next| next.first <= added.last) {
            return None;
        }
        self.count += added.count();
        let before = self.by_last.get(&added.first.before()).copied();
        let mut replaced = None;
        if let Some(before) = before.filter(|before| before.reason == added.reason) {
            self.by_last.remove(&before.last);
            replaced = Some(before.last);
            added = Tombstone { first: before.first, chain: before.chain, ..added };
        }
        let next = self.after(added.last.next()).copied();
        if let Some(next) = next
            && next.first == added.last.next()
            && next.reason == added.reason
        {
            added = Tombstone { last: next.last, chain_after: next.chain_after, ..added };
        }
        self.by_last.insert(added.last, added);
        Some(Added { whole: added, replaced })
    }

    /// The first one that ends at `number` or after it.
    pub(super) fn after(&self, number: Number) -> Option<&Tombstone> {
        self.from(number).next()
    }

    /// Those that end at `number` or after it, in order.
    pub(super) fn from(&self, number: Number) -> impl Iterator<Item = &Tombstone> {
        self.by_last.range(number..).map(|(_, tombstone)| tombstone)
    }

    /// Every one, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tombstone> {
        self.by_last.values()
    }

    /// How many numbers beyond `acked` are under tombstones.
    pub(super) fn count_after(&self, acked: Number) -> u64 {
        // What is wholly acknowledged is gone, so at most the first one is partly so.
        let begun = self.after(acked.next()).map_or(0, |first| acked.next().since(first.first));
        self.count - begun
    }

    /// How many numbers after `from` up to `through` are under tombstones, in order, by reason.
    pub(super) fn between(&self, from: Number, through: Number) -> Vec<(SkipReason, u64)> {
        let some = self.from(from.next()).take_while(|tombstone| tombstone.first <= through);
        some.map(|tombstone| {
            let last = tombstone.last.min(through);
            (tombstone.reason, last.since(tombstone.first.before().max(from)))
        })
        .collect()
    }

    /// Forgets those that end at `acked` or before; gives their last numbers.
    pub(super) fn forget_through(&mut self, acked: Number) -> Vec<Number> {
        let left = self.by_last.split_off(&acked.next());
        let gone = std::mem::replace(&mut self.by_last, left);
        self.count -= gone.values().map(Tombstone::count).sum::<u64>();
        gone.into_keys().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_last.len()
    }
}

/// Whether every number after `from` up to `through` is under one of `tombstones`, which are in
/// order.
pub(super) fn cover(
    tombstones: impl IntoIterator<Item = Tombstone>,
    from: Number,
    through: Number,
) -> bool {
    let mut covered = from;
    for tombstone in tombstones {
        if covered >= through || tombstone.first > covered.next() {
            break;
        }
        covered = covered.max(tombstone.last);
    }
    covered >= through
}

#[cfg(test)]
mod tests {
    use super::*;
    use paquebot_protocol::Chain;

    fn tombstone(first: u64, last: u64, reason: SkipReason) -> Tombstone {
        let (chain, chain_after) = (Some(Chain(first - 1)), Chain(last));
        Tombstone { first: Number(first), last: Number(last), chain, chain_after, reason }
    }

    #[test]
    fn neighbours_of_one_reason_become_one_and_nothing_is_counted_twice() {
        let mut tombstones = Tombstones::default();
        for (first, last) in [(1, 3), (7, 9), (4, 6)] {
            assert!(tombstones.add(tombstone(first, last, SkipReason::Expired)).is_some());
        }
        let whole = tombstone(1, 9, SkipReason::Expired);
        assert_eq!(tombstones.iter().copied().collect::<Vec<_>>(), [whole]);
        assert_eq!(tombstones.add(tombstone(9, 12, SkipReason::Evicted)), None);
        assert!(tombstones.add(tombstone(10, 12, SkipReason::Evicted)).is_some());
        assert_eq!(tombstones.len(), 2);
        assert_eq!(tombstones.count_after(Number(0)), 12);
        assert_eq!(tombstones.count_after(Number(4)), 8);
        let between = tombstones.between(Number(4), Number(11));
        assert_eq!(between, [(SkipReason::Expired, 5), (SkipReason::Evicted, 2)]);
        assert_eq!(tombstones.forget_through(Number(10)), [Number(9)]);
        assert_eq!(tombstones.count_after(Number(10)), 2);
    }

    #[test]
    fn a_gap_between_tombstones_is_seen() {
        let all = [tombstone(1, 3, SkipReason::Expired), tombstone(5, 9, SkipReason::Expired)];
        assert!(cover(all, Number(0), Number(3)));
        assert!(cover(all, Number(5), Number(8)));
        assert!(cover(all, Number(4), Number(4)));
        assert!(!cover(all, Number(0), Number(5)));
        assert!(!cover(all, Number(0), Number(4)));
        assert!(!cover(all, Number(5), Number(10)));
    }
}
