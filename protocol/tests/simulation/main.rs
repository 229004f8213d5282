//! The shipping law of both sides, from seeds: several clients, bad links, faulty stores, virtual
//! time. After each step the invariants hold (safety); when faults stop, everything drains without
//! new input in bounded time (liveness).
//!
//! `SIM_SEEDS=100000 cargo test --release -p paquebot-protocol --test simulation` lives through more
//! of them, `SIM_SEED=42 …` through one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod checks;
#[path = "../common/mod.rs"]
mod common;
mod exhaustive;
mod link;
mod machine;
mod network;
mod random;
mod seed;
mod stores;
mod world;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use seed::{Outcome, live};

/// Seeds that once failed, and why.
/// 32,745 and 45,304: a run and a violation in one delivery left a lease with nobody.
/// 56,308: a spool and the ledger were restored to before they met, so that new packets had the numbers
/// of others that were handled; the rig took that for a repetition.
/// 61,695: the ledger was lost, then a spool restored that still held what the lost one had on record;
/// the rig excused what the spools held when the ledger went, and not what their copies held.
/// 14,306: a spool took a new name before a drop was handed to its store that had been acknowledged under
/// the old one; the count of what the ledger skipped went with it (`actors/connection`, too).
/// 39,395: a session whose successor had gone again was not told that it was replaced, and was refused
/// for ever by the fence (in the rig; the program tells it when it admits the newer one).
const REGRESSIONS: &[u64] = &[32_745, 45_304, 56_308, 61_695, 14_306, 39_395];

/// How many seeds are lived through when nobody says.
const SEEDS: u64 = 2_000;

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Lives through a seed; says how to come back to it when it fails.
fn try_seed(seed: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| live(seed, false))).unwrap_or_else(|failure| {
        eprintln!(
            "seed {seed} failed; again: SIM_SEED={seed} cargo test -p paquebot-protocol \
             --test simulation; to keep it: add {seed} to REGRESSIONS"
        );
        resume_unwind(failure)
    })
}

#[test]
fn whatever_a_seed_brings_every_packet_comes_to_its_end() {
    if let Some(seed) = asked("SIM_SEED") {
        println!("{:#?}", try_seed(seed));
        return;
    }
    let (first, seeds) = (asked("SIM_FIRST").unwrap_or(0), asked("SIM_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(first);
    let work = || {
        let (mut sum, mut slowest) = (Outcome::default(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return (sum, slowest);
            }
            let outcome = try_seed(seed);
            sum.actions += outcome.actions;
            sum.handled += outcome.handled;
            sum.rekeyed += outcome.rekeyed;
            sum.doubts_within_tombstones += outcome.doubts_within_tombstones;
            slowest = slowest.max(outcome.drained_after.0);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok((sum, slowest)) => println!("{sum:?}, drained after at most {slowest} ms"),
                Err(failure) => resume_unwind(failure),
            }
        }
    });
}

#[test]
fn seeds_that_once_failed_do_not_fail_again() {
    for seed in REGRESSIONS {
        try_seed(*seed);
    }
}

#[test]
fn a_seed_means_the_same_run_each_time() {
    for seed in 0..50 {
        let (first, second) = (live(seed, true), live(seed, true));
        assert_eq!(first, second, "seed {seed}");
        assert_ne!(first.trace, live(seed + 1, true).trace, "seed {seed} is like the next");
    }
}
