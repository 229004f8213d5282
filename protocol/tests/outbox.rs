//! The sender's side of a lane on its own: what it believes of a server, and what it does not (R2,
//! R3, R7). Whose turn it is stands in `outbox_turns.rs`; how it fares with an inbox is shown in
//! `delivery_cases.rs`.
#![allow(clippy::expect_used, reason = "a rig that panics fails its test")]

mod common;

use common::sender::{CHAIN, LANE, OTHER, ROOMY, Sender, ack, open, opened, send};
use paquebot_protocol::outbox::{Order, Violation};
use paquebot_protocol::{Millis, Number};

#[test]
fn a_lane_is_opened_once_and_sends_nothing_before_the_answer() {
    let mut sender = Sender::with(&[LANE]);
    assert_eq!(sender.order(), open(LANE, 1, 1));
    sender.outbox.stored(LANE, Number::NONE, Number(12));
    assert_eq!(sender.orders(), []);
}

#[test]
fn what_is_sent_begins_after_the_cursor_and_ends_with_what_is_stored() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.answer(LANE, 1, 4, Some(CHAIN));
    sender.orders();
    sender.outbox.proven(LANE, 1);
    let drop = Order::Drop { lane: LANE, through: Number(4), skipped: 0 };
    assert_eq!(sender.orders(), [drop, send(LANE, 1, 5)]);
    sender.outbox.sent(LANE, Number(10), 100);
    assert_eq!(sender.orders(), []);
}

#[test]
fn a_lane_that_the_ledger_knows_is_proven_before_anything_is_sent_or_dropped() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.answer(LANE, 1, 4, Some(CHAIN));
    let cursor = Number(4);
    let prove = Order::Prove { lane: LANE, generation: 1, cursor, chain: Some(CHAIN) };
    assert_eq!(sender.order(), prove);
    assert_eq!(sender.orders(), []);
}

#[test]
fn a_cursor_ahead_of_this_client_comes_out_as_a_proof() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.answer(LANE, 1, 400, Some(CHAIN));
    let cursor = Number(400);
    let prove = Order::Prove { lane: LANE, generation: 1, cursor, chain: Some(CHAIN) };
    assert_eq!(sender.order(), prove);
}

#[test]
fn a_cursor_behind_what_this_client_holds_is_a_violation() {
    let mut sender = Sender::with(&[]);
    sender.outbox.stored(LANE, Number(5), Number(10));
    assert_eq!(sender.order(), open(LANE, 1, 6));
    let wrong = sender.outbox.lane_opened(&opened(LANE, 1, 4, Some(CHAIN)));
    let (first, cursor) = (Number(5), Number(4));
    assert_eq!(wrong, Err(Violation::CursorBehind { lane: LANE, first, cursor }));
}

#[test]
fn an_answer_to_an_earlier_opening_is_ignored() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.outbox.connected(ROOMY);
    assert_eq!(sender.order(), open(LANE, 2, 1));
    sender.open(LANE, 1);
    assert_eq!(sender.orders(), []);
    sender.open(LANE, 2);
    assert_eq!(sender.order(), send(LANE, 2, 1));
}

#[test]
fn a_proof_for_an_earlier_opening_is_ignored() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.answer(LANE, 1, 4, Some(CHAIN));
    sender.orders();
    sender.outbox.connected(ROOMY);
    sender.orders();
    sender.answer(LANE, 2, 6, Some(CHAIN));
    sender.orders();
    sender.outbox.proven(LANE, 1);
    assert_eq!(sender.orders(), []);
    assert_eq!(sender.outbox.acked_through(LANE), Some(Number::NONE));
}

#[test]
fn an_answer_about_a_lane_that_does_not_exist_is_a_violation() {
    let mut sender = Sender::with(&[LANE]);
    let wrong = sender.outbox.lane_opened(&opened(OTHER, 1, 0, None));
    assert_eq!(wrong, Err(Violation::UnknownLane { lane: OTHER }));
    let wrong = sender.outbox.acked(&ack(OTHER, Number(1)));
    assert_eq!(wrong, Err(Violation::UnknownLane { lane: OTHER }));
}

#[test]
fn an_ack_beyond_what_was_sent_is_a_violation_and_drops_nothing() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(3), 100);
    let wrong = sender.outbox.acked(&ack(LANE, Number(4)));
    let (sent, through) = (Number(3), Number(4));
    assert_eq!(wrong, Err(Violation::AckBeyondSent { lane: LANE, sent, through }));
    assert_eq!(sender.outbox.acked_through(LANE), Some(Number::NONE));
}

#[test]
fn an_ack_from_an_earlier_connection_is_a_violation_and_drops_nothing() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(3), 100);
    sender.outbox.connected(ROOMY);
    let wrong = sender.outbox.acked(&ack(LANE, Number(3)));
    let (sent, through) = (Number::NONE, Number(3));
    assert_eq!(wrong, Err(Violation::AckBeyondSent { lane: LANE, sent, through }));
    assert_eq!(sender.outbox.acked_through(LANE), Some(Number::NONE));
}

#[test]
fn an_ack_after_a_pause_for_an_attempt_from_before_it_counts() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(10), 100);
    sender.outbox.paused(LANE, 1, Millis(1_000));
    sender.outbox.acked(&ack(LANE, Number(4))).expect("an ack of what was sent");
    assert_eq!(sender.orders(), [Order::Drop { lane: LANE, through: Number(4), skipped: 0 }]);
    assert_eq!(sender.outbox.poll(Millis(1_000)), Some(open(LANE, 2, 5)));
}

#[test]
fn a_proof_that_a_pause_made_void_holds_up_no_other() {
    let mut sender = Sender::with(&[LANE, OTHER]);
    sender.orders();
    sender.answer(LANE, 1, 4, Some(CHAIN));
    sender.answer(OTHER, 1, 4, Some(CHAIN));
    sender.outbox.paused(LANE, 1, Millis(1_000));
    let cursor = Number(4);
    let prove = Order::Prove { lane: OTHER, generation: 1, cursor, chain: Some(CHAIN) };
    assert_eq!(sender.order(), prove);
}

#[test]
fn an_ack_that_comes_again_drops_nothing_again() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(10), 100);
    for through in [4, 4, 2] {
        sender.outbox.acked(&ack(LANE, Number(through))).expect("an ack of what was sent");
    }
    assert_eq!(sender.orders(), [Order::Drop { lane: LANE, through: Number(4), skipped: 0 }]);
}

#[test]
fn a_pause_of_an_earlier_generation_is_ignored() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.outbox.connected(ROOMY);
    sender.orders();
    sender.open(LANE, 2);
    sender.outbox.paused(LANE, 1, Millis(1_000));
    assert_eq!(sender.outbox.deadline(), None);
    assert_eq!(sender.order(), send(LANE, 2, 1));
}
