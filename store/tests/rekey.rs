//! Proves R7's re-key: another id that names the one it replaces, in one commit; numbers and chains
//! stay, and packets keep the id that they were born with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{SpoolRig, data};
use paquebot_protocol::{Lane, Number};

#[test]
fn a_rekeyed_spool_has_another_id_and_names_the_old_one() {
    let rig = SpoolRig::new();
    let before = rig.opened.identity;
    let after = rig.rekey().unwrap();
    assert_ne!(after.spool, before.spool);
    assert_eq!(after.replaces, Some(before.spool));
    assert_eq!((after.opened, after.nonce), (before.opened, before.nonce));
    let again = rig.crash().opened.identity;
    assert_eq!((again.spool, again.replaces), (after.spool, after.replaces));
    assert_eq!(again.opened, 2);
}

#[test]
fn numbers_and_chains_stay_and_packets_keep_their_birth_ids() {
    let rig = SpoolRig::new();
    let old = rig.append("orders.new", &data(0, 5, 50)).unwrap();
    let chain = rig.chain_at(Lane(1), 5);
    rig.rekey().unwrap();
    let new = rig.append("orders.new", &data(5, 5, 50)).unwrap();
    assert_eq!((new.lane, new.first), (Lane(1), Number(6)));
    assert_ne!(new.spool, old.spool);
    assert_eq!(rig.chain_at(Lane(1), 5), chain);
    let runs = rig.read(Lane(1), 1, usize::MAX).unwrap();
    assert_eq!(runs[0].packet_id(Lane(1), Number(1)).spool, old.spool);
    assert_eq!(runs[1].packet_id(Lane(1), Number(6)).spool, new.spool);
    assert_eq!(rig.packets(Lane(1), 1).len(), 10);
}

#[test]
fn the_new_id_outlives_rotation() {
    let rig = SpoolRig::new();
    let after = rig.rekey().unwrap();
    while rig.spool.status().segments < 3 {
        rig.append("orders.new", &data(0, 1_000, 400)).unwrap();
    }
    assert_eq!(rig.crash().opened.identity.spool, after.spool);
}
