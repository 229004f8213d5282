//! Proves that what is counted goes on over restarts: nothing that was shown is ever lost, whatever
//! happens to the disk, and packets are counted in their own commit.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, SpoolRig, ask, batch, data, options, target, until};
use paquebot_protocol::Number;
use paquebot_store::{Key, Parcel, Part, SpoolOptions, Stored};

/// Stores a packet that a source counts as sent, under a key if there is one.
fn send(rig: &SpoolRig, key: Option<u128>) -> Stored {
    let key = key.map(|key| Key { source: 1, key, content: 7 });
    let part = Part { target: target("orders"), batch: batch(&data(0, 1, 100)), key };
    let (positions, count) = (Vec::new(), Some(rig.spool.counts().of("source/sent/shop")));
    let stored = ask(|reply| {
        rig.spool.store(Parcel { parts: vec![part], positions, patience: None, count, reply });
    });
    stored.unwrap()[0]
}

fn kept(rig: &SpoolRig, name: &str) -> u64 {
    rig.spool.counts().of(name).kept()
}

#[test]
fn packets_are_counted_in_their_own_commit_and_once() {
    let mut rig = SpoolRig::new();
    for round in 1..=5 {
        send(&rig, None);
        assert_eq!(kept(&rig, "source/sent/shop"), round, "as soon as it is stored");
        rig = rig.crash();
        assert_eq!(kept(&rig, "source/sent/shop"), round);
    }
    send(&rig, Some(9));
    assert!(send(&rig, Some(9)).again);
    assert_eq!(kept(&rig, "source/sent/shop"), 6, "what was stored before is no new event");
}

#[test]
fn what_was_shown_is_never_lost_and_all_is_there_after_a_close() {
    let rig = SpoolRig::new();
    let filtered = rig.spool.counts().of("source/filtered/shop");
    filtered.add(3);
    send(&rig, None);
    until("it rides on a commit", || {
        rig.append("other", &data(0, 1, 10)).unwrap();
        filtered.kept() == 3
    });
    filtered.add(4);
    let shown = filtered.kept();
    let rig = rig.crash();
    let filtered = rig.spool.counts().of("source/filtered/shop");
    assert!(filtered.kept() >= shown && filtered.kept() <= 7);
    let before = filtered.kept();
    filtered.add(10);
    let rig = rig.reopen();
    assert_eq!(kept(&rig, "source/filtered/shop"), before + 10);
    assert!(rig.spool.positions("shop").is_empty(), "no source sees it");
}

#[test]
fn without_any_packet_counts_have_a_commit_of_their_own_now_and_then() {
    let rig = SpoolRig::new();
    let filtered = rig.spool.counts().of("source/filtered/shop");
    filtered.add(2);
    until("it is kept", || {
        let asked: paquebot_store::SpoolRoom = {
            let (answer, answered) = std::sync::mpsc::channel();
            rig.spool.measure(Box::new(move |room| _ = answer.send(room)));
            answered.recv().unwrap()
        };
        assert!(asked.left_bytes > 0);
        filtered.kept() == 2
    });
}

#[test]
fn counts_move_into_the_next_segment_and_are_found_when_the_newest_is_lost() {
    let options = SpoolOptions { segment_bytes: 384 << 10, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    for _ in 0..50 {
        let stored = send(&rig, None);
        rig.append("bulk", &data(0, 1, 60_000)).unwrap();
        rig.spool.drop_through(stored.lane, Number(stored.first.0), 0, 0);
    }
    assert!(rig.spool.status().segments > 1);
    assert_eq!(kept(&rig.crash(), "source/sent/shop"), 50);
}
