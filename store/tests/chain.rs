//! Proves the store's half of R7: it tells the chain at every number that it holds, so that two
//! stores can find out whether they mean the same packets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{SpoolRig, data};
use paquebot_protocol::chain::record_hash;
use paquebot_protocol::{Chain, Lane, Number};

/// The chain at every number of a lane, from what is read back.
fn chains(rig: &SpoolRig, lane: Lane) -> Vec<Chain> {
    let runs = rig.read(lane, 1, usize::MAX).unwrap();
    let mut chain = runs[0].head().chain;
    let mut chains = vec![chain];
    for run in &runs {
        for (_, record) in run.records() {
            chain = chain.after(record_hash(record), run.head().origin.nonce);
            chains.push(chain);
        }
    }
    chains
}

#[test]
fn the_chain_is_known_at_every_number() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 300, 500)).unwrap().lane;
    rig.append("orders.new", &data(300, 20, 50)).unwrap();
    let chains = chains(&rig, lane);
    assert_eq!(chains[0], Chain::start(&common::target("orders.new"), lane));
    for (number, chain) in (0..).zip(chains) {
        assert_eq!(rig.chain_at(lane, number), Some(chain), "at {number}");
    }
}

#[test]
fn a_number_that_was_never_assigned_has_no_chain() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 10, 50)).unwrap().lane;
    assert!(rig.chain_at(lane, 10).is_some());
    assert_eq!(rig.chain_at(lane, 11), None);
    assert_eq!(rig.chain_at(lane, u64::MAX), None);
    assert_eq!(rig.chain_at(Lane(9), 0), None);
}

#[test]
fn the_chain_at_the_last_acknowledged_packet_is_known_when_all_runs_are_gone() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 10, 50)).unwrap().lane;
    let chain = rig.chain_at(lane, 10);
    rig.drop_through(lane, 10);
    assert_eq!(rig.chain_at(lane, 10), chain);
    assert_eq!(rig.chain_at(lane, 9), None);
    let rig = rig.crash();
    assert_eq!(rig.chain_at(lane, 10), chain);
    rig.append("orders.new", &data(10, 1, 50)).unwrap();
    assert_eq!(rig.chain_at(lane, 10), chain);
}

#[test]
fn two_openings_that_store_the_same_packets_part_ways() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 5, 50)).unwrap();
    let lane = Lane(1);
    let clone = rig.disk.survivor();
    let one = SpoolRig::open(clone.survivor(), rig.options.clone()).unwrap();
    let other = SpoolRig::open(clone.survivor(), rig.options).unwrap();
    for rig in [&one, &other] {
        rig.append("orders.new", &data(5, 5, 50)).unwrap();
    }
    assert_eq!(one.chain_at(lane, 5), other.chain_at(lane, 5));
    assert_ne!(one.chain_at(lane, 10), other.chain_at(lane, 10));
}

#[test]
fn a_read_begins_with_the_run_that_holds_the_number() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 300, 500)).unwrap().lane;
    for from in [1, 2, 150, 299, 300] {
        let runs = rig.read(lane, from, 1).unwrap();
        assert_eq!(runs.len(), 1);
        assert!(runs[0].first() <= Number(from) && Number(from) <= runs[0].last());
        let part = runs[0].part(Number(from), Number(u64::MAX)).unwrap();
        assert_eq!(Some(part.head().chain), rig.chain_at(lane, from - 1));
    }
    assert!(rig.read(lane, 301, 1).unwrap().is_empty());
    assert!(rig.read(Lane(9), 1, 1).unwrap().is_empty());
}

#[test]
fn a_read_stops_at_about_the_bytes_asked_for() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 4_000, 1_000)).unwrap().lane;
    let runs = rig.read(lane, 1, 1_000_000).unwrap();
    let bytes: usize = runs.iter().map(|run| run.encoded().len()).sum();
    assert!((1_000_000..1_000_000 + 512 * 1024).contains(&bytes), "{bytes}");
    assert!(runs.windows(2).all(|pair| pair[0].last().next() == pair[1].first()));
}
