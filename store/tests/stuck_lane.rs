//! Proves that a lane whose packets nobody takes does not keep the files of the others (R5, R9):
//! what it holds is moved forward, whole, and can still be read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, SpoolRig, data, options, until};
use paquebot_protocol::{Lane, Number};
use paquebot_store::SpoolOptions;

const STUCK: Lane = Lane(1);

/// A lane with a few packets of each age, beside one that flows.
fn flow(rig: &SpoolRig, rounds: u64) -> Vec<Vec<u8>> {
    let mut stuck = Vec::new();
    for round in 0..rounds {
        let packets = data(round * 2, 2, 300);
        rig.append("alarms.high", &packets).unwrap();
        stuck.extend(packets);
        let stored = rig.append("orders.new", &data(round * 500, 500, 1_000)).unwrap();
        rig.spool.drop_through(stored.lane, stored.first.before(), 0, 0);
    }
    stuck
}

#[test]
fn a_stuck_lane_is_moved_forward_and_the_files_go() {
    let rig = SpoolRig::new();
    let backlog = SpoolOptions { tidy_every: std::time::Duration::from_secs(3600), ..options() };
    drop(rig);
    let rig = SpoolRig::open(CrashDisk::new(1), backlog).unwrap();
    let mut stuck = Vec::new();
    for round in 0..20 {
        let packets = data(round * 2, 2, 300);
        rig.append("alarms.high", &packets).unwrap();
        stuck.extend(packets);
        rig.append("orders.new", &data(round * 500, 500, 1_000)).unwrap();
    }
    rig.drop_through(Lane(2), 10_000);
    let pinned = rig.segments();
    assert!(pinned > 8, "{pinned} segments");
    rig.spool.close().unwrap();
    // From here on it looks after its files.
    let rig = SpoolRig::open(rig.disk, options()).unwrap();
    until("the files are gone", || rig.segments() <= 2);
    let expected: Vec<_> = (1..).zip(stuck).collect();
    assert!(rig.packets(STUCK, 1) == expected);
    let rig = rig.crash();
    assert!(rig.packets(STUCK, 1) == expected);
    rig.drop_through(STUCK, 40);
    assert!(rig.packets(STUCK, 41).is_empty());
    assert_eq!(rig.lane(STUCK).pending_bytes, 0);
}

#[test]
fn a_stuck_lane_keeps_its_order_while_it_is_moved_again_and_again() {
    let rig = SpoolRig::new();
    let stuck = flow(&rig, 100);
    until("the files are gone", || rig.segments() <= 3);
    let expected: Vec<_> = (1..).zip(stuck).collect();
    assert!(rig.packets(STUCK, 1) == expected);
    rig.drop_through(STUCK, 100);
    assert!(rig.packets(STUCK, 101) == expected[100..]);
    let rig = rig.crash();
    assert!(rig.packets(STUCK, 101) == expected[100..]);
    assert_eq!(rig.lane(STUCK).acked_through, Number(100));
}
