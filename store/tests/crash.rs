//! Proves R1 by cutting the power in the middle of **every** sync of a workload,
//! with whatever was not synced kept, lost or torn block by block, and opening what is left:
//!
//! - everything answered "stored" is there, in order, with the same bytes, and its lane's chain
//!   holds;
//! - what was dropped or declared gone durably does not come back, and what was not is not gone.
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

use std::collections::{BTreeMap, BTreeSet};

use common::{CrashDisk, Plan, SpoolRig, data, options, segment};
use paquebot_protocol::frame::SkipReason;
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
    /// Asked to be declared gone, and told that they are.
    burying: BTreeSet<(Lane, u64)>,
    buried: BTreeSet<(Lane, u64)>,
}

/// The lanes: target, packets a round, bytes a packet. The second is never acknowledged, the last one
/// has packets with a short time to live.
const LANES: [(&str, u64, usize); 4] =
    [("orders.new", 40, 700), ("alarms.high", 1, 5_000), ("logs.app", 90, 250), ("offer", 3, 60)];

const STUCK: Lane = Lane(2);
const MORTAL: Lane = Lane(4);

/// Appends to all lanes, acknowledges, declares some packets gone, lets others expire and takes a new
/// id, until it is done or the disk fails.
fn work(rig: &SpoolRig, rounds: u64) -> Told {
    let mut told = Told::default();
    for round in 0..rounds {
        for (at, (name, count, bytes)) in LANES.into_iter().enumerate() {
            let lane = Lane(at as u64 + 1);
            let before = told.lanes.get(&lane).map_or(0, Vec::len) as u64;
            let sent = data(before, count, bytes);
            let ttl_ms = (lane == MORTAL && round % 2 == 0).then_some(2);
            match rig.append_for(name, &sent, ttl_ms) {
                Ok(stored) => {
                    assert_eq!((stored.lane, stored.first), (lane, Number(before + 1)));
                    told.lanes.entry(lane).or_default().extend(sent);
                }
                Err(_) => return told,
            }
            if lane != STUCK {
                let through = (before + count).saturating_sub(round % 3 * count);
                rig.spool.drop_through(lane, Number(through), 0, 0);
                told.dropped.insert(lane, through.max(*told.dropped.get(&lane).unwrap_or(&0)));
            }
        }
        if round % 5 == 4 {
            let number = round - 2;
            told.burying.insert((STUCK, number));
            match rig.try_bury(STUCK, number, number, SkipReason::Purged) {
                Ok(1) => told.buried.insert((STUCK, number)),
                _ => return told,
            };
        }
        for state in rig.spool.lane_states() {
            told.acked.insert(state.lane, state.acked_through.0);
        }
        if round % 20 == 11 && rig.rekey().is_err() {
            return told;
        }
    }
    told
}

/// Everything that was told is true of what is left.
fn check(rig: &SpoolRig, told: &Told) {
    for (lane, stored) in &told.lanes {
        let (state, (acked, found)) = (rig.lane(*lane), rig.held_or_gone(*lane));
        assert!(state.next.0 > stored.len() as u64, "{lane}: {state:?} after {}", stored.len());
        assert!(acked >= *told.acked.get(lane).unwrap_or(&0), "{lane} forgot its drops");
        assert!(acked <= *told.dropped.get(lane).unwrap_or(&0), "{lane} dropped too much");
        let found: BTreeMap<u64, Option<Vec<u8>>> = found.into_iter().collect();
        assert!(found.keys().copied().eq(acked + 1..state.next.0), "{lane}: {:?}", found.keys());
        for (number, data) in (1..).zip(stored).filter(|(number, _)| *number > acked) {
            match &found[&number] {
                Some(found) => {
                    assert!(found == data, "packet {number} of {lane} changed");
                    assert!(!told.buried.contains(&(*lane, number)), "{number} came back");
                }
                None => {
                    let known = told.burying.contains(&(*lane, number)) || *lane == MORTAL;
                    assert!(known, "packet {number} of {lane} was declared gone by nobody");
                }
            }
        }
        assert_eq!(state.totals.damaged, 0, "{lane}: a cut is no damage");
        let name = LANES[lane.0 as usize - 1].0;
        let again = rig.append(name, &data(0, 1, 10)).unwrap();
        assert_eq!((again.lane, again.first), (*lane, state.next));
    }
}

/// Cuts the power in the middle of every `step`-th sync of a workload; gives how many there are.
fn cut_at_syncs(seed: u64, rounds: u64, step: u64) -> u64 {
    let rig = SpoolRig::open(CrashDisk::new(seed), small()).unwrap();
    check(&rig, &work(&rig, rounds));
    rig.spool.close().unwrap();
    let syncs = rig.disk.syncs();
    let rotated = !rig.disk.names().contains(&segment(1));
    assert!(rotated, "{syncs} syncs: too tame a workload");
    let mut cut = 0;
    for at in (1 + seed % step..=syncs).step_by(step as usize) {
        let disk = CrashDisk::new(seed.wrapping_add(at));
        disk.plan(Plan::CutAt(at));
        let told = match SpoolRig::open(disk.clone(), small()) {
            Ok(rig) => {
                let told = work(&rig, rounds);
                let _ = rig.spool.close();
                told
            }
            Err(_) => Told::default(),
        };
        let left = disk.survivor();
        let rig = SpoolRig::open(left.clone(), small())
            .unwrap_or_else(|error| panic!("cut at sync {at}: {error}"));
        println!("cut at sync {at} of {syncs}: {:?}", rig.opened.notes);
        assert!(rig.opened.damage.is_empty(), "cut at sync {at}: {:?}", rig.opened.damage);
        check(&rig, &told);
        // And once more, at once.
        let rig = rig.crash();
        check(&rig, &told);
        rig.spool.close().unwrap();
        cut += 1;
    }
    println!("CRASH_SEED={seed}: the power was cut at {cut} of {syncs} syncs");
    syncs
}

#[test]
fn the_spool_keeps_its_word_whenever_the_power_goes() {
    for seed in seeds() {
        println!("CRASH_SEED={seed}");
        let syncs = cut_at_syncs(seed, 20, 1);
        assert!(syncs > 100, "{syncs} syncs: too tame a workload");
    }
}

/// `CRASH_STEP=1` cuts at every sync.
#[test]
fn the_spool_keeps_its_word_whenever_the_power_goes_in_a_long_life() {
    let step = std::env::var("CRASH_STEP").map_or(23, |step| step.parse().unwrap());
    for seed in seeds() {
        println!("CRASH_SEED={seed}");
        let syncs = cut_at_syncs(seed, 110, step);
        assert!(syncs >= 500, "{syncs} syncs: too tame a workload");
    }
}
