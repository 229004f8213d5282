//! The receiver's side of a lane on its own: what it takes, in which order it is dispatched, and
//! what it refuses (R4 to R8). How it fares with an outbox is shown in `delivery_cases.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

use paquebot_protocol::frame::{Ack, OpenLane};
use paquebot_protocol::inbox::{Admission, Arrival, Inbox, Order, Violation};
use paquebot_protocol::{Chain, Lane, Number, TargetId};

const LANE: Lane = Lane(1);
const OTHER: Lane = Lane(2);
const WINDOW_BYTES: u64 = 1_000;
const FRAME_BYTES_MAX: u64 = 100;

/// The chain of the lane after a number: any function will do.
fn chain(number: u64) -> Chain {
    Chain(number.wrapping_mul(1_000) + 7)
}

fn opening(lane: Lane, generation: u32, first: u64) -> OpenLane {
    let target = "orders.eu".parse().expect("a target id");
    OpenLane { lane, generation, target, first: Number(first), next: Number(1_000) }
}

/// An inbox with its orders taken down.
struct Receiver {
    inbox: Inbox,
}

impl Receiver {
    fn new() -> Self {
        Self { inbox: Inbox::new(2, WINDOW_BYTES, FRAME_BYTES_MAX) }
    }

    /// One with a lane open after `cursor`, which the ledger knows.
    fn open_after(cursor: u64) -> Self {
        let mut receiver = Self::new();
        receiver.inbox.open_lane(&opening(LANE, 1, 1)).expect("a first opening");
        receiver.inbox.acquired(LANE, Number(cursor), Some(chain(cursor)), 0);
        receiver.orders();
        receiver
    }

    fn orders(&mut self) -> Vec<Order> {
        std::iter::from_fn(|| self.inbox.poll()).collect()
    }

    fn hear(&mut self, generation: u32, arrival: Arrival) -> Result<Admission, Violation> {
        let span = arrival.first.before()..=arrival.through;
        let chain_at = |number: Number| span.contains(&number).then(|| chain(number.0));
        self.inbox.arrived(LANE, generation, arrival, chain_at)
    }

    fn run(&mut self, first: u64, through: u64) -> Result<Admission, Violation> {
        self.hear(1, arrival(first, through))
    }
}

fn arrival(first: u64, through: u64) -> Arrival {
    let (first, through, chain_after) = (Number(first), Number(through), chain(through));
    Arrival { first, through, chain_after, bytes: 10, skipped: false }
}

fn skip(first: u64, through: u64) -> Arrival {
    Arrival { bytes: 0, skipped: true, ..arrival(first, through) }
}

fn dispatch(cursor: u64, through: u64) -> Order {
    let (cursor, through, chain) = (Number(cursor), Number(through), chain(through));
    Order::Dispatch { lane: LANE, cursor, through, chain }
}

fn ack(through: u64) -> Order {
    Order::Ack(Ack { lane: LANE, through: Number(through), skipped: 0 })
}

#[test]
fn a_lane_is_open_once_its_lease_and_cursor_are_known() {
    let mut receiver = Receiver::new();
    receiver.inbox.open_lane(&opening(LANE, 3, 5)).expect("a first opening");
    assert_eq!(receiver.orders(), [Order::Acquire { lane: LANE, first: Number(5) }]);
    assert_eq!(receiver.hear(3, arrival(5, 6)), Err(Violation::NotOpen { lane: LANE }));
    receiver.inbox.acquired(LANE, Number(4), None, 0);
    let cursor = Number(4);
    let opened = Order::Opened { lane: LANE, generation: 3, cursor, chain: None, skipped: 0 };
    assert_eq!(receiver.orders(), [opened]);
    assert_eq!(receiver.hear(3, arrival(5, 6)), Ok(Admission::Taken));
}

#[test]
fn nothing_arrives_in_a_lane_that_was_never_opened() {
    let mut receiver = Receiver::new();
    assert_eq!(receiver.run(1, 2), Err(Violation::NotOpen { lane: LANE }));
}

#[test]
fn an_ack_follows_the_outcome_and_nothing_else() {
    let mut receiver = Receiver::open_after(0);
    assert_eq!(receiver.run(1, 3), Ok(Admission::Taken));
    assert_eq!(receiver.orders(), [dispatch(0, 3)]);
    receiver.inbox.settled(LANE, Number(3));
    assert_eq!(receiver.orders(), [ack(3)]);
}

