//! Proves that the ledger knows how each packet came to its end and about when, over restarts, and that
//! a crash costs no more than a second of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{LedgerRig, ask, client, fence, key, letter, mark, until};
use paquebot_protocol::{Lane, Number, PacketId, SpoolId};
use paquebot_store::{Fence, Mark, Passage, Traced};

fn id(fence: Fence, lane: u64, number: u64) -> PacketId {
    PacketId { spool: fence.spool, lane: Lane(lane), number: Number(number) }
}

fn trace(rig: &LedgerRig, id: PacketId) -> Traced {
    ask(|reply| rig.ledger.trace(id, reply)).unwrap()
}

/// How a packet passed, and by which handler.
fn how(rig: &LedgerRig, id: PacketId) -> Option<(Passage, String)> {
    trace(rig, id).passed.map(|passed| (passed.how, passed.handler))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn each_packet_has_its_end_and_its_time() {
    let rig = LedgerRig::new();
    let one = fence(1, 1, 1);
    rig.admit(one).unwrap();
    let began = now();
    // Many records in one second, of which only the first writes a row.
    for at in 0..50 {
        rig.record(vec![mark(one, 1, at, at + 1), mark(one, 2, at * 2, at * 2 + 2)], vec![])
            .unwrap();
    }
    // One of three becomes a dead letter; and two will never come.
    let some = Mark { handled: 2, ..mark(one, 1, 50, 53) };
    rig.record(vec![some], vec![letter(one, 1, 52)]).unwrap();
    let exactly = now();
    rig.record(vec![Mark { handled: 0, skipped: 2, ..mark(one, 1, 53, 55) }], vec![]).unwrap();
    let told = rig.cursor(key(one, 3), 8);
    assert_eq!(told.jumped, 7);

    let handled = Some((Passage::Handled, "orders".to_owned()));
    let check = |rig: &LedgerRig| {
        for number in [1, 2, 25, 49, 50, 51, 53] {
            assert_eq!(how(rig, id(one, 1, number)), handled, "{number}");
        }
        assert_eq!(how(rig, id(one, 2, 100)), handled);
        assert_eq!(how(rig, id(one, 1, 52)).unwrap().0, Passage::DeadLettered);
        assert_eq!(trace(rig, id(one, 1, 52)).letter.unwrap().reason, letter(one, 1, 52).reason);
        assert_eq!(how(rig, id(one, 1, 54)).unwrap().0, Passage::Skipped);
        assert_eq!(how(rig, id(one, 3, 7)), Some((Passage::Elsewhere, String::new())));
        // A row is of one second, and says when the first of it passed.
        let at = trace(rig, id(one, 1, 25)).passed.unwrap().at_ms;
        assert!((began..=now()).contains(&at), "{at} is not between {began} and now");
        let at = trace(rig, id(one, 1, 54)).passed.unwrap().at_ms;
        assert!((exactly..=exactly + 200).contains(&at), "{at} is not about {exactly}");
    };
    check(&rig);
    // What no row says yet is written when the ledger closes.
    let rig = rig.reopen();
    check(&rig);
    let rig = rig.crash();
    check(&rig);
}

#[test]
fn an_idle_ledger_catches_up_before_a_crash() {
    let rig = LedgerRig::new();
    let one = fence(1, 1, 1);
    rig.admit(one).unwrap();
    for at in 0..5 {
        rig.record(vec![mark(one, 1, at, at + 1)], vec![]).unwrap();
    }
    let syncs = rig.disk.syncs();
    until("the ledger is idle", || rig.disk.syncs() > syncs);
    let rig = rig.crash();
    assert_eq!(how(&rig, id(one, 1, 5)), Some((Passage::Handled, "orders".to_owned())));
}

#[test]
fn what_has_not_passed_is_not_said_to_have() {
    let rig = LedgerRig::new();
    let one = fence(1, 1, 1);
    assert_eq!(trace(&rig, id(one, 1, 1)), Traced::default());
    rig.admit(one).unwrap();
    rig.record(vec![mark(one, 1, 0, 3)], vec![]).unwrap();
    let traced = trace(&rig, id(one, 1, 4));
    assert_eq!((traced.passed, traced.cursor), (None, Number(3)));
    assert_eq!(traced.client, Some(client("till-17")));
    assert_eq!(how(&rig, id(one, 2, 1)), None);
    assert!(!trace(&rig, id(one, 1, 1)).retired);
    ask(|reply| rig.ledger.retire(one, Lane(1), reply)).unwrap();
    assert!(trace(&rig, id(one, 1, 1)).retired);
}

#[test]
fn a_packet_is_found_under_the_names_that_its_spool_took_later() {
    let rig = LedgerRig::new();
    let (one, two, three) = (fence(1, 1, 1), fence(2, 1, 1), fence(3, 1, 1));
    rig.admit(one).unwrap();
    rig.record(vec![mark(one, 1, 0, 3)], vec![]).unwrap();
    for (heir, of) in [(two, one), (three, two)] {
        rig.admit_as("till-17", heir, Some(of.spool)).unwrap();
    }
    rig.cursor(key(three, 1), 4);
    rig.record(vec![mark(three, 1, 3, 9)], vec![]).unwrap();
    let traced = trace(&rig, id(one, 1, 8));
    assert_eq!((traced.spool, traced.cursor), (Some(SpoolId([3; 16])), Number(9)));
    assert_eq!(traced.passed.unwrap().how, Passage::Handled);
}
