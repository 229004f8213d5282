//! The sender's side of a lane on its own: what it believes of a server, what it does not, and whose
//! turn it is (R2, R3, R5, R7, R11). How it fares with an inbox is shown in `delivery_cases.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

use paquebot_protocol::frame::LaneOpened;
use paquebot_protocol::outbox::{Order, Outbox, Violation};
use paquebot_protocol::{Chain, Lane, Millis, Number};

const LANE: Lane = Lane(1);
const OTHER: Lane = Lane(2);
const CHAIN: Chain = Chain(7);
const NOW: Millis = Millis(0);
const ROOMY: u64 = 1_000_000;

/// An outbox with its orders taken down.
struct Sender {
    outbox: Outbox,
}

impl Sender {
    /// A connected one, with packets 1 to 10 in each of `lanes`, none of them acked.
    fn with(lanes: &[Lane]) -> Self {
        let mut outbox = Outbox::default();
        outbox.connected(ROOMY);
        for lane in lanes {
            outbox.stored(*lane, Number::NONE, Number(10));
        }
        Self { outbox }
    }

    fn orders(&mut self) -> Vec<Order> {
        std::iter::from_fn(|| self.outbox.poll(NOW)).collect()
    }

    /// The only order that there is.
    fn order(&mut self) -> Order {
        let orders = self.orders();
        assert_eq!(orders.len(), 1, "expected one order, found {orders:?}");
        orders[0].clone()
    }

    fn answer(&mut self, lane: Lane, generation: u32, cursor: u64, chain: Option<Chain>) {
        let answer = opened(lane, generation, cursor, chain);
        self.outbox.lane_opened(&answer).expect("a right answer");
    }

    /// Opens a lane that the ledger does not know.
    fn open(&mut self, lane: Lane, generation: u32) {
        self.answer(lane, generation, 0, None);
    }
}

fn opened(lane: Lane, generation: u32, cursor: u64, chain: Option<Chain>) -> LaneOpened {
    let (cursor, window_bytes, dead) = (Number(cursor), ROOMY, Vec::new());
    LaneOpened { lane, generation, cursor, chain, window_bytes, dead }
}

fn send(lane: Lane, generation: u32, from: u64) -> Order {
    Order::Send { lane, generation, from: Number(from), packets_max: u64::MAX }
}

fn open(lane: Lane, generation: u32, first: u64) -> Order {
    Order::Open { lane, generation, first: Number(first), next: Number(11) }
}

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
    let drop = Order::Drop { lane: LANE, through: Number(4) };
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
    let wrong = sender.outbox.acked(OTHER, Number(1));
    assert_eq!(wrong, Err(Violation::UnknownLane { lane: OTHER }));
}

#[test]
fn an_ack_beyond_what_was_sent_is_a_violation_and_drops_nothing() {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(3), 100);
    let wrong = sender.outbox.acked(LANE, Number(4));
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
    let wrong = sender.outbox.acked(LANE, Number(3));
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
    sender.outbox.acked(LANE, Number(4)).expect("an ack of what was sent");
    assert_eq!(sender.orders(), [Order::Drop { lane: LANE, through: Number(4) }]);
    assert_eq!(sender.outbox.poll(Millis(1_000)), Some(open(LANE, 2, 5)));
}

#[test]
fn while_the_socket_is_full_everything_goes_on_but_sending() {
    let mut sender = Sender::with(&[LANE]);
    assert_eq!(sender.outbox.poll_all_but_send(NOW), Some(open(LANE, 1, 1)));
    sender.open(LANE, 1);
    assert_eq!(sender.outbox.poll_all_but_send(NOW), None);
    assert_eq!(sender.order(), send(LANE, 1, 1));
    sender.outbox.sent(LANE, Number(3), 100);
    sender.outbox.acked(LANE, Number(3)).expect("an ack of what was sent");
    let drop = Order::Drop { lane: LANE, through: Number(3) };
    assert_eq!(sender.outbox.poll_all_but_send(NOW), Some(drop));
    assert_eq!(sender.outbox.poll_all_but_send(NOW), None);
    assert_eq!(sender.order(), send(LANE, 1, 4));
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
        sender.outbox.acked(LANE, Number(through)).expect("an ack of what was sent");
    }
    assert_eq!(sender.orders(), [Order::Drop { lane: LANE, through: Number(4) }]);
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
    sender.outbox.acked(OTHER, Number(10)).expect("an ack of what was sent");
    assert_eq!(sender.order(), Order::Drop { lane: OTHER, through: Number(10) });
    sender.outbox.acked(LANE, Number(5)).expect("an ack of what was sent");
    let drop = Order::Drop { lane: LANE, through: Number(5) };
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
    sender.outbox.acked(OTHER, Number(5)).expect("an ack of what was sent");
    let orders = sender.orders();
    assert!(orders.contains(&send(LANE, 1, 6)), "the lane that waited got no room: {orders:?}");
}
