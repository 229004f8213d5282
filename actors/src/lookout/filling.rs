//! How fast the spool fills, and when it is full at that rate.
//!
//! The rate is that of the bytes that wait, which grow with what comes and shrink with what is handled:
//! smoothed over a minute, so that a burst is not taken for the rule, nor a pause for its end.

use std::time::{Duration, Instant};

/// What lies so far back counts by a third.
const MEMORY: Duration = Duration::from_secs(60);

/// What is farther away than this is never.
const NEVER_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;

/// The rate.
#[derive(Debug, Clone, Default)]
pub(super) struct Filling {
    last: Option<(Instant, u64)>,
    rate: f64,
    /// How much of the memory there is yet.
    weight: f64,
}

impl Filling {
    /// So many bytes wait now.
    pub(super) fn take(&mut self, now: Instant, held_bytes: u64) {
        if let Some((at, before)) = self.last {
            let seconds = now.saturating_duration_since(at).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            let rate = (held_bytes as f64 - before as f64) / seconds;
            let kept = (-seconds / MEMORY.as_secs_f64()).exp();
            self.rate = self.rate * kept + rate * (1.0 - kept);
            self.weight = self.weight * kept + (1.0 - kept);
        }
        self.last = Some((now, held_bytes));
    }

    /// When `left_bytes` are used up, in seconds; nothing when that is never.
    pub(super) fn seconds_left(&self, left_bytes: u64) -> Option<f64> {
        if left_bytes == 0 {
            return Some(0.0);
        }
        let rate = if self.weight > 0.0 { self.rate / self.weight } else { 0.0 };
        let seconds = left_bytes as f64 / rate;
        (rate > 0.0 && seconds < NEVER_SECONDS).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TICK: Duration = Duration::from_secs(2);

    #[test]
    fn a_steady_rate_is_known_from_the_second_look_on() {
        let (mut filling, start) = (Filling::default(), clock::instant());
        filling.take(start, 1_000);
        assert_eq!(filling.seconds_left(1_000_000), None);
        for look in 1..50 {
            filling.take(start + TICK * look, 1_000 + u64::from(look) * 2_000);
            let left = filling.seconds_left(3_600_000).unwrap();
            assert!((left - 3_600.0).abs() < 1.0, "{left} at {look}");
        }
    }

    #[test]
    fn what_does_not_fill_is_never_full_but_full_is_full() {
        let (mut filling, start) = (Filling::default(), clock::instant());
        for look in 0..20 {
            filling.take(start + TICK * look, 100_000 - u64::from(look) * 100);
        }
        assert_eq!(filling.seconds_left(1_000), None);
        assert_eq!(filling.seconds_left(0), Some(0.0));
    }

    #[test]
    fn a_burst_is_forgotten_within_minutes() {
        let (mut filling, start) = (Filling::default(), clock::instant());
        filling.take(start, 0);
        filling.take(start + TICK, 20_000_000);
        let soon = filling.seconds_left(100_000_000).unwrap();
        let mut at = start + TICK;
        for _ in 0..150 {
            at += TICK;
            filling.take(at, 20_000_000);
        }
        let later = filling.seconds_left(100_000_000).unwrap();
        assert!(soon < 60.0 && later > 3_600.0, "{soon}, then {later}");
    }
}
