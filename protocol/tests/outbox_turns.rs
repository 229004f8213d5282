//! Whose turn it is, and how much may go: lanes take turns, none waits for another, a budget stops
//! nobody who has nothing in flight, and a pause ends at its deadline (R5, R11).
#![allow(clippy::expect_used, reason = "a rig that panics fails its test")]

mod common;

use common::sender::{LANE, NOW, OTHER, ROOMY, Sender, ack, open, send};
use paquebot_protocol::outbox::{Order, Outbox, Priority};
use paquebot_protocol::{Lane, Millis, Number};

#[test]
fn without_a_connection_there_is_nothing_to_do() {
    let mut sender = Sender { outbox: Outbox::default() };
    sender.outbox.stored(LANE, Number::NONE, Number(10));
    assert_eq!(sender.orders(), []);
    assert_eq!(sender.outbox.deadline(), None);
}

#[test]
fn a_lane_with_nothing_to_send_is_not_opened() {
    let mut sender = Sender::with(&[]);
    sender.outbox.stored(LANE, Number(10), Number(10));
    assert_eq!(sender.orders(), []);
}

#[test]
fn while_the_socket_is_full_everything_goes_on_but_sending() {
    let mut sender = Sender::with(&[LANE]);
    assert_eq!(sender.outbox.poll_all_but_send(NOW), Some(open(LANE, 1, 1)));
    sender.open(LANE, 1);
    assert_eq!(sender.outbox.poll_all_but_send(NOW), None);
    assert_eq!(sender.order(), send(LANE, 1, 1));
    sender.outbox.sent(LANE, Number(3), 100);
    sender.outbox.acked(&ack(LANE, Number(3))).expect("an ack of what was sent");
    let drop = Order::Drop { lane: LANE, through: Number(3), skipped: 0 };
    assert_eq!(sender.outbox.poll_all_but_send(NOW), Some(drop));
    assert_eq!(sender.outbox.poll_all_but_send(NOW), None);
    assert_eq!(sender.order(), send(LANE, 1, 4));
}

#[test]
fn a_pause_ends_at_its_deadline_with_a_new_opening_and_one_packet() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(10), 100);
    sender.outbox.paused(LANE, 1, Millis(1_000));
    assert_eq!(sender.outbox.deadline(), Some(Millis(1_000)));
    assert_eq!(sender.outbox.poll(Millis(999)), None);
    assert_eq!(sender.outbox.poll(Millis(1_000)), Some(open(LANE, 2, 1)));
    sender.open(LANE, 2);
    let one = Order::Send { lane: LANE, generation: 2, from: Number(1), packets_max: 1 };
    assert_eq!(sender.outbox.poll(Millis(1_000)), Some(one));
}

#[test]
fn a_new_connection_does_not_wait_for_a_pause_of_the_old_one() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.outbox.paused(LANE, 1, Millis(1_000));
    sender.outbox.connected(ROOMY);
    assert_eq!(sender.outbox.deadline(), None);
    assert_eq!(sender.order(), open(LANE, 2, 1));
}

/// Whose turns the first `count` are, when lanes of these priorities have more than enough to send.
fn turns(priorities: [Priority; 3], count: usize) -> Vec<u64> {
    let mut sender = Sender { outbox: Outbox::default() };
    for (lane, priority) in (1..).map(Lane).zip(priorities) {
        sender.outbox.add(lane, Number::NONE, priority);
        sender.outbox.stored(lane, Number::NONE, Number(1_000));
    }
    sender.outbox.connected(ROOMY);
    sender.orders();
    for lane in (1..=3).map(Lane) {
        sender.open(lane, 1);
    }
    let mut turns = Vec::new();
    while turns.len() < count
        && let Some(Order::Send { lane, from, .. }) = sender.outbox.poll(NOW)
    {
        turns.push(lane.0);
        sender.outbox.sent(lane, from, 1);
    }
    turns
}

#[test]
fn higher_priorities_go_first_and_lower_ones_are_not_forgotten() {
    use Priority::{High, Low, Normal};
    let turns_of =
        |priorities, lane| turns(priorities, 320).into_iter().filter(|turn| *turn == lane).count();
    assert_eq!(turns([Low, Normal, High], 15), [3; 15]);
    // One turn in 16 for what is passed over.
    for (lane, share) in [(1, 20), (2, 20), (3, 280)] {
        let found = turns_of([Low, Normal, High], lane);
        assert!(found.abs_diff(share) <= 2, "lane {lane} had {found} of 320 turns");
    }
    assert!(turns_of([Low, Normal, Normal], 1).abs_diff(20) <= 2);
    assert_eq!(turns_of([High, High, Normal], 1), turns_of([High, High, Normal], 2));
}

