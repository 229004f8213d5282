//! Proves that a damaged byte costs its run and is reported, never passed on (R10). (Quarantine and
//! a tombstone in its place are yet to come.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{SpoolRig, data, segment};
use paquebot_protocol::{Lane, Number};
use paquebot_store::ReadError;

#[test]
fn a_damaged_run_of_a_sealed_segment_is_reported_and_the_others_are_read() {
    let rig = SpoolRig::new();
    for part in 0..10 {
        rig.append("orders.new", &data(part * 500, 500, 1_000)).unwrap();
    }
    rig.spool.close().unwrap();
    let mut bytes = rig.disk.bytes(&segment(1)).unwrap();
    // The 200th packet's data, wherever it lies.
    let wanted = &data(199, 1, 1_000)[0];
    let at = bytes.windows(wanted.len()).position(|window| window == &wanted[..]).unwrap();
    bytes[at + 500] ^= 1;
    rig.disk.put(&segment(1), bytes);
    let rig = SpoolRig::open(rig.disk, rig.options).unwrap();
    let Err(ReadError::Damaged { lane, first, last, .. }) = rig.read(Lane(1), 200, 1) else {
        panic!("it was read")
    };
    assert!(lane == Lane(1) && first <= Number(200) && Number(200) <= last);
    assert_eq!(rig.packets(Lane(1), last.0 + 1).len() as u64, 5_000 - last.0);
    assert!(rig.chain_at(Lane(1), 4_000).is_some());
}
