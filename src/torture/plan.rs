//! The plan of faults: what happens to which process, drawn from the seed alone.
//!
//! The same seed gives the same plan: the same blows to the same processes, in the same order, with
//! the same waits. What a process is doing when a blow falls is up to the machine, so that two runs
//! of one seed are alike and not the same.

use std::time::Duration;

use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A process may take this long between two blows, in milliseconds; mostly it is far less.
const WAIT_MS: (u64, u64) = (300, 8_000);

/// A blow right after the start falls into recovery.
const EARLY_MS: (u64, u64) = (1, 400);

/// How long a process stays away, in milliseconds; mostly it comes back at once.
const DOWN_MS: (u64, u64) = (1, 4_000);

/// How long a process is frozen in a run of [`LONG_SECONDS`] or more, in milliseconds.
const FROZEN_MS: (u64, u64) = (2_000, 40_000);

/// Shorter runs freeze for shorter, down to a tenth.
const LONG_SECONDS: u64 = 600;

/// The faults of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// What happens to each process, in order.
    pub(super) blows: Vec<Vec<Blow>>,
    /// When receivers that fail for a while do so, in milliseconds of the run.
    pub(super) failing: Vec<Spell>,
    /// When receivers that hang for a while do so.
    pub(super) hanging: Vec<Spell>,
}

/// One fault of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blow {
    /// How long after the one before.
    pub(super) after: Duration,
    /// What is done.
    pub(super) kind: BlowKind,
    /// How long it stays away afterwards.
    pub(super) down: Duration,
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlowKind {
    /// SIGKILL.
    Kill,
    /// SIGTERM: it stops in order.
    Stop,
    /// SIGSTOP, and SIGCONT after a while.
    Freeze(Duration),
    /// SIGSTOP, and SIGKILL after a while.
    FreezeAndKill(Duration),
}

/// A while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spell {
    from: Duration,
    until: Duration,
}

impl Plan {
    /// The plan of `seed` for so many processes.
    pub(super) fn draw(seed: u64, seconds: u64, processes: usize) -> Self {
        let blows = (0..processes as u64).map(|at| blows(stream(seed, "blows", at), seconds));
        Self {
            blows: blows.collect(),
            failing: spells(stream(seed, "failing", 0), seconds),
            hanging: spells(stream(seed, "hanging", 0), seconds),
        }
    }
}

impl Spell {
    /// Whether `moment` lies in it.
    pub(super) fn holds(&self, moment: Duration) -> bool {
        self.from <= moment && moment < self.until
    }
}

/// Chance for one use: streams with other names do not depend on how much of each is drawn.
pub(super) fn stream(seed: u64, name: &str, at: u64) -> Rng {
    let named = xxh3_64_with_seed(name.as_bytes(), seed);
    Rng::with_seed(xxh3_64_with_seed(&at.to_le_bytes(), named))
}

/// A number between two, small ones as likely as large ones.
pub(super) fn spread(rng: &mut Rng, (least, most): (u64, u64)) -> u64 {
    let ratio = most as f64 / least.max(1) as f64;
    (least.max(1) as f64 * ratio.powf(rng.f64())) as u64
}

fn blows(mut rng: Rng, seconds: u64) -> Vec<Blow> {
    let shortness = (seconds as f64 / LONG_SECONDS as f64).clamp(0.1, 1.0);
    let shorter = |ms: u64| (ms as f64 * shortness) as u64;
    let frozen_ms = (shorter(FROZEN_MS.0), shorter(FROZEN_MS.1));
    let mut drawn = Vec::new();
    let mut passed = Duration::ZERO;
    while passed < Duration::from_secs(seconds) {
        let wait = if rng.u8(..100) < 20 { EARLY_MS } else { WAIT_MS };
        let after = Duration::from_millis(spread(&mut rng, wait));
        let mut frozen = || Duration::from_millis(spread(&mut rng, frozen_ms));
        let (freeze, freeze_and_kill) =
            (BlowKind::Freeze(frozen()), BlowKind::FreezeAndKill(frozen()));
        let kind = match rng.u8(..100) {
            0..65 => BlowKind::Kill,
            65..80 => BlowKind::Stop,
            80..95 => freeze,
            _ => freeze_and_kill,
        };
        let down = Duration::from_millis(spread(&mut rng, DOWN_MS));
        passed += after + down + kind.frozen();
        drawn.push(Blow { after, kind, down });
    }
    drawn
}

impl BlowKind {
    fn frozen(self) -> Duration {
        match self {
            Self::Freeze(frozen) | Self::FreezeAndKill(frozen) => frozen,
            Self::Kill | Self::Stop => Duration::ZERO,
        }
    }
}

/// Good and bad whiles in turn; the first is good.
fn spells(mut rng: Rng, seconds: u64) -> Vec<Spell> {
    let mut drawn = Vec::new();
    let mut at = Duration::ZERO;
    // Calm is longer than nothing, and the last storms have their spells, too.
    while at < Duration::from_secs(seconds * 2) {
        let from = at + Duration::from_millis(spread(&mut rng, (500, 10_000)));
        at = from + Duration::from_millis(spread(&mut rng, (300, 8_000)));
        drawn.push(Spell { from, until: at });
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn one_seed_has_one_plan_and_another_seed_another() {
        assert_eq!(Plan::draw(7, 60, 5), Plan::draw(7, 60, 5));
        assert_ne!(Plan::draw(7, 60, 5), Plan::draw(8, 60, 5));
    }

    #[test]
    fn half_an_hour_has_more_than_300_kills() {
        let plan = Plan::draw(7, 1_800, 5);
        let blows = plan.blows.iter().map(Vec::len).sum::<usize>();
        assert!(blows > 450, "{blows} blows in half an hour, of which two thirds are kills");
    }
}
