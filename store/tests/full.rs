//! Proves R9's quota: an append that would pass it is refused with figures, and nothing else is; the
//! real bytes of the files stay below it; space comes back with acknowledgements.

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

const MAX: u64 = 8 << 20;

fn small() -> SpoolRig {
    SpoolRig::open(CrashDisk::new(1), SpoolOptions { max_bytes: MAX, ..options() }).unwrap()
}

/// Stores until it is refused; gives how many packets went in.
fn fill(rig: &SpoolRig) -> (u64, AppendError) {
    let mut packets = 0;
    loop {
        match rig.append("orders.new", &data(packets, 50, 1_000)) {
            Ok(_) => packets += 50,
            Err(error) => return (packets, error),
        }
        assert!(rig.disk_bytes() <= MAX, "{} bytes", rig.disk_bytes());
    }
}

#[test]
fn the_quota_is_kept_and_used() {
    let rig = small();
    let (packets, refused) = fill(&rig);
    let AppendError::Full { used_bytes, max_bytes } = refused else { panic!("{refused}") };
    assert_eq!(max_bytes, MAX);
    assert!(used_bytes <= MAX);
    common::until("the status is exact", || rig.spool.status().file_bytes == rig.disk_bytes());
    assert!(packets * 1_000 > MAX * 6 / 10, "only {packets} kB of {MAX} bytes");
    assert!(rig.packets(Lane(1), 1).len() as u64 == packets);
}

#[test]
fn a_full_spool_takes_packets_again_when_some_are_acknowledged() {
    let rig = small();
    let (packets, _) = fill(&rig);
    rig.spool.drop_through(Lane(1), Number(packets / 2), 0, 0);
    // The drop has nothing to ride on but its own timer.
    let rig = {
        rig.spool.close().unwrap();
        SpoolRig::open(rig.disk, rig.options).unwrap()
    };
    let (more, refused) = fill(&rig);
    assert!(matches!(refused, AppendError::Full { .. }));
    assert!(more > packets / 3, "{more} after {packets}");
    assert!(rig.disk_bytes() <= MAX);
    let numbers = rig.packets(Lane(1), packets / 2 + 1).len() as u64;
    assert_eq!(numbers, packets - packets / 2 + more);
}

#[test]
fn drops_are_committed_on_a_full_spool() {
    let mut options = SpoolOptions { max_bytes: MAX, ..options() };
    options.drop_after = std::time::Duration::from_millis(1);
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    let (packets, _) = fill(&rig);
    rig.drop_through(Lane(1), packets);
    common::until("it takes packets", || rig.append("orders.new", &data(0, 1, 10)).is_ok());
    assert!(rig.disk_bytes() < MAX / 4, "{} bytes", rig.disk_bytes());
}

#[test]
fn a_full_disk_refuses_before_anything_is_written() {
    let rig = small();
    rig.append("orders.new", &data(0, 10, 1_000)).unwrap();
    rig.disk.set_full(true);
    let mut refused = None;
    for part in 0..1_000 {
        // What fits into the file as it is goes on being stored.
        if let Err(error) = rig.append("orders.new", &data(10 + part * 10, 10, 1_000)) {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(AppendError::DiskFull));
    assert_eq!(rig.spool.status().failed, None);
    rig.disk.set_full(false);
    let next = rig.lane(Lane(1)).next;
    assert_eq!(rig.append("orders.new", &data(0, 10, 1_000)).unwrap().first, next);
}
