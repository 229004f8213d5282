//! How tries follow each other when something fails.
//!
//! Decides the bounds of the wait. Never decides a wait: that is the law's back-off, with full
//! jitter.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration::duration_in_words;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;

/// The ceilings of the wait between two tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// The longest wait after the first failure.
    pub initial: Duration,
    /// The longest wait after any failure.
    pub max: Duration,
}

impl RetryPolicy {
    /// Reads `{ initial, max }`. `later` are keys that only a later version reads.
    pub(super) fn read(
        mut section: Section<'_>,
        default: Self,
        within: RangeInclusive<Duration>,
        later: &[&'static str],
    ) -> Result<Self, Reported> {
        let kind = kind::duration(within);
        let initial = section.optional("initial", &kind, default.initial);
        let max = section.optional("max", &kind, default.max);
        section.unavailable(later);
        if let (Ok(initial), Ok(max)) = (initial, max)
            && initial > max
        {
            let expected = format!("no less than `initial`: {}", duration_in_words(initial));
            section.complain("max", Fault::Value { expected, found: duration_in_words(max) });
        }
        section.finish();
        Ok(Self { initial: initial?, max: max? })
    }
}
