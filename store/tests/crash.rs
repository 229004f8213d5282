//! Proves R1 and the order of R4 by cutting the power in the middle of **every** sync of a workload,
//! with whatever was not synced kept or lost block by block, and opening what is left:
//!
//! - everything answered "stored" is there, in order, with the same bytes, and its lane's chain
//!   holds;
//! - what was dropped durably does not come back, and what was not dropped is not gone;
//! - what the ledger answered "recorded" is there, whole, and no cursor passes a dead letter that is
//!   not.
//!
//! The seed is printed; `CRASH_SEED=n` takes it back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::BTreeMap;

use common::{
    CrashDisk, LedgerRig, Plan, SpoolRig, data, fence, key, letter, mark, options, segment,
};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{Admitted, SpoolOptions};

fn seeds() -> Vec<u64> {
    match std::env::var("CRASH_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap();
            vec![1, now.as_secs()]
        }
    }
}

fn small() -> SpoolOptions {
    SpoolOptions { segment_bytes: 384 * 1024, ..options() }
}

/// What the applications were told.
#[derive(Debug, Default, Clone)]
struct Told {
    lanes: BTreeMap<Lane, Vec<Vec<u8>>>,
    /// Asked to be dropped.
    dropped: BTreeMap<Lane, u64>,
    /// Known to be dropped durably.
    acked: BTreeMap<Lane, u64>,
}

/// Appends to three lanes, of which one is never acknowledged, until it is done or the disk fails.
fn work(rig: &SpoolRig) -> Told {
    let mut told = Told::default();
    for round in 0..24_u64 {
        for (at, name) in ["orders.new", "alarms.high", "logs.app"].into_iter().enumerate() {
            let lane = Lane(at as u64 + 1);
            let before = told.lanes.get(&lane).map_or(0, Vec::len) as u64;
            let (count, bytes) = ([40, 1, 90][at], [700, 5_000, 250][at]);
            let sent = data(before, count, bytes);
            match rig.append(name, &sent) {
                Ok(stored) => {
                    assert_eq!((stored.lane, stored.first), (lane, Number(before + 1)));
                    told.lanes.entry(lane).or_default().extend(sent);
                }
                Err(_) => return told,
            }
            if at != 1 {
                let through = (before + count).saturating_sub(round % 3 * count);
                rig.spool.drop_through(lane, Number(through), 0, 0);
                told.dropped.insert(lane, through);
            }
        }
        for state in rig.spool.lane_states() {
            told.acked.insert(state.lane, state.acked_through.0);
        }
        if round == 11 && rig.rekey().is_err() {
            return told;
        }
    }
    told
}

/// Everything that was told is true of what is left.
fn check(rig: &SpoolRig, told: &Told) {
    for (lane, stored) in &told.lanes {
        let (state, (acked, found)) = (rig.lane(*lane), rig.held(*lane));
        assert!(state.next.0 > stored.len() as u64, "{lane}: {state:?} after {}", stored.len());
        assert!(acked >= *told.acked.get(lane).unwrap_or(&0), "{lane} forgot its drops");
        assert!(acked <= *told.dropped.get(lane).unwrap_or(&0), "{lane} dropped too much");
        let found: BTreeMap<u64, Vec<u8>> = found.into_iter().collect();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), {
            (acked + 1..state.next.0).collect::<Vec<_>>()
        });
        for (number, data) in (1..).zip(stored).filter(|(number, _)| *number > acked) {
            assert!(found.get(&number) == Some(data), "packet {number} of {lane} changed");
        }
        let name = ["orders.new", "alarms.high", "logs.app"][lane.0 as usize - 1];
        let again = rig.append(name, &data(0, 1, 10)).unwrap();
        assert_eq!((again.lane, again.first), (*lane, state.next));
    }
}

