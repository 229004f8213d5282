//! Guards what a packet costs, in counts that no busy machine changes: syncs, writes and bytes of a
//! commit. Each bound is what was counted when it was written, and a little.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, Deed, LedgerRig, Plan, SpoolRig, data, fence, mark};
use paquebot_protocol::Number;
use paquebot_store::SpoolOptions;

/// What a number of commits cost, each.
#[derive(Debug)]
struct Cost {
    syncs: f64,
    writes: f64,
    bytes: f64,
}

/// Counts from here on what `work` costs the disk.
fn cost(disk: &CrashDisk, commits: u64, work: impl FnOnce()) -> Cost {
    disk.plan(Plan::Work);
    work();
    let each = |count: u64| count as f64 / commits as f64;
    Cost {
        syncs: each(disk.deeds(Deed::Sync)),
        writes: each(disk.deeds(Deed::Write)),
        bytes: each(disk.written_bytes()),
    }
}

/// Stores `commits` batches of `packets` packets of 256 bytes, each acknowledged when the next but one
/// is stored, as on a link that keeps up.
fn spool(commits: u64, packets: u64) -> Cost {
    let options = SpoolOptions::new(common::dir(), 1 << 30, 100);
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    let batch = data(0, packets, 256);
    // The first commits make the tables.
    for _ in 0..3 {
        rig.append("orders.new", &batch).unwrap();
    }
    cost(&rig.disk, commits, || {
        for _ in 0..commits {
            let stored = rig.append("orders.new", &batch).unwrap();
            let through = Number(stored.first.0.saturating_sub(packets + 1));
            rig.spool.drop_through(stored.lane, through, 0, 0);
        }
    })
}

#[test]
fn a_commit_of_a_thousand_packets_is_one_sync_and_half_as_much_again_at_most() {
    let each = spool(40, 1_000);
    assert!(each.syncs <= 1.1, "{each:?}");
    assert!(each.writes <= 12.0, "{each:?}");
    assert!(each.bytes <= 1.5 * 256.0 * 1_000.0, "{each:?}");
}

#[test]
fn a_commit_of_one_packet_is_one_sync_and_a_few_pages() {
    let each = spool(200, 1);
    assert!(each.syncs <= 1.1, "{each:?}");
    assert!(each.writes <= 11.0, "{each:?}");
    assert!(each.bytes <= 40.0 * 1024.0, "{each:?}");
}

#[test]
fn a_record_in_the_ledger_is_one_sync_and_a_few_pages_whatever_it_covers() {
    let rig = LedgerRig::new();
    let fence = fence(7, 1, 5);
    rig.admit(fence).unwrap();
    rig.cursor(common::key(fence, 1), 1);
    let mut through = 0;
    let mut record = |packets: u64| {
        rig.record(vec![mark(fence, 1, through, through + packets)], vec![]).unwrap();
        through += packets;
    };
    (0..3).for_each(|_| record(1));
    for packets in [1, 10_000] {
        let each = cost(&rig.disk, 100, || (0..100).for_each(|_| record(packets)));
        assert!(each.syncs <= 1.1, "{each:?}");
        assert!(each.writes <= 10.0, "{each:?}");
        assert!(each.bytes <= 40.0 * 1024.0, "{each:?}");
    }
}
