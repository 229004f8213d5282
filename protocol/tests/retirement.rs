//! Lanes that end for ever (R6): when a client may say so, and what a ledger remembers.
#![allow(clippy::expect_used, reason = "a rig that panics fails its test")]

mod common;

use common::sender::{LANE, NOW, OTHER, Sender, ack};
use paquebot_protocol::frame::OpenLane;
use paquebot_protocol::inbox::{Inbox, Violation};
use paquebot_protocol::{Lane, Millis, Number, Retired};

/// A lane of ten packets, all of them acknowledged.
fn acked() -> Sender {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(10), 100);
    sender.outbox.acked(&ack(LANE, Number(10))).expect("a right ack");
    sender
}

#[test]
fn a_lane_retires_when_its_last_drop_is_durable_and_not_before() {
    let mut sender = acked();
    sender.outbox.retire(LANE);
    assert_eq!(sender.outbox.poll_retire(), None);
    sender.outbox.dropped(LANE, Number(9));
    assert_eq!(sender.outbox.poll_retire(), None);
    sender.outbox.dropped(LANE, Number(10));
    assert_eq!(sender.outbox.poll_retire(), Some(LANE));
    assert_eq!(sender.outbox.poll_retire(), None, "it is said once");
}

#[test]
fn a_lane_that_nobody_ends_never_retires() {
    let mut sender = acked();
    sender.outbox.dropped(LANE, Number(10));
    assert_eq!(sender.outbox.poll_retire(), None);
}

#[test]
fn without_a_connection_a_lane_waits_for_the_next_one() {
    let mut sender = acked();
    sender.outbox.dropped(LANE, Number(10));
    sender.outbox.retire(LANE);
    sender.outbox.disconnected();
    assert_eq!(sender.outbox.poll_retire(), None);
    sender.outbox.connected(1_000);
    assert_eq!(sender.outbox.poll_retire(), Some(LANE));
}

#[test]
fn what_was_not_heard_is_said_again_on_the_next_connection_and_what_was_heard_is_over() {
    let mut sender = acked();
    sender.outbox.dropped(LANE, Number(10));
    sender.outbox.retire(LANE);
    assert!(!sender.outbox.retire_heard(LANE), "nothing was said yet");
    assert_eq!(sender.outbox.poll_retire(), Some(LANE));
    sender.outbox.disconnected();
    assert!(!sender.outbox.retire_heard(LANE), "an answer does not outlive its connection");
    sender.outbox.connected(1_000);
    assert_eq!(sender.outbox.poll_retire(), Some(LANE));
    assert!(sender.outbox.retire_heard(LANE));
    assert_eq!(sender.outbox.acked_through(LANE), None, "it is forgotten");
    sender.outbox.disconnected();
    sender.outbox.connected(1_000);
    assert_eq!(sender.outbox.poll_retire(), None);
}

// The ledger would find the lane unknown when it comes to the question that is on its way.
#[test]
fn a_lane_that_asked_where_to_go_on_hears_the_answer_first() {
    let mut sender = acked();
    sender.outbox.paused(LANE, 1, NOW);
    sender.outbox.stored(LANE, Number::NONE, Number(11));
    sender.orders();
    sender.outbox.acked(&ack(LANE, Number(11))).expect_err("11 was not sent");
    sender.outbox.dropped(LANE, Number(11));
    sender.outbox.retire(LANE);
    assert_eq!(sender.outbox.poll_retire(), None);
    sender.answer(LANE, 2, 11, None);
    sender.orders();
    sender.outbox.proven(LANE, 2);
    assert_eq!(sender.outbox.poll_retire(), Some(LANE));
}

#[test]
fn an_inbox_lets_go_of_a_lane_without_work_and_of_no_other() {
    let mut inbox = Inbox::new(2, 1_000, 100);
    assert_eq!(inbox.retire(LANE), Ok(()), "a lane that was not opened here");
    for lane in [LANE, OTHER] {
        let target = "orders.eu".parse().expect("a target id");
        let (first, next) = (Number(1), Number(9));
        let open = OpenLane { lane, generation: 1, target, first, next };
        inbox.open_lane(&open).expect("an opening");
    }
    inbox.acquired(LANE, Number(8), None, 0);
    assert_eq!(inbox.retire(LANE), Ok(()));
    assert_eq!(inbox.retire(OTHER), Err(Violation::RetiredEarly { lane: OTHER }));
    assert_eq!(inbox.lanes().collect::<Vec<_>>(), [OTHER]);
}

#[test]
fn a_ledger_remembers_which_lanes_are_retired_and_takes_no_other_for_one() {
    let mut retired = Retired::default();
    for lane in [5, 1, 3, 2] {
        assert!(retired.retire(Lane(lane)));
    }
    assert!(!retired.retire(Lane(2)), "that is no news");
    let known: Vec<_> = (0..8).filter(|lane| retired.contains(Lane(*lane))).collect();
    assert_eq!(known, [1, 2, 3, 5], "lane 4 rests, and is lower than a lane that is known");
    assert_eq!(retired.stretches().collect::<Vec<_>>(), [(Lane(1), Lane(3)), (Lane(5), Lane(5))]);
    assert_eq!(retired.stretches().collect::<Retired>(), retired);
}

#[test]
fn lanes_that_all_end_take_one_stretch_in_whatever_order() {
    let mut retired = Retired::default();
    for at in 0..100 {
        retired.retire(Lane(1 + at * 37 % 100));
    }
    assert_eq!(retired.stretches().collect::<Vec<_>>(), [(Lane(1), Lane(100))]);
}

#[test]
fn a_pause_that_ends_opens_no_retired_lane() {
    let mut sender = acked();
    sender.outbox.paused(LANE, 1, Millis(10));
    sender.outbox.dropped(LANE, Number(10));
    sender.outbox.retire(LANE);
    assert_eq!(sender.outbox.poll_retire(), Some(LANE));
    assert_eq!(sender.outbox.poll(Millis(10)).filter(|order| !is_drop(order)), None);
}

fn is_drop(order: &paquebot_protocol::outbox::Order) -> bool {
    matches!(order, paquebot_protocol::outbox::Order::Drop { .. })
}
