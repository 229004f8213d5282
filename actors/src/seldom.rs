//! Seldom: what would be said again and again is said once a minute.

use std::time::{Duration, Instant};

use crate::clock;

const EVERY: Duration = Duration::from_secs(60);

/// Whether something may be said again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is time; if so, the next time is a minute later.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = clock::instant();
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }

    /// What was wrong is not so any more: the next time is said at once.
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }
}

/// How many different things of one kind are said in a minute: what goes wrong with one lane goes wrong
/// with thousands.
#[derive(Debug, Default)]
pub(crate) struct Few {
    minute: Seldom,
    said: u32,
}

const FEW: u32 = 20;

impl Few {
    /// Whether one more may be said.
    pub(crate) fn is_due(&mut self) -> bool {
        if self.minute.is_due() {
            self.said = 0;
        }
        self.said += 1;
        self.said <= FEW
    }
}
