//! Proves that no damaged byte, no torn file and no lost one makes a spool panic, refuse to open, pass
//! on what was not stored, lose what is whole, or bring back what was acknowledged (R10).
//!
//! `DAMAGE_FLIPS=n` and `DAMAGE_CUTS=n` try that many places of each file; `DAMAGE_SEED=n` chooses
//! others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use common::{CrashDisk, SpoolRig, data, options};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Number, SpoolId};
use paquebot_store::{Disk, SpoolOptions};

const TARGETS: [&str; 3] = ["orders.new", "alarms.high", "logs.app"];

fn number_of(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

fn small() -> SpoolOptions {
    let mut options = SpoolOptions { segment_bytes: 256 * 1024, ..options() };
    options.tidy_every = Duration::from_millis(20);
    options
}

/// What a lane holds.
#[derive(Debug, Clone)]
struct Truth {
    acked: u64,
    next: u64,
    /// What is held, or declared.
    numbers: BTreeMap<u64, Option<Vec<u8>>>,
}

/// A spool with several segments, tombstones and lanes that are partly acknowledged; closed.
struct Whole {
    disk: CrashDisk,
    spool: SpoolId,
    lanes: BTreeMap<Lane, Truth>,
}

impl Whole {
    fn new(seed: u64) -> Self {
        let rig = SpoolRig::open(CrashDisk::new(seed), small()).unwrap();
        let mut told: BTreeMap<Lane, u64> = BTreeMap::new();
        for round in 0..22_u64 {
            for (at, name) in TARGETS.into_iter().enumerate() {
                let lane = Lane(at as u64 + 1);
                let before = *told.get(&lane).unwrap_or(&0);
                let (count, bytes) = ([30, 1, 60][at], [500, 9_000, 150][at]);
                rig.append(name, &data(before, count, bytes)).unwrap();
                told.insert(lane, before + count);
                if at != 1 && round > 4 {
                    rig.spool.drop_through(lane, Number(before - 4 * count), 0, 0);
                }
            }
            if round == 10 {
                assert_eq!(rig.bury(Lane(2), 3, 5, SkipReason::Purged), 3);
                let middle = told[&Lane(3)] - 100;
                assert!(rig.bury(Lane(3), middle, middle + 20, SkipReason::Expired) > 0);
            }
        }
        let spool = rig.opened.identity.spool;
        rig.spool.close().unwrap();
        let rig = SpoolRig::open(rig.disk.copy(), small()).unwrap();
        let lanes = (1..=3).map(|lane| (Lane(lane), truth(&rig, Lane(lane)))).collect();
        assert!(rig.segments() > 2, "{} segments", rig.segments());
        rig.spool.close().unwrap();
        Self { disk: rig.disk, spool, lanes }
    }

    fn files(&self) -> Vec<PathBuf> {
        let named = |name: &PathBuf| name.parent().unwrap().ends_with("spool");
        self.disk.names().into_iter().filter(named).collect()
    }

    /// Opens what is left and reads all of it; gives how many packets were lost, and whether the
    /// spool had to be put together.
    fn outcome(&self, disk: CrashDisk, what: &str) -> (u64, bool) {
        let rig = SpoolRig::open(disk, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let salvaged = rig.opened.identity.spool != self.spool;
        let (mut lost, mut found) = (0, BTreeMap::new());
        let known: Vec<Lane> = rig.spool.lane_states().iter().map(|state| state.lane).collect();
        for (lane, whole) in &self.lanes {
            if !known.contains(lane) {
                assert!(salvaged, "{what}: {lane} is gone");
                lost += whole.numbers.values().flatten().count() as u64;
                continue;
            }
            let now = truth(&rig, *lane);
            if !salvaged {
                assert_eq!((now.acked, now.next), (whole.acked, whole.next), "{what}: {lane}");
            }
            assert!(now.acked <= whole.acked, "{what}: {lane} dropped what was not acknowledged");
            for (number, was) in &whole.numbers {
                match (was, now.numbers.get(number)) {
                    (Some(was), Some(Some(is))) => assert!(was == is, "{what}: {number} of {lane}"),
                    (Some(_), Some(None) | None) => lost += 1,
                    (None, Some(Some(_))) => assert!(salvaged, "{what}: {number} came back"),
                    (None, _) => {}
                }
            }
            let size = [500, 9_000, 150][lane.0 as usize - 1];
            for (number, is) in &now.numbers {
                if let Some(is) = is {
                    assert!(*is == data(number - 1, 1, size)[0], "{what}: {number} of {lane}");
                }
            }
            found.insert(*lane, now.numbers);
        }
        for lane in found.keys() {
            let name = TARGETS[lane.0 as usize - 1];
            let state = rig.lane(*lane);
            let stored = rig.append(name, &data(state.next.0 - 1, 1, 10)).unwrap();
            assert_eq!((stored.lane, stored.first), (*lane, state.next), "{what}");
        }
        let identity = rig.opened.identity;
        let rig = rig.reopen();
        assert_eq!(rig.opened.identity.spool, identity.spool, "{what}: put together again");
        for (lane, mut numbers) in found {
            let mut again = truth(&rig, lane).numbers;
            again.pop_last();
            // What is condemned may have been acknowledged nowhere else.
            numbers.retain(|number, _| *number > rig.lane(lane).acked_through.0);
            assert!(again == numbers, "{what}: {lane} changed with the second opening");
        }
        rig.spool.close().unwrap();
        (lost, salvaged)
    }
}

fn truth(rig: &SpoolRig, lane: Lane) -> Truth {
    let state = rig.lane(lane);
    let numbers: BTreeMap<_, _> =
        rig.numbers(lane, state.acked_through.0 + 1).into_iter().collect();
    let (acked, next) = (state.acked_through.0, state.next.0);
    assert!(numbers.keys().copied().eq(acked + 1..next), "{lane} has a hole that is not declared");
    Truth { acked, next, numbers }
}

/// What was tried and what became of it.
#[derive(Debug, Default)]
struct Tally {
    tried: u64,
    salvaged: u64,
    with_loss: u64,
    most_lost: u64,
}

impl Tally {
    fn count(&mut self, (lost, salvaged): (u64, bool)) {
        self.tried += 1;
        self.salvaged += u64::from(salvaged);
        self.with_loss += u64::from(lost > 0);
        self.most_lost = self.most_lost.max(lost);
    }
}

#[test]
fn no_flipped_bit_costs_more_than_its_run() {
    let (seed, flips) = (number_of("DAMAGE_SEED", 1), number_of("DAMAGE_FLIPS", 25));
    let whole = Whole::new(seed);
    let mut tally = Tally::default();
    for path in whole.files() {
        let length = whole.disk.bytes(&path).unwrap().len() as u64;
        // The first page is redb's own; the rest is tried at even distances.
        let step = (length / flips).max(1);
        let head = (0..320.min(length)).step_by((320 / flips.min(320)) as usize);
        let rest = (seed.wrapping_mul(7919) % step..length).step_by(step as usize);
        for at in head.chain(rest) {
            let disk = whole.disk.copy();
            let mut bytes = disk.bytes(&path).unwrap();
            bytes[at as usize] ^= 1 << (at.wrapping_add(seed) % 8);
            disk.put(&path, bytes);
            let what = format!("byte {at} of {}", path.display());
            let (lost, salvaged) = whole.outcome(disk, &what);
            // Sixty packets are in the largest run.
            assert!(lost <= 60, "{what}: {lost} packets lost");
            tally.count((lost, salvaged));
        }
    }
    println!("flips: {tally:?}");
    assert!(tally.with_loss > 0 && tally.salvaged > 0, "too tame: {tally:?}");
}

#[test]
fn no_torn_file_costs_more_than_what_was_torn_off() {
    let (seed, cuts) = (number_of("DAMAGE_SEED", 1), number_of("DAMAGE_CUTS", 10));
    let whole = Whole::new(seed);
    let mut tally = Tally::default();
    for path in whole.files() {
        let length = whole.disk.bytes(&path).unwrap().len() as u64;
        let step = (length / cuts).max(1);
        for at in (seed.wrapping_mul(7919) % step..length).step_by(step as usize).chain([0]) {
            let disk = whole.disk.copy();
            let mut bytes = disk.bytes(&path).unwrap();
            bytes.truncate(at as usize);
            disk.put(&path, bytes);
            tally.count(whole.outcome(disk, &format!("{} cut at {at}", path.display())));
        }
    }
    println!("cuts: {tally:?}");
    assert!(tally.with_loss > 0 && tally.salvaged > 0, "too tame: {tally:?}");
}

#[test]
fn no_lost_file_keeps_a_spool_from_opening() {
    let whole = Whole::new(1);
    for path in whole.files() {
        let disk = whole.disk.copy();
        disk.remove(&path).unwrap();
        let (lost, salvaged) = whole.outcome(disk, &format!("{} lost", path.display()));
        println!("{} lost: {lost} packets, put together {salvaged}", path.display());
    }
}
