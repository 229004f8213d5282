//! Proves R10 after a write that failed: the waiting sender hears "unknown", what was stored before
//! is still there and can be read, and the spool goes on in a new segment, whatever the failed
//! commit left behind.

mod common;

use common::{CrashDisk, Plan, SpoolRig, data, options, until};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{AppendError, SpoolOptions};

#[test]
fn after_a_failed_fsync_it_goes_on_in_a_new_segment() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 100, 1_000)).unwrap().lane;
    rig.disk.plan(Plan::FailAt(1));
    let refused = rig.append("orders.new", &data(900, 50, 1_000)).err();
    assert!(matches!(refused, Some(AppendError::Failed(_))), "{refused:?}");
    until("it goes on", || rig.spool.status().failed.is_none());
    let stored = rig.append("orders.new", &data(100, 10, 1_000)).unwrap();
    assert_eq!((stored.lane, stored.first), (lane, Number(101)), "a number was used twice");
    let expected: Vec<_> = (1..).zip(data(0, 110, 1_000)).collect();
    assert!(rig.packets(lane, 1) == expected);
    assert_eq!(rig.segments(), 2);
    let rig = rig.reopen();
    assert!(rig.packets(lane, 1) == expected, "the failed commit came back");
    let rig = rig.crash();
    assert!(rig.packets(lane, 1) == expected, "the failed commit came back");
    rig.drop_through(lane, 110);
    assert_eq!(rig.segments(), 1);
}

#[test]
fn while_no_segment_can_be_made_it_refuses_and_goes_on_reading() {
    // The first failed sync is the commit's, the second the new segment's.
    let slow = SpoolOptions { tidy_every: std::time::Duration::from_millis(300), ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), slow).unwrap();
    let lane = rig.append("orders.new", &data(0, 100, 1_000)).unwrap().lane;
    let chain = rig.chain_at(lane, 100);
    rig.disk.plan(Plan::FailAt(1));
    assert!(rig.append("orders.new", &data(900, 50, 1_000)).is_err());
    assert!(rig.spool.status().failed.is_some(), "it was healed too soon for this test");
    let refused = rig.append("orders.new", &data(900, 50, 1_000)).err();
    assert!(matches!(refused, Some(AppendError::Failed(_))), "{refused:?}");
    assert_eq!(rig.packets(lane, 1).len(), 100);
    assert_eq!(rig.chain_at(lane, 100), chain);
    assert_eq!(rig.chain_at(lane, 101), None);
    rig.spool.drop_through(lane, Number(60), 0);
    until("it goes on", || rig.spool.status().failed.is_none());
    rig.append("orders.new", &data(100, 1, 1_000)).unwrap();
    assert_eq!(rig.lane(lane).acked_through, Number(60));
    assert_eq!(rig.packets(lane, 61).len(), 41);
}

#[test]
fn it_survives_a_failure_of_every_single_sync() {
    let options = SpoolOptions { segment_bytes: 384 * 1024, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options.clone()).unwrap();
    let work = |rig: &SpoolRig| {
        let mut stored = Vec::new();
        for round in 0..25 {
            let sent = data(round * 30, 30, 1_000);
            if let Ok(answer) = rig.append("orders.new", &sent) {
                stored.extend((answer.first.0..).zip(sent));
                rig.spool.drop_through(Lane(1), Number(answer.first.0 / 2), 0);
            } else {
                until("it goes on", || rig.spool.status().failed.is_none());
            }
        }
        stored
    };
    work(&rig);
    let syncs = rig.disk.syncs();
    for at in 10..=syncs {
        let rig = SpoolRig::open(CrashDisk::new(at), options.clone()).unwrap();
        rig.disk.plan(Plan::FailAt(at - 9));
        let stored = work(&rig);
        assert!(stored.len() >= 600, "sync {at}: {} packets", stored.len());
        let mut rig = rig;
        for _ in 0..2 {
            let acked = rig.lane(Lane(1)).acked_through.0;
            let found = rig.packets(Lane(1), acked + 1);
            let expected: Vec<_> = stored.iter().filter(|(n, _)| *n > acked).cloned().collect();
            assert!(found == expected, "sync {at}: {} of {}", found.len(), expected.len());
            rig = rig.crash();
        }
    }
}