#[test]
fn the_spool_keeps_its_word_whenever_the_power_goes() {
    for seed in seeds() {
        println!("CRASH_SEED={seed}");
        let rig = SpoolRig::open(CrashDisk::new(seed), small()).unwrap();
        check(&rig, &work(&rig));
        rig.spool.close().unwrap();
        let syncs = rig.disk.syncs();
        let rotated = !rig.disk.names().contains(&segment(1));
        assert!(syncs > 100 && rotated, "{syncs} syncs: too tame a workload");
        for at in 1..=syncs {
            let disk = CrashDisk::new(seed.wrapping_add(at));
            disk.plan(Plan::CutAt(at));
            let told = match SpoolRig::open(disk.clone(), small()) {
                Ok(rig) => {
                    let told = work(&rig);
                    let _ = rig.spool.close();
                    told
                }
                Err(_) => Told::default(),
            };
            let left = disk.survivor();
            let rig = SpoolRig::open(left.clone(), small())
                .unwrap_or_else(|error| panic!("cut at sync {at}: {error}"));
            println!("cut at sync {at} of {syncs}: {:?}", rig.opened.notes);
            check(&rig, &told);
            // And once more, at once.
            let rig = rig.crash();
            check(&rig, &told);
            rig.spool.close().unwrap();
        }
    }
}

/// What the handlers were told.
#[derive(Debug, Default)]
struct Recorded {
    cursors: BTreeMap<u64, u64>,
    dead: BTreeMap<u64, Vec<Number>>,
    admitted: u64,
}

fn record(rig: &LedgerRig) -> Recorded {
    let mut told = Recorded::default();
    for opened in 1..=3 {
        let fence = fence(7, opened, opened * 11);
        if rig.admit(fence) != Ok(Admitted::Yes) {
            return told;
        }
        told.admitted = opened;
        for round in 0..10 {
            let lane = round % 2 + 1;
            let from = told.cursors.get(&lane).copied().unwrap_or(0);
            let dead = if round % 3 == 0 { vec![from + 2] } else { Vec::new() };
            let letters = dead.iter().map(|number| letter(fence, lane, *number)).collect();
            if rig.record(vec![mark(fence, lane, from, from + 5)], letters).is_err() {
                return told;
            }
            told.cursors.insert(lane, from + 5);
            told.dead.entry(lane).or_default().extend(dead.into_iter().map(Number));
        }
    }
    told
}

#[test]
fn the_ledger_keeps_its_word_whenever_the_power_goes() {
    for seed in seeds() {
        println!("CRASH_SEED={seed}");
        let rig = LedgerRig::open(CrashDisk::new(seed)).unwrap();
        record(&rig);
        rig.ledger.close().unwrap();
        let syncs = rig.disk.syncs();
        assert!(syncs > 50, "{syncs} syncs: too tame a workload");
        for at in 1..=syncs {
            let disk = CrashDisk::new(seed.wrapping_add(at));
            disk.plan(Plan::CutAt(at));
            let told = match LedgerRig::open(disk.clone()) {
                Ok(rig) => {
                    let told = record(&rig);
                    let _ = rig.ledger.close();
                    told
                }
                Err(_) => Recorded::default(),
            };
            let rig = LedgerRig::open(disk.survivor())
                .unwrap_or_else(|error| panic!("cut at sync {at}: {error}"));
            println!("cut at sync {at} of {syncs}: {:?}", rig.opened.notes);
            let fence = fence(7, told.admitted, told.admitted * 11);
            for (lane, cursor) in &told.cursors {
                let found = rig.cursor(key(fence, *lane), 1);
                // The next record may have become durable without an answer.
                assert!(found.cursor.0 == *cursor || found.cursor.0 == *cursor + 5, "{found:?}");
                assert_eq!(found.chain, Some(mark(fence, *lane, 0, found.cursor.0).chain));
                let told = &told.dead[lane];
                assert!(found.dead.starts_with(told), "{:?} without {told:?}", found.dead);
                let numbers = rig.dead_letters().into_iter().map(|letter| letter.id.number);
                assert!(found.dead.iter().all(|dead| numbers.clone().any(|n| n == *dead)));
            }
            if told.admitted > 0 {
                let older = fence_of(told.admitted - 1);
                assert_eq!(rig.admit(older), Ok(Admitted::Rekey), "it forgot opening {told:?}");
            }
            rig.ledger.close().unwrap();
        }
    }
}

fn fence_of(opened: u64) -> paquebot_store::Fence {
    fence(7, opened, opened * 11)
}