#[test]
fn what_arrives_during_an_attempt_goes_together_with_the_next() {
    let mut receiver = Receiver::open_after(0);
    for (first, through) in [(1, 3), (4, 5), (6, 9)] {
        assert_eq!(receiver.run(first, through), Ok(Admission::Taken));
    }
    assert_eq!(receiver.orders(), [dispatch(0, 3)]);
    receiver.inbox.settled(LANE, Number(3));
    assert_eq!(receiver.orders(), [ack(3), dispatch(3, 9)]);
}

#[test]
fn a_skip_is_passed_alone_and_in_its_place() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.hear(1, skip(4, 5)).expect("a skip");
    receiver.run(6, 7).expect("a run");
    assert_eq!(receiver.orders(), [dispatch(0, 3)]);
    receiver.inbox.settled(LANE, Number(3));
    let (cursor, through, after) = (Number(3), Number(5), chain(5));
    let pass = Order::Pass { lane: LANE, cursor, through, chain: after };
    assert_eq!(receiver.orders(), [ack(3), pass]);
    receiver.inbox.settled(LANE, Number(5));
    let acked =
        |through, skipped| Order::Ack(Ack { lane: LANE, through: Number(through), skipped });
    assert_eq!(receiver.orders(), [acked(5, 2), dispatch(5, 7)]);
    receiver.inbox.settled(LANE, Number(7));
    assert_eq!(receiver.orders(), [acked(7, 2)]);
}

#[test]
fn of_a_skip_counts_what_was_not_handled_before_it_came() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.hear(1, skip(2, 5)).expect("a skip over packets that are with the handler");
    receiver.inbox.settled(LANE, Number(3));
    receiver.inbox.settled(LANE, Number(5));
    let acks = receiver.orders().into_iter().filter(|order| matches!(order, Order::Ack(_)));
    let acked =
        |through, skipped| Order::Ack(Ack { lane: LANE, through: Number(through), skipped });
    assert_eq!(acks.collect::<Vec<_>>(), [acked(3, 0), acked(5, 2)]);
}

#[test]
fn a_part_with_an_outcome_is_acked_and_the_rest_is_waited_for() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.run(4, 5).expect("a run");
    receiver.orders();
    receiver.inbox.settled(LANE, Number(2));
    assert_eq!(receiver.orders(), [ack(2)]);
    receiver.inbox.settled(LANE, Number(3));
    assert_eq!(receiver.orders(), [ack(3), dispatch(3, 5)]);
}

#[test]
fn a_gap_is_refused() {
    let mut receiver = Receiver::open_after(4);
    let (expected, found) = (Number(5), Number(6));
    assert_eq!(receiver.run(6, 7), Err(Violation::Gap { lane: LANE, expected, found }));
    assert_eq!(receiver.orders(), []);
}

#[test]
fn another_history_is_refused_at_the_cursor_and_after_what_arrived() {
    let mut receiver = Receiver::open_after(4);
    let foreign = |_| Some(Chain(1));
    let refused = receiver.inbox.arrived(LANE, 1, arrival(5, 6), foreign);
    let (first, expected) = (Number(5), chain(4));
    assert_eq!(refused, Err(Violation::History { lane: LANE, first, expected }));
    receiver.run(5, 6).expect("our own history");
    let refused = receiver.inbox.arrived(LANE, 1, arrival(7, 8), foreign);
    let (first, expected) = (Number(7), chain(6));
    assert_eq!(refused, Err(Violation::History { lane: LANE, first, expected }));
}

#[test]
fn what_lies_below_the_cursor_is_trimmed() {
    let mut receiver = Receiver::open_after(4);
    assert_eq!(receiver.run(2, 4), Ok(Admission::Ignored));
    assert_eq!(receiver.orders(), []);
    assert_eq!(receiver.run(3, 6), Ok(Admission::TakenAfter(Number(4))));
    assert_eq!(receiver.orders(), [dispatch(4, 6)]);
}

#[test]
fn what_overlaps_must_be_of_the_same_history() {
    let mut receiver = Receiver::open_after(4);
    let foreign = |number: Number| Some(Chain(number.0));
    let refused = receiver.inbox.arrived(LANE, 1, arrival(3, 6), foreign);
    let (first, expected) = (Number(5), chain(4));
    assert_eq!(refused, Err(Violation::History { lane: LANE, first, expected }));
}

#[test]
fn after_a_failure_the_lane_takes_nothing_before_it_is_opened_again() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.run(4, 5).expect("a run");
    receiver.orders();
    assert_eq!(receiver.inbox.failed(LANE), Some(1));
    assert_eq!(receiver.run(6, 7), Ok(Admission::Ignored));
    assert_eq!(receiver.orders(), []);
    receiver.inbox.open_lane(&opening(LANE, 2, 1)).expect("the next opening");
    receiver.inbox.acquired(LANE, Number(0), None, 0);
    receiver.orders();
    assert_eq!(receiver.run(8, 9), Ok(Admission::Ignored), "of the generation before");
    assert_eq!(receiver.hear(2, arrival(1, 1)), Ok(Admission::Taken));
    assert_eq!(receiver.orders(), [dispatch(0, 1)]);
}

