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

/// The ceilings of the wait between two tries, and when it is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// The longest wait after the first failure.
    pub initial: Duration,
    /// The longest wait after any failure.
    pub max: Duration,
    /// How long after the first failure no further try is made; none: it is tried for ever.
    pub give_up_after: Option<Duration>,
}

/// Whether there is something to give up.
#[derive(Debug, Clone)]
pub(super) enum GivingUp {
    /// There is no such key.
    Unknown,
    /// The key is known elsewhere and would do nothing.
    WithoutEffect(&'static str),
    /// After a time within these bounds.
    Within(RangeInclusive<Duration>),
}

impl RetryPolicy {
    /// Reads `{ initial, max, give_up_after }`, the last as far as there is something to give up.
    pub(super) fn read(
        mut section: Section<'_>,
        default: Self,
        within: RangeInclusive<Duration>,
        giving_up: GivingUp,
    ) -> Result<Self, Reported> {
        let kind = kind::duration(within);
        let initial = section.optional("initial", &kind, default.initial);
        let max = section.optional("max", &kind, default.max);
        let give_up_after = match giving_up {
            GivingUp::Unknown => Ok(None),
            GivingUp::WithoutEffect(reason) => {
                section.without_effect("give_up_after", reason);
                Ok(None)
            }
            GivingUp::Within(bounds) => {
                section.optional("give_up_after", &kind::duration(bounds).or_none(), None)
            }
        };
        if let (Ok(initial), Ok(max)) = (initial, max)
            && initial > max
        {
            let expected = format!("no less than `initial`: {}", duration_in_words(initial));
            section.complain("max", Fault::Value { expected, found: duration_in_words(max) });
        }
        if let (Ok(max), Ok(Some(end))) = (max, give_up_after)
            && end < max
        {
            let (found, max) = (duration_in_words(end), duration_in_words(max));
            let help = "make `give_up_after` longer or `max` shorter";
            section.warn("give_up_after", Fault::EarlyEnd { found, max }, help);
        }
        section.finish();
        Ok(Self { initial: initial?, max: max?, give_up_after: give_up_after? })
    }
}
