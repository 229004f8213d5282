//! Offences: what a checker found to be wrong, kind by kind.

use std::collections::BTreeMap;
use std::fmt;

/// How many of each kind are told; all are counted.
const TOLD_MAX: usize = 5;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// "Stored" was said, and it is not where it has to be.
    Lost,
    /// It is there more than once, or two packets have one id.
    Twice,
    /// A later number came before an earlier one.
    OutOfOrder,
    /// It is not what was sent, or not whom it was sent to.
    Changed,
    /// It is there, and nobody sent it.
    Invented,
    /// It is somewhere where it must not be.
    Misplaced,
    /// The totals of the processes do not add up (R8).
    Unaccounted,
    /// It did not drain without new input (R11).
    Stuck,
    /// A process ended by itself, or did not stop in order.
    Ended,
    /// A spool took a new name, though nothing was copied or restored.
    Renamed,
    /// A process took more memory than it may.
    Grown,
    /// An answer broke its contract.
    BadAnswer,
}

impl Kind {
    /// Its word in figures.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Twice => "twice",
            Self::OutOfOrder => "out_of_order",
            Self::Changed => "changed",
            Self::Invented => "invented",
            Self::Misplaced => "misplaced",
            Self::Unaccounted => "unaccounted",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
            Self::Renamed => "renamed",
            Self::Grown => "grown",
            Self::BadAnswer => "bad_answer",
        }
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Offences {
    counts: BTreeMap<Kind, u64>,
    told: Vec<(Kind, String)>,
}

impl Offences {
    /// One more.
    pub(super) fn add(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= TOLD_MAX as u64 {
            self.told.push((kind, what()));
        }
    }

    /// All of others, too.
    pub(super) fn extend(&mut self, others: Self) {
        for (kind, count) in others.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.told.extend(others.told);
    }

    /// How many there are of a kind.
    pub(super) fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The kinds that were found, with their counts.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.counts.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The first of each kind, in words.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        self.told.iter().map(|(kind, what)| format!("{}: {what}", kind.word()))
    }
}

impl fmt::Display for Offences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.told() {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