#[test]
fn a_part_with_an_outcome_is_acked_before_the_rest_fails_and_the_lane_is_paused() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.run(4, 5).expect("a run");
    receiver.orders();
    receiver.inbox.settled(LANE, Number(2));
    assert_eq!(receiver.inbox.attempts().collect::<Vec<_>>(), [LANE], "the rest still runs");
    assert_eq!(receiver.inbox.failed(LANE), Some(1));
    assert_eq!(receiver.orders(), [ack(2)], "neither the rest nor what waited goes on");
    assert_eq!(receiver.inbox.attempts().next(), None);
    assert_eq!(receiver.run(6, 7), Ok(Admission::Ignored));
    receiver.inbox.open_lane(&opening(LANE, 2, 1)).expect("the next opening");
    receiver.inbox.acquired(LANE, Number(2), Some(chain(2)), 0);
    receiver.orders();
    assert_eq!(receiver.hear(2, arrival(3, 3)), Ok(Admission::Taken));
    assert_eq!(receiver.orders(), [dispatch(2, 3)]);
}

#[test]
fn a_part_with_an_outcome_gives_its_runs_room_in_the_window_back() {
    let mut receiver = Receiver::open_after(0);
    let large = |number: u64| Arrival { bytes: 300, ..arrival(number, number) };
    for number in 1..=3 {
        assert_eq!(receiver.hear(1, large(number)), Ok(Admission::Taken));
    }
    receiver.inbox.settled(LANE, Number(1));
    assert_eq!(receiver.orders(), [dispatch(0, 1), ack(1), dispatch(1, 3)]);
    assert_eq!(receiver.hear(1, large(4)), Ok(Admission::Taken));
    // The attempt of 2 and 3 goes on while 2 is acked, and the client sends a run in its place.
    receiver.inbox.settled(LANE, Number(2));
    assert_eq!(receiver.hear(1, large(5)), Ok(Admission::Taken));
    let (max, found) = (WINDOW_BYTES, 1_200);
    assert_eq!(receiver.hear(1, large(6)), Err(Violation::Window { lane: LANE, max, found }));
    assert_eq!(receiver.orders(), [ack(2)]);
}

#[test]
fn a_closed_inbox_holds_a_lane_until_all_of_its_attempt_has_ended() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    assert_eq!(receiver.orders(), [dispatch(0, 3)]);
    receiver.inbox.close();
    receiver.inbox.settled(LANE, Number(2));
    assert_eq!(receiver.inbox.attempts().collect::<Vec<_>>(), [LANE]);
    assert_eq!(receiver.inbox.failed(LANE), None);
    assert_eq!(receiver.inbox.attempts().next(), None);
    assert_eq!(receiver.orders(), []);
}

#[test]
fn an_opening_waits_for_the_attempt_of_the_one_before_whose_outcome_counts() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.run(4, 5).expect("a run");
    receiver.orders();
    receiver.inbox.open_lane(&opening(LANE, 2, 1)).expect("the next opening");
    assert_eq!(receiver.orders(), [], "the lane was acquired under a running attempt");
    receiver.inbox.settled(LANE, Number(3));
    assert_eq!(receiver.orders(), [Order::Acquire { lane: LANE, first: Number(1) }]);
}

#[test]
fn an_opening_goes_on_after_an_attempt_that_failed_and_asks_for_no_pause() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.orders();
    receiver.inbox.open_lane(&opening(LANE, 2, 1)).expect("the next opening");
    assert_eq!(receiver.inbox.failed(LANE), None);
    assert_eq!(receiver.orders(), [Order::Acquire { lane: LANE, first: Number(1) }]);
}

#[test]
fn a_skip_that_begins_below_the_cursor_is_passed_from_the_cursor_on() {
    let mut receiver = Receiver::open_after(4);
    // A tombstone has a chain at its ends alone.
    let before = |number: Number| (number == Number(2)).then(|| chain(2));
    let taken = receiver.inbox.arrived(LANE, 1, skip(3, 8), before);
    assert_eq!(taken, Ok(Admission::TakenAfter(Number(4))));
    let (cursor, through, after) = (Number(4), Number(8), chain(8));
    let pass = Order::Pass { lane: LANE, cursor, through, chain: after };
    assert_eq!(receiver.orders(), [pass]);
    assert_eq!(receiver.run(9, 9), Ok(Admission::Taken));
}