#[test]
fn lanes_take_turns() {
    let mut sender = Sender::with(&[LANE, OTHER]);
    sender.orders();
    sender.open(LANE, 1);
    sender.open(OTHER, 1);
    let mut turns = Vec::new();
    while let Some(Order::Send { lane, from, .. }) = sender.outbox.poll(NOW) {
        turns.push(lane);
        sender.outbox.sent(lane, from, 100);
    }
    assert_eq!(turns, [LANE, OTHER].repeat(10));
}

#[test]
fn a_lane_that_is_being_read_holds_up_no_other() {
    let mut sender = Sender::with(&[LANE, OTHER]);
    sender.orders();
    sender.open(LANE, 1);
    sender.open(OTHER, 1);
    assert_eq!(sender.outbox.poll(NOW), Some(send(LANE, 1, 1)));
    sender.outbox.loading(LANE);
    assert_eq!(sender.outbox.poll(NOW), Some(send(OTHER, 1, 1)));
    sender.outbox.sent(OTHER, Number(10), 100);
    assert_eq!(sender.orders(), []);
    sender.outbox.loaded(LANE);
    assert_eq!(sender.order(), send(LANE, 1, 1));
}

#[test]
fn a_spent_budget_stops_lanes_with_something_in_flight_and_no_idle_one() {
    let mut sender = Sender::with(&[LANE, OTHER]);
    sender.outbox.connected(100);
    sender.orders();
    sender.open(LANE, 1);
    assert_eq!(sender.outbox.poll(NOW), Some(send(LANE, 1, 1)));
    sender.outbox.sent(LANE, Number(5), 100);
    assert_eq!(sender.orders(), []);
    sender.open(OTHER, 1);
    assert_eq!(sender.outbox.poll(NOW), Some(send(OTHER, 1, 1)));
    sender.outbox.sent(OTHER, Number(10), 100);
    assert_eq!(sender.orders(), []);
    // An ack of the other lane alone does not make room enough; an ack of its own does.
    sender.outbox.acked(&ack(OTHER, Number(10))).expect("an ack of what was sent");
    assert_eq!(sender.order(), Order::Drop { lane: OTHER, through: Number(10), skipped: 0 });
    sender.outbox.acked(&ack(LANE, Number(5))).expect("an ack of what was sent");
    let drop = Order::Drop { lane: LANE, through: Number(5), skipped: 0 };
    assert_eq!(sender.orders(), [drop, send(LANE, 1, 6)]);
}

#[test]
fn room_that_one_lane_gives_back_goes_to_another() {
    let mut sender = Sender::with(&[LANE, OTHER]);
    sender.outbox.connected(150);
    sender.orders();
    sender.open(LANE, 1);
    sender.open(OTHER, 1);
    for lane in [LANE, OTHER] {
        assert_eq!(sender.outbox.poll(NOW), Some(send(lane, 1, 1)));
        sender.outbox.sent(lane, Number(5), 100);
    }
    assert_eq!(sender.orders(), []);
    sender.outbox.acked(&ack(OTHER, Number(5))).expect("an ack of what was sent");
    let orders = sender.orders();
    assert!(orders.contains(&send(LANE, 1, 6)), "the lane that waited got no room: {orders:?}");
}

#[test]
fn what_a_pause_takes_back_makes_room_for_others() {
    let mut sender = Sender::with(&[LANE, OTHER]);
    sender.outbox.connected(150);
    sender.orders();
    sender.open(LANE, 1);
    sender.open(OTHER, 1);
    for lane in [LANE, OTHER] {
        assert_eq!(sender.outbox.poll(NOW), Some(send(lane, 1, 1)));
        sender.outbox.sent(lane, Number(5), 100);
    }
    assert_eq!(sender.orders(), []);
    sender.outbox.paused(OTHER, 1, Millis(1_000));
    assert_eq!(sender.order(), send(LANE, 1, 6));
}

#[test]
fn a_new_connection_has_its_whole_budget() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(5), 1_000);
    sender.outbox.connected(200);
    sender.orders();
    sender.open(LANE, 2);
    assert_eq!(sender.outbox.poll(NOW), Some(send(LANE, 2, 1)));
    sender.outbox.sent(LANE, Number(5), 100);
    assert_eq!(sender.order(), send(LANE, 2, 6));
}
