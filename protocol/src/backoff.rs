//! Back-off: how long to wait before the next try, with full jitter, so that a server that comes
//! back is not met by all its clients at once.

use crate::time::Millis;

/// Doublings after which the ceiling has long been reached; bounds the shift.
const DOUBLINGS_MAX: u32 = 32;

/// A ladder of waits from `initial` to `max`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backoff {
    initial: Millis,
    max: Millis,
    failures: u32,
}

impl Backoff {
    /// A ladder that has not been climbed yet.
    #[must_use]
    pub fn new(initial: Millis, max: Millis) -> Self {
        Self { initial, max, failures: 0 }
    }

    /// The same ladder after so many failures: what was counted before a restart goes on.
    #[must_use]
    pub fn after(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    /// The wait after one more failure: uniform between 0 and the present ceiling, chosen by
    /// `random`, which comes from the caller.
    pub fn next(&mut self, random: u64) -> Millis {
        let doubled = self.initial.0.saturating_mul(1_u64 << self.failures.min(DOUBLINGS_MAX));
        let ceiling = doubled.min(self.max.0);
        self.failures = self.failures.saturating_add(1);
        Millis(random % ceiling.saturating_add(1))
    }

    /// Starts again at the bottom: something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were since something last worked.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
