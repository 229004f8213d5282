//! Proves the ledger's half of R11: how often a packet was tried, and since when, outlives crashes,
//! and goes with the record that passes the packet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{LedgerRig, ask, fence, key, letter, mark};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{Fence, RecordError, Tried};

fn tried(number: u64, attempts: u32) -> Tried {
    let number = Number(number);
    Tried { number, attempts, first_attempt_ms: 1_000, last_attempt_ms: 9_000 }
}

fn put(rig: &LedgerRig, fence: Fence, tried: Tried) -> Result<(), RecordError> {
    ask(|reply| rig.ledger.tried(fence, Lane(1), tried, reply))
}

fn found(rig: &LedgerRig, fence: Fence, first: u64) -> Option<Tried> {
    rig.cursor(key(fence, 1), first).tried
}

#[test]
fn what_was_tried_outlives_a_crash_and_is_replaced_by_the_next_try() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    assert_eq!(found(&rig, fence, 1), None);
    put(&rig, fence, tried(1, 1)).unwrap();
    let rig = rig.crash();
    assert_eq!(found(&rig, fence, 1), Some(tried(1, 1)));
    put(&rig, fence, tried(1, 2)).unwrap();
    let rig = rig.crash();
    assert_eq!(found(&rig, fence, 1), Some(tried(1, 2)));
    assert_eq!(rig.cursor(key(fence, 2), 1).tried, None, "another lane");
}

#[test]
fn the_record_that_passes_a_packet_takes_what_was_tried_of_it_along() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 2)], vec![]).unwrap();
    put(&rig, fence, tried(3, 1)).unwrap();
    rig.record(vec![mark(fence, 2, 0, 7)], vec![]).unwrap();
    assert_eq!(found(&rig, fence, 1), Some(tried(3, 1)), "a record of another lane took it");
    rig.record(vec![mark(fence, 1, 2, 3)], vec![letter(fence, 1, 3)]).unwrap();
    assert_eq!(found(&rig, fence, 1), None);
    put(&rig, fence, tried(4, 1)).unwrap();
    rig.record(vec![mark(fence, 1, 3, 9)], vec![]).unwrap();
    assert_eq!(found(&rig.crash(), fence, 1), None);
}

#[test]
fn a_cursor_that_jumps_over_a_packet_forgets_what_was_tried_of_it() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    put(&rig, fence, tried(1, 1)).unwrap();
    assert_eq!(found(&rig, fence, 6), None);
}

#[test]
fn only_the_packet_after_the_cursor_is_tried_and_only_by_the_latest_opening() {
    let rig = LedgerRig::new();
    let (older, newer) = (fence(1, 1, 1), fence(1, 2, 2));
    rig.admit(older).unwrap();
    rig.record(vec![mark(older, 1, 0, 5)], vec![]).unwrap();
    for number in [5, 7] {
        let refused = put(&rig, older, tried(number, 1));
        assert!(matches!(refused, Err(RecordError::Moved { .. })), "{refused:?}");
    }
    rig.admit(newer).unwrap();
    let refused = put(&rig, older, tried(6, 1));
    assert!(matches!(refused, Err(RecordError::Fenced { .. })), "{refused:?}");
    put(&rig, newer, tried(6, 1)).unwrap();
    assert_eq!(found(&rig, newer, 1), Some(tried(6, 1)));
}
