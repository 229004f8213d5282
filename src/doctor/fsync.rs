//! How long an fsync takes: the price of "stored", and a hint when it costs too little.

use std::io;
use std::time::Duration;

use paquebot_actors::clock;

use super::finding::Verdict;
use super::probe::Probe;

/// How often it is tried, at most: enough for a 99th percentile that is not the maximum.
const ROUNDS_MAX: usize = 200;
/// How long all of that may take.
const TIME_MAX: Duration = Duration::from_secs(2);
/// What is appended each time: a small packet.
const BYTES: [u8; 256] = [b'.'; 256];

/// No path through the kernel to a device and back is faster: the fastest flash with power-loss
/// protection answers a flush in some 20 to 30 µs.
const TOO_FAST: Duration = Duration::from_micros(20);
/// Beyond this a sender who waits for each packet feels it.
const SLOW: Duration = Duration::from_millis(50);
/// Beyond this, time-outs of senders are in reach.
const STALL: Duration = Duration::from_secs(1);

/// How long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) rounds: usize,
    pub(super) median: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Latency {
    /// Appends and syncs, again and again.
    pub(super) fn measure(probe: &mut Probe) -> io::Result<Self> {
        let begun = clock::instant();
        let mut took = Vec::with_capacity(ROUNDS_MAX);
        while took.len() < ROUNDS_MAX && (took.is_empty() || begun.elapsed() < TIME_MAX) {
            let start = clock::instant();
            probe.append(&BYTES)?;
            took.push(start.elapsed());
        }
        Ok(Self::of(took))
    }

    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let rounds = took.len();
        let at = |percent: usize| {
            let index = (rounds * percent).div_ceil(100).saturating_sub(1);
            took.get(index).copied().unwrap_or_default()
        };
        Self { rounds, median: at(50), p99: at(99), max: at(100) }
    }
}

/// What the latency says; `on_a_disk` when a block device is beneath.
pub(super) fn judge(latency: Latency, on_a_disk: bool) -> Verdict {
    let Latency { rounds, median, p99, max } = latency;
    let found = format!(
        "median {}, 99th percentile {}, longest {} ({rounds} appends)",
        millis(median),
        millis(p99),
        millis(max)
    );
    if !on_a_disk {
        let meaning = "no disk is seen beneath, so this says nothing about what persists";
        return Verdict::note(found, meaning);
    }
    if median < TOO_FAST {
        return Verdict::warning(
            found,
            "no disk is that fast: the writes probably do not reach it; look for a host or \
             controller that answers from a cache without a battery, and for libeatmydata",
        );
    }
    if median > SLOW {
        let rate = (1.0 / median.as_secs_f64()).max(1.0);
        let meaning = format!(
            "a sender who waits for each packet gets some {rate:.0} a second stored; send several at \
             once, or use a faster disk"
        );
        return Verdict::warning(found, meaning);
    }
    if max > STALL {
        let meaning = "the disk stalls at times; senders with short time-outs will notice";
        return Verdict::warning(found, meaning);
    }
    Verdict::ok(found, "\"stored\" costs about this much")
}

fn millis(took: Duration) -> String {
    format!("{:.3} ms", took.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn latencies_are_judged_by_what_disks_can_do() {
        let micros = Duration::from_micros;
        for (median, max, on_a_disk, level) in [
            (300, 2_000, true, Level::Ok),
            (20, 30, true, Level::Ok),
            (19, 30_000, true, Level::Warning),
            (19, 20, false, Level::Note),
            (50_001, 60_000, true, Level::Warning),
            (10_000, 1_000_001, true, Level::Warning),
        ] {
            let (median, max) = (micros(median), micros(max));
            let latency = Latency { rounds: 200, median, p99: max, max };
            assert_eq!(judge(latency, on_a_disk).level, level, "{median:?} {max:?} {on_a_disk}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_rounds() {
        let took = (1..=200).rev().map(Duration::from_micros).collect();
        let latency = Latency::of(took);
        let micros = [latency.median, latency.p99, latency.max].map(|took| took.as_micros());
        assert_eq!((latency.rounds, micros), (200, [100, 198, 200]));
        let one = Latency::of(vec![Duration::from_micros(7)]);
        assert_eq!((one.median, one.p99, one.max), (one.max, one.max, Duration::from_micros(7)));
        assert_eq!(Latency::of(Vec::new()).rounds, 0);
    }
}
