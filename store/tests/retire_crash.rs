//! Proves R6 by cutting the power in the middle of **every** sync of a life in which lanes end and are
//! forgotten all the time, and opening what is left:
//!
//! - a lane that was said to have ended has ended, or is gone, and holds nothing;
//! - one that was said to be forgotten is gone; packets that were not acknowledged are there;
//! - no number of a lane is used again, whatever was forgotten;
//! - all packets are among the totals, of lanes and of those that are gone, exactly once (R8).
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
use paquebot_protocol::{Lane, Number};
use paquebot_store::{LaneState, SpoolOptions};

const LANES_MAX: usize = 4;

/// Every third target keeps its packets for a while.
const SLOW: u64 = 3;

fn narrow() -> SpoolOptions {
    SpoolOptions { lanes_max: LANES_MAX, segment_bytes: 64 * 1024, ..options() }
}

/// What the applications and the connection were told.
#[derive(Debug, Default)]
struct Told {
    /// How many packets were stored in each lane, and up to which they may be gone.
    stored: BTreeMap<Lane, u64>,
    dropping: BTreeSet<Lane>,
    ended: BTreeSet<Lane>,
    forgotten: BTreeSet<Lane>,
    /// Whether a commit may be durable that nobody was told of.
    in_doubt: u64,
}

impl Told {
    /// Takes up what the commits have told since.
    fn hear(&mut self, rig: &SpoolRig) -> Vec<Lane> {
        let mut fresh = Vec::new();
        for committed in std::mem::take(&mut *rig.commits.lock().unwrap()) {
            fresh.extend(&committed.retiring);
            self.ended.extend(&committed.retiring);
            self.forgotten.extend(committed.retired.iter().map(|state| state.lane));
        }
        fresh
    }
}

/// Stores packets for targets that are ever new, acknowledges them, and forgets what has ended, now and
/// then a round late, until it is done or the disk fails.
fn work(rig: &SpoolRig, rounds: u64) -> Told {
    let mut told = Told::default();
    let mut late = Vec::new();
    for round in 0..rounds {
        let count = 1 + round % 3;
        let Ok(stored) = rig.append(&format!("order.{round}"), &data(0, count, 30_000)) else {
            told.in_doubt = count;
            break;
        };
        assert!(told.stored.keys().all(|lane| *lane < stored.lane), "{stored:?} of {told:?}");
        told.stored.insert(stored.lane, count);
        let slow = round % SLOW == 0;
        let done = if slow { stored.lane.0.checked_sub(SLOW).map(Lane) } else { Some(stored.lane) };
        if let Some(lane) = done.filter(|lane| told.stored.contains_key(lane)) {
            rig.spool.drop_through(lane, Number(told.stored[&lane]), 0, 0);
            told.dropping.insert(lane);
        }
        let ended = told.hear(rig);
        rig.spool.forget(std::mem::take(&mut late));
        if round % 2 == 0 { late = ended } else { rig.spool.forget(ended) }
    }
    told.hear(rig);
    told
}

/// Everything that was told is true of what is left.
fn check(rig: &SpoolRig, told: &Told) {
    // A lane that is forgotten between the two looks would be in both, or in neither.
    let (states, gone) = loop {
        let before = rig.spool.status().retired;
        let states = rig.spool.lane_states();
        let gone = rig.spool.status().retired;
        if gone.lanes == before.lanes {
            break (states, gone);
        }
    };
    let states: BTreeMap<Lane, LaneState> =
        states.into_iter().map(|state| (state.lane, state)).collect();
    for (lane, count) in &told.stored {
        match states.get(lane) {
            Some(state) => {
                assert!(!told.forgotten.contains(lane), "lane {lane} came back");
                assert!(state.retiring || !told.ended.contains(lane), "{state:?} had ended");
                assert_eq!(state.next.0, count + 1);
                assert!(!state.retiring || state.pending_packets == 0, "{state:?}");
                let held = rig.packets(*lane, state.acked_through.next().0);
                assert_eq!(held.len() as u64, count - state.acked_through.0);
            }
            None => assert!(told.dropping.contains(lane), "lane {lane} is gone with its packets"),
        }
    }
    let accepted: u64 = states.values().map(|state| state.next.before().0).sum();
    let (found, stored) = (accepted + gone.accepted, told.stored.values().sum::<u64>());
    assert!(found == stored || found == stored + told.in_doubt, "{found} of {stored} packets");
    let handled: u64 = states.values().map(LaneState::handled).sum();
    let pending: u64 = states.values().map(|state| state.pending_packets).sum();
    assert_eq!(handled + gone.handled() + pending, found);
    let lanes = states.len() as u64 + gone.lanes;
    let fresh = rig.append("order.fresh", &data(0, 1, 10)).unwrap();
    assert_eq!(fresh.lane, Lane(lanes + 1), "a number was used again, or left out");
}

#[test]
fn lanes_end_and_are_forgotten_once_whenever_the_power_goes() {
    let seed = std::env::var("CRASH_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rounds = 40;
    let rig = SpoolRig::open(CrashDisk::new(seed), narrow()).unwrap();
    let told = work(&rig, rounds);
    assert!(told.ended.len() > 30 && told.forgotten.len() > 20, "too tame a life: {told:?}");
    check(&rig, &told);
    let syncs = rig.disk.syncs();
    let rotated = (2..100).any(|number| rig.disk.names().contains(&segment(number)));
    assert!(rotated, "too tame a life");
    for at in 1..=syncs {
        let disk = CrashDisk::new(seed.wrapping_add(at));
        disk.plan(Plan::CutAt(at));
        let told = match SpoolRig::open(disk.clone(), narrow()) {
            Ok(rig) => {
                let told = work(&rig, rounds);
                let _ = rig.spool.close();
                told
            }
            Err(_) => Told::default(),
        };
        println!("CRASH_SEED={seed}: cut at sync {at} of {syncs}");
        let rig = SpoolRig::open(disk.survivor(), narrow()).unwrap();
        assert!(rig.opened.damage.is_empty(), "{:?}", rig.opened.damage);
        check(&rig, &told);
    }
}
