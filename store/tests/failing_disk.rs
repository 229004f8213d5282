//! Proves R10 after a write that failed: the waiting sender hears "unknown", what was stored before
//! is still there and can be read, and the spool goes on in a new segment, whatever the failed
//! commit left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, Plan, SpoolRig, data, options, until};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{AppendError, SpoolOptions};

#[test]
fn after_a_failed_fsync_it_goes_on_in_a_new_segment() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 100, 1_000)).unwrap().lane;
    rig.disk.plan(Plan::Fail(1, 1));
    let refused = rig.append("orders.new", &data(900, 50, 1_000)).err();
    assert!(matches!(refused, Some(AppendError::Failed(_))), "{refused:?}");
    until("it goes on", || rig.spool.status().failed.is_none());
    let stored = rig.append("orders.new", &data(100, 10, 1_000)).unwrap();
    assert_eq!((stored.lane, stored.first), (lane, Number(101)), "a number was used twice");
    let expected: Vec<_> = (1..).zip(data(0, 110, 1_000)).collect();
    assert!(rig.packets(lane, 1) == expected);
    let rig = rig.reopen();
    assert!(rig.packets(lane, 1) == expected, "the failed commit came back");
    let rig = rig.crash();
    assert!(rig.packets(lane, 1) == expected, "the failed commit came back");
    rig.drop_through(lane, 110);
    assert_eq!(rig.segments(), 1);
}

#[test]
fn while_no_segment_can_be_made_it_refuses_and_goes_on_reading() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 100, 1_000)).unwrap().lane;
    let chain = rig.chain_at(lane, 100);
    rig.disk.plan(Plan::Fail(1, u64::MAX));
    assert!(rig.append("orders.new", &data(900, 50, 1_000)).is_err());
    assert!(rig.spool.status().failed.is_some());
    let refused = rig.append("orders.new", &data(900, 50, 1_000)).err();
    assert!(matches!(refused, Some(AppendError::Failed(_))), "{refused:?}");
    assert_eq!(rig.packets(lane, 1).len(), 100);
    assert_eq!(rig.chain_at(lane, 100), chain);
    assert_eq!(rig.chain_at(lane, 101), None);
    rig.spool.drop_through(lane, Number(60), 0, 0);
    rig.disk.plan(Plan::Work);
    until("it goes on", || rig.spool.status().failed.is_none());
    rig.append("orders.new", &data(100, 1, 1_000)).unwrap();
    assert_eq!(rig.lane(lane).acked_through, Number(60));
    assert_eq!(rig.packets(lane, 61).len(), 41);
}

#[test]
fn what_a_failed_commit_dropped_is_missed_by_nobody() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 50, 1_000)).unwrap();
    let lane = rig.append("orders.new", &data(50, 50, 1_000)).unwrap().lane;
    rig.spool.drop_through(lane, Number(50), 7, 0);
    rig.disk.plan(Plan::Fail(1, u64::MAX));
    assert!(rig.append("orders.new", &data(900, 50, 1_000)).is_err());
    assert_eq!(rig.packets(lane, 1).len(), 50);
    rig.disk.plan(Plan::Work);
    until("it goes on", || rig.spool.status().failed.is_none());
    let rig = rig.crash();
    assert_eq!(rig.packets(lane, 1).len(), 50);
    let state = rig.lane(lane);
    assert_eq!((state.acked_through, state.totals.dead_lettered), (Number(50), 7));
}

#[test]
fn it_survives_failures_of_every_sync_and_those_after_it() {
    let options = SpoolOptions { segment_bytes: 384 * 1024, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options.clone()).unwrap();
    let work = |rig: &SpoolRig| {
        let mut stored = Vec::new();
        for round in 0..25 {
            let sent = data(round * 30, 30, 1_000);
            if let Ok(answer) = rig.append("orders.new", &sent) {
                stored.extend((answer.first.0..).zip(sent));
                rig.spool.drop_through(Lane(1), Number(answer.first.0 / 2), 0, 0);
            } else {
                until("it goes on", || rig.spool.status().failed.is_none());
            }
        }
        stored
    };
    work(&rig);
    let syncs = rig.disk.syncs();
    for (at, count) in (1..=syncs).flat_map(|at| [(at, 1), (at, 2), (at, 3)]) {
        let rig = SpoolRig::open(CrashDisk::new(at), options.clone()).unwrap();
        rig.disk.plan(Plan::Fail(at, count));
        let stored = work(&rig);
        assert!(stored.len() >= 600, "sync {at}: {} packets", stored.len());
        let mut rig = rig;
        for _ in 0..3 {
            let (acked, found) = rig.held(Lane(1));
            assert!(acked <= stored.last().unwrap().0 / 2, "sync {at}, {count}: after {acked}");
            let expected: Vec<_> = stored.iter().filter(|(n, _)| *n > acked).cloned().collect();
            assert!(found == expected, "sync {at}, {count}: {} found", found.len());
            rig = rig.crash();
        }
    }
}

#[test]
fn a_segment_that_may_or_may_not_have_its_name_is_never_written_around() {
    let large = SpoolOptions { segment_bytes: 64 << 20, ..options() };
    for (at, seed) in (1..16).flat_map(|at| (0..6).map(move |seed| (at, seed))) {
        let rig = SpoolRig::open(CrashDisk::new(seed), large.clone()).unwrap();
        let lane = rig.append("orders.new", &data(0, 6_000, 1_000)).unwrap().lane;
        rig.spool.drop_through(lane, Number(6_000), 0, 0);
        rig.disk.plan(Plan::Fail(at, 2));
        let mut stored = Vec::new();
        for round in 0..3 {
            let sent = data(round * 10, 10, 100);
            if let Ok(answer) = rig.append("orders.new", &sent) {
                stored.extend((answer.first.0..).zip(sent));
            }
            // The file is far too large for what is in it, so it is replaced meanwhile.
            until("it is replaced, or fails", || {
                rig.disk.syncs() >= at + 2 || rig.disk_bytes() < 1_000_000
            });
        }
        rig.disk.plan(Plan::Work);
        until("it goes on", || rig.spool.status().failed.is_none());
        let sent = data(800, 1, 100);
        let first = rig.append("orders.new", &sent).unwrap().first.0;
        stored.extend((first..).zip(sent));
        let rig = rig.crash();
        let found = rig.packets(lane, stored[0].0);
        assert!(found == stored, "sync {at}: {} of {}", found.len(), stored.len());
    }
}
