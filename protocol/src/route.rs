//! Routing: which handler takes a packet. Exact ids first, then patterns, most specific first.

use std::collections::BTreeMap;

use crate::target::{TargetId, TargetPattern};

/// From target to handler; a handler is its place in the caller's list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteTable {
    exact: BTreeMap<TargetId, usize>,
    patterns: Vec<(TargetPattern, usize)>,
}

impl RouteTable {
    /// Builds the table; of two handlers with one pattern the first keeps it (the config forbids
    /// that).
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = (TargetPattern, usize)>) -> Self {
        let mut table = Self::default();
        for (pattern, handler) in routes {
            match pattern.exact() {
                Some(target) => {
                    table.exact.entry(target).or_insert(handler);
                }
                None => table.patterns.push((pattern, handler)),
            }
        }
        table.patterns.sort_by(|(a, _), (b, _)| a.by_specificity(b));
        table
    }

    /// The one handler for `target`.
    #[must_use]
    pub fn find(&self, target: &TargetId) -> Option<usize> {
        let matching = || self.patterns.iter().find(|(pattern, _)| pattern.matches(target));
        self.exact.get(target).copied().or_else(|| matching().map(|(_, handler)| *handler))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(patterns: &[&str], target: &str) -> Option<usize> {
        let routes = patterns.iter().map(|text| text.parse().expect("pattern")).zip(0..);
        RouteTable::new(routes).find(&target.parse().expect("target"))
    }

    #[test]
    fn the_most_specific_pattern_wins_wherever_it_stands() {
        assert_eq!(find(&[">", "orders.*", "orders.eu"], "orders.eu"), Some(2));
        assert_eq!(find(&[">", "orders.*", "orders.eu"], "orders.us"), Some(1));
        assert_eq!(find(&[">", "orders.>", "orders.*.new"], "orders.eu.new"), Some(2));
        assert_eq!(find(&["*.eu", "orders.*"], "orders.eu"), Some(1));
    }

    #[test]
    fn rest_takes_one_token_or_more_and_any_takes_exactly_one() {
        assert_eq!(find(&["a.>"], "a"), None);
        assert_eq!(find(&["a.>"], "a.b.c"), Some(0));
        assert_eq!(find(&["a.*"], "a.b.c"), None);
    }
}
