//! The spool's clock, by which its packets grow old: milliseconds that only grow.
//!
//! Within one boot it goes with the system's own clock, sleep included. Over a boot it goes on by the
//! wall clock when both readings of that can be right: neither before this format was made, nor
//! before the last one that was written down. Otherwise it stands still for that while, so that a
//! packet lives a little longer rather than not long enough.

use paquebot_protocol::Millis;
use serde::{Deserialize, Serialize};

use super::SystemClock;

/// No machine that runs this has an earlier date: 2026-01-01 (UTC).
const SANE_FROM_MS: u64 = 1_767_225_600_000;

/// What the system says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which boot of the machine this is; 0 when the system does not say.
    pub boot: u128,
    /// Milliseconds since that boot, sleep included.
    pub since_boot_ms: u64,
    /// Milliseconds since 1970 (UTC), as the machine believes.
    pub wall_ms: u64,
}

/// What a spool keeps of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockRow {
    /// What it showed.
    pub(crate) shown: Millis,
    /// What the system said then.
    pub(crate) reading: Reading,
}

/// The clock.
#[derive(Debug, Clone)]
pub(super) struct SpoolClock {
    system: SystemClock,
    last: ClockRow,
}

impl SpoolClock {
    /// The clock of a new spool.
    pub(super) fn new(system: SystemClock) -> Self {
        let last = ClockRow { shown: Millis(0), reading: (system.0)() };
        Self { system, last }
    }

    /// The clock of a spool that kept `row`.
    pub(super) fn from_row(system: SystemClock, row: ClockRow) -> Self {
        let mut clock = Self { system, last: row };
        clock.now();
        clock
    }

    /// What it shows.
    pub(super) fn now(&mut self) -> Millis {
        let reading = (self.system.0)();
        let shown = self.last.shown.after(passed(self.last.reading, reading));
        self.last = ClockRow { shown, reading };
        shown
    }

    /// What is to be kept of it.
    pub(super) fn row(&self) -> ClockRow {
        self.last
    }
}

/// How much time lies between two readings, as far as can be known.
fn passed(then: Reading, now: Reading) -> Millis {
    if then.boot != 0 && then.boot == now.boot {
        return Millis(now.since_boot_ms.saturating_sub(then.since_boot_ms));
    }
    let sane = then.wall_ms >= SANE_FROM_MS && now.wall_ms >= then.wall_ms;
    Millis(if sane { now.wall_ms - then.wall_ms } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: Reading =
        Reading { boot: 7, since_boot_ms: 60_000, wall_ms: SANE_FROM_MS + 1_000_000 };

    #[test]
    fn within_one_boot_no_jump_of_the_wall_clock_counts() {
        for wall_ms in [0, THEN.wall_ms - 500_000, THEN.wall_ms + 86_400_000] {
            let now = Reading { since_boot_ms: 61_500, wall_ms, ..THEN };
            assert_eq!(passed(THEN, now), Millis(1_500));
        }
    }

    #[test]
    fn over_a_boot_the_wall_clock_counts_when_it_can_be_right() {
        let rebooted = Reading { boot: 8, since_boot_ms: 5_000, ..THEN };
        let later = |wall_ms| Reading { wall_ms, ..rebooted };
        assert_eq!(passed(THEN, later(THEN.wall_ms + 30_000)), Millis(30_000));
        assert_eq!(passed(THEN, later(THEN.wall_ms - 1)), Millis(0));
        assert_eq!(passed(THEN, later(1_000)), Millis(0));
        let lost = Reading { wall_ms: 5_000, ..THEN };
        assert_eq!(passed(lost, later(THEN.wall_ms)), Millis(0), "1970 was no right reading");
    }
}
