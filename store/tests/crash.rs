//! Proves R1 by cutting the power in the middle of **every** sync of a workload,
//! with whatever was not synced kept or lost block by block, and opening what is left:
//!
//! - everything answered "stored" is there, in order, with the same bytes, and its lane's chain
//!   holds;
//! - what was dropped durably does not come back, and what was not dropped is not gone.
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

use common::{CrashDisk, Plan, SpoolRig, data, options, segment};
use paquebot_protocol::{Lane, Number};
use paquebot_store::SpoolOptions;

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
