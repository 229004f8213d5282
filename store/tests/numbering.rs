//! Proves R2's half of numbering: numbers come from the store, lane by lane, from 1 on, without a
//! gap, in the order of the appends; and that lanes are limited.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, SpoolRig, data, options};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{AppendError, SpoolOptions};

#[test]
fn packets_of_a_target_are_numbered_from_one_without_a_gap() {
    let rig = SpoolRig::new();
    let mut next = 1;
    for count in [1, 7, 1_000, 3] {
        let stored = rig.append("orders.new", &data(next - 1, count, 300)).unwrap();
        assert_eq!((stored.first, stored.count), (Number(next), count));
        next += count;
    }
    let numbers: Vec<u64> = rig.packets(Lane(1), 1).into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, (1..next).collect::<Vec<_>>());
}

#[test]
fn every_target_has_a_lane_of_its_own() {
    let rig = SpoolRig::new();
    let orders = rig.append("orders.new", &data(0, 3, 10)).unwrap();
    let alarms = rig.append("alarms.high", &data(100, 2, 10)).unwrap();
    let again = rig.append("orders.new", &data(3, 1, 10)).unwrap();
    assert_eq!((orders.lane, alarms.lane, again.lane), (Lane(1), Lane(2), Lane(1)));
    assert_eq!((orders.first, alarms.first, again.first), (Number(1), Number(1), Number(4)));
    assert_eq!(
        rig.packets(Lane(2), 1),
        vec![(1, data(100, 1, 10)[0].clone()), (2, data(101, 1, 10)[0].clone())]
    );
    assert_eq!(rig.lane(Lane(2)).target.as_str(), "alarms.high");
}

#[test]
fn numbers_and_lanes_go_on_after_a_crash() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 5, 10)).unwrap();
    let rig = rig.crash();
    assert_eq!(rig.append("alarms.high", &data(0, 1, 10)).unwrap().lane, Lane(2));
    let rig = rig.crash();
    assert_eq!(rig.append("logs.app", &data(0, 1, 10)).unwrap().lane, Lane(3));
    assert_eq!(rig.append("orders.new", &data(0, 1, 10)).unwrap().first, Number(6));
}

#[test]
fn numbers_go_on_when_everything_was_dropped() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 5, 10)).unwrap().lane;
    rig.drop_through(lane, 5);
    let rig = rig.crash();
    assert_eq!(rig.append("orders.new", &data(0, 1, 10)).unwrap().first, Number(6));
}

#[test]
fn one_lane_too_many_is_refused_and_the_others_go_on() {
    let few = SpoolOptions { lanes_max: 2, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), few).unwrap();
    rig.append("orders.new", &data(0, 1, 10)).unwrap();
    rig.append("alarms.high", &data(0, 1, 10)).unwrap();
    let refused = rig.append("logs.app", &data(0, 1, 10)).err();
    assert_eq!(refused, Some(AppendError::LanesFull { max: 2 }));
    rig.append("orders.new", &data(1, 1, 10)).unwrap();
}

#[test]
fn an_empty_batch_stores_nothing_and_opens_no_lane() {
    let rig = SpoolRig::new();
    assert_eq!(rig.append("orders.new", &[]).unwrap().count, 0);
    assert!(rig.spool.lane_states().is_empty());
}

#[test]
fn a_packet_of_any_size_is_stored() {
    let rig = SpoolRig::new();
    let mut sent = Vec::new();
    for bytes in [0, 1, 4_000, 65_000, 70_000, 524_200, 524_300, 3_000_000, 17_000_000] {
        let one = vec![bytes as u8; bytes];
        rig.append("orders.new", std::slice::from_ref(&one)).unwrap();
        sent.push(one);
    }
    let rig = rig.crash();
    let found = rig.packets(Lane(1), 1).into_iter().map(|(_, data)| data);
    assert!(found.eq(sent));
}