#[test]
fn skips_without_end_overflow_no_counter() {
    let mut receiver = Receiver::open_after(0);
    receiver.hear(1, skip(1, u64::MAX)).expect("a skip");
    for _ in 0..4 {
        assert_eq!(receiver.hear(1, skip(1, u64::MAX)), Ok(Admission::Ignored));
    }
    receiver.inbox.settled(LANE, Number(u64::MAX));
    let acked = receiver.orders().into_iter().any(|order| matches!(order, Order::Ack(_)));
    assert!(acked);
}

#[test]
fn a_refused_run_stops_the_lane_and_an_attempt_that_runs_still_counts() {
    let mut receiver = Receiver::open_after(0);
    receiver.run(1, 3).expect("a run");
    receiver.run(4, 5).expect("a run");
    receiver.orders();
    assert!(receiver.inbox.refuse(LANE, 1));
    assert!(!receiver.inbox.refuse(LANE, 1), "it is no longer open");
    assert_eq!(receiver.run(6, 7), Ok(Admission::Ignored));
    receiver.inbox.settled(LANE, Number(3));
    assert_eq!(receiver.orders(), [ack(3)], "what waited is forgotten");
    receiver.inbox.open_lane(&opening(LANE, 2, 4)).expect("the next opening");
    assert_eq!(receiver.orders(), [Order::Acquire { lane: LANE, first: Number(4) }]);
}

#[test]
fn a_refused_run_of_an_earlier_generation_stops_nothing() {
    let mut receiver = Receiver::new();
    receiver.inbox.open_lane(&opening(LANE, 2, 1)).expect("a first opening");
    receiver.inbox.acquired(LANE, Number(0), None, 0);
    assert!(!receiver.inbox.refuse(LANE, 1));
    assert_eq!(receiver.hear(2, arrival(1, 3)), Ok(Admission::Taken));
}

#[test]
fn a_window_may_be_passed_by_one_frame_and_not_by_a_byte_more() {
    let mut receiver = Receiver::open_after(0);
    let heavy = |first, bytes| Arrival { bytes, ..arrival(first, first) };
    assert_eq!(receiver.hear(1, heavy(1, WINDOW_BYTES)), Ok(Admission::Taken));
    assert_eq!(receiver.hear(1, heavy(2, FRAME_BYTES_MAX)), Ok(Admission::Taken));
    let (max, found) = (WINDOW_BYTES, WINDOW_BYTES + FRAME_BYTES_MAX + 1);
    let refused = receiver.hear(1, heavy(3, 1));
    assert_eq!(refused, Err(Violation::Window { lane: LANE, max, found }));
    receiver.inbox.settled(LANE, Number(1));
    assert_eq!(receiver.hear(1, heavy(3, 1)), Ok(Admission::Taken), "room was given back");
}

#[test]
fn more_lanes_than_allowed_are_refused() {
    let mut receiver = Receiver::new();
    for lane in [LANE, OTHER, LANE] {
        receiver.inbox.open_lane(&opening(lane, 1, 1)).expect("two lanes");
    }
    let refused = receiver.inbox.open_lane(&opening(Lane(3), 1, 1));
    assert_eq!(refused, Err(Violation::TooManyLanes { max: 2 }));
}

#[test]
fn a_lane_keeps_its_target() {
    let mut receiver = Receiver::open_after(0);
    let target = "orders.us".parse().expect("a target id");
    let moved = OpenLane { target, ..opening(LANE, 2, 1) };
    assert_eq!(receiver.inbox.open_lane(&moved), Err(Violation::Target { lane: LANE }));
    let kept = receiver.inbox.target(LANE).map(TargetId::as_str);
    assert_eq!(kept, Some("orders.eu"));
}

#[test]
fn a_closed_inbox_dispatches_nothing_more_and_knows_what_still_runs() {
    let mut receiver = Receiver::open_after(0);
    receiver.inbox.open_lane(&opening(OTHER, 1, 1)).expect("another lane");
    receiver.inbox.acquired(OTHER, Number(0), None, 0);
    receiver.run(1, 3).expect("a run");
    receiver.run(4, 5).expect("a run");
    receiver.orders();
    receiver.inbox.close();
    assert_eq!(receiver.orders(), []);
    assert_eq!(receiver.inbox.attempts().collect::<Vec<_>>(), [LANE]);
    assert_eq!(receiver.inbox.lanes().collect::<Vec<_>>(), [LANE, OTHER]);
    receiver.inbox.settled(LANE, Number(3));
    assert_eq!(receiver.inbox.attempts().next(), None);
    let dispatched = |order: &Order| matches!(order, Order::Dispatch { .. } | Order::Pass { .. });
    assert!(!receiver.orders().iter().any(dispatched));
}
