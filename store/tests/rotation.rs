//! Proves R9's promise about files: none is much larger than a segment should be, everything can be
//! read back across them, and space is given back when packets are acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::time::Duration;

use common::{CrashDisk, SpoolRig, data, options, until};
use paquebot_protocol::{Lane, Number};
use paquebot_store::SpoolOptions;

/// Stores `count` packets of a kilobyte, 500 at a time.
fn fill(rig: &SpoolRig, to: &str, from: u64, count: u64) -> Lane {
    let mut lane = Lane(0);
    for part in 0..count / 500 {
        lane = rig.append(to, &data(from + part * 500, 500, 1_000)).unwrap().lane;
    }
    lane
}

#[test]
fn a_backlog_goes_into_many_files_and_comes_back_in_order() {
    let rig = SpoolRig::new();
    let lane = fill(&rig, "orders.new", 0, 10_000);
    assert!(rig.segments() >= 8, "{} segments", rig.segments());
    for name in rig.disk.names() {
        let bytes = rig.disk.bytes(&name).unwrap().len();
        assert!(bytes <= (1 << 20) * 3 / 2, "{}: {bytes} bytes", name.display());
    }
    let expected: Vec<_> = (1..).zip(data(0, 10_000, 1_000)).collect();
    assert!(rig.packets(lane, 1) == expected);
    let rig = rig.crash();
    assert!(rig.packets(lane, 1) == expected);
    let rig = rig.reopen();
    assert!(rig.packets(lane, 7_001) == expected[7_000..]);
    assert!(rig.chain_at(lane, 5_000).is_some());
    assert_eq!(rig.lane(lane).pending_packets, 10_000);
    assert!((10_000_000..11_000_000).contains(&rig.lane(lane).pending_bytes));
}

#[test]
fn sealed_segments_go_as_they_are_acknowledged() {
    let rig = SpoolRig::new();
    let lane = fill(&rig, "orders.new", 0, 10_000);
    let (before, bytes) = (rig.segments(), rig.disk_bytes());
    rig.drop_through(lane, 5_000);
    assert!(rig.segments() <= before / 2 + 2, "{} of {before} left", rig.segments());
    assert!(rig.disk_bytes() <= bytes * 6 / 10 + (1 << 20));
    assert_eq!(rig.spool.status().file_bytes, rig.disk_bytes());
    assert!(rig.packets(lane, 5_001).len() == 5_000);
    assert!(rig.lane(lane).pending_bytes < 5_800_000, "{:?}", rig.lane(lane));
    rig.drop_through(lane, 10_000);
    assert!(rig.segments() <= 2, "{} segments", rig.segments());
    let rig = rig.crash();
    assert!(rig.packets(lane, 10_001).is_empty());
    assert_eq!(rig.append("orders.new", &data(0, 1, 1)).unwrap().first, Number(10_001));
}

#[test]
fn a_drained_spool_is_small_again_without_any_new_input() {
    let large =
        SpoolOptions { segment_bytes: 64 << 20, drop_after: Duration::from_millis(5), ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), large).unwrap();
    let lane = fill(&rig, "orders.new", 0, 20_000);
    assert!(rig.disk_bytes() > 20_000_000);
    rig.spool.drop_through(lane, Number(20_000), 0, 0);
    until("the files are small", || rig.disk_bytes() < 1_000_000);
    assert_eq!(rig.segments(), 1);
    until("the status says so", || rig.spool.status().file_bytes == rig.disk_bytes());
    assert_eq!(rig.crash().append("orders.new", &data(0, 1, 1)).unwrap().first, Number(20_001));
}

#[test]
fn a_file_that_grew_is_given_up_although_a_little_always_remains() {
    let large = SpoolOptions { segment_bytes: 64 << 20, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), large).unwrap();
    let lane = fill(&rig, "orders.new", 0, 20_000);
    until("the files are small", || {
        // One packet is always on its way.
        let stored = rig.append("orders.new", &data(0, 1, 100)).unwrap();
        rig.spool.drop_through(lane, stored.first.before(), 0, 0);
        rig.disk_bytes() < 1_000_000
    });
    assert!(rig.lane(lane).pending_packets > 0);
}

#[test]
fn a_steady_flow_stays_in_one_small_file() {
    let rig =
        SpoolRig::open(CrashDisk::new(1), SpoolOptions { segment_bytes: 64 << 20, ..options() })
            .unwrap();
    let mut most = 0;
    for part in 0..400_u64 {
        let stored = rig.append("orders.new", &data(part * 500, 500, 256)).unwrap();
        rig.spool.drop_through(stored.lane, stored.first.before(), 0, 0);
        most = most.max(rig.disk_bytes());
    }
    assert!(most < 5_000_000, "{most} bytes");
    assert_eq!(rig.segments(), 1);
}
