//! Bugs that the model found, each as the shortest story that shows it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod common;

use common::{Options, Pair};
use paquebot_protocol::frame::{LaneOpened, OpenLane};
use paquebot_protocol::inbox::{self, Arrival, Inbox};
use paquebot_protocol::outbox::{Order, Outbox};
use paquebot_protocol::{Chain, Lane, Millis, Number, PacketId};

const LANE: Lane = Lane(1);

fn open(outbox: &mut Outbox, lane: Lane, generation: u32) {
    let (cursor, window_bytes, dead) = (Number(0), 1_000_000, Vec::new());
    let chain = None;
    let answer = LaneOpened { lane, generation, cursor, chain, window_bytes, dead, skipped: 0 };
    outbox.lane_opened(&answer).expect("a right answer");
}

fn orders(outbox: &mut Outbox, now: u64) -> Vec<Order> {
    std::iter::from_fn(|| outbox.poll(Millis(now))).collect()
}

/// An open lane with 1..=10 stored and 1..=5 in flight.
fn sending() -> Outbox {
    let mut outbox = Outbox::default();
    outbox.connected(1_000_000);
    outbox.stored(LANE, Number(0), Number(10));
    orders(&mut outbox, 0);
    open(&mut outbox, LANE, 1);
    assert!(matches!(outbox.poll(Millis(0)), Some(Order::Send { .. })));
    outbox.sent(LANE, Number(5), 100);
    outbox
}

// A pause that was due by the next poll stalled the lane.
#[test]
fn a_pause_that_is_due_at_once_is_resumed() {
    let mut outbox = sending(); // `sent` gave the lane its next turn: queued.
    outbox.paused(LANE, 1, Millis(0));
    let orders = orders(&mut outbox, 0);
    assert!(matches!(orders[..], [Order::Open { generation: 2, .. }]), "{orders:?}");
}

// The same with any pause, when the socket is full from before the pause until after its end.
#[test]
fn a_pause_that_ends_while_the_socket_is_full_is_resumed() {
    let mut outbox = sending(); // Its next turn waits in `ready`, and the socket is full.
    outbox.paused(LANE, 1, Millis(1_000));
    assert_eq!(outbox.poll_all_but_send(Millis(500)), None);
    let order = outbox.poll_all_but_send(Millis(1_000));
    assert!(matches!(order, Some(Order::Open { generation: 2, .. })), "{order:?}");
}

// Two pauses of one generation left two resumptions; the second closed an open lane.
#[test]
fn a_pause_that_is_said_twice_resumes_once() {
    let mut outbox = sending();
    orders(&mut outbox, 0);
    outbox.paused(LANE, 1, Millis(10));
    outbox.paused(LANE, 1, Millis(20));
    orders(&mut outbox, 10);
    open(&mut outbox, LANE, 2);
    assert!(matches!(outbox.poll(Millis(10)), Some(Order::Send { .. })));
    outbox.sent(LANE, Number(1), 100);
    assert_eq!(orders(&mut outbox, 20), []);
}

// A cursor without a chain was believed on its number alone.
#[test]
fn a_cursor_without_a_chain_drops_nothing_of_another_history() {
    let mut pair = Pair::new(Options::default());
    pair.store(LANE, 3);
    pair.settle();
    let copy = pair.client.spool.clone();
    pair.store(LANE, 2);
    pair.settle();
    pair.forget_lane(LANE);
    pair.store(LANE, 1);
    pair.fail_handler(LANE);
    pair.reconnect();
    pair.run_dry(); // The ledger jumps to 5, without a chain.
    pair.restore_spool(copy);
    pair.store(LANE, 4); // Other packets under 4 to 7.
    pair.settle(); // "(Lane(1), Number(4)) was neither handled nor declared"
}

// One packet had several ids.
#[test]
fn a_packet_id_has_one_text() {
    let spool = "0".repeat(32);
    for text in ["+1-1", "1-+1", "01-1", "1-01", "1-0"] {
        assert!(format!("{spool}-{text}").parse::<PacketId>().is_err(), "{text}");
    }
}

/// An inbox that has ordered an attempt, which nobody has begun.
fn inbox_with_an_order() -> Inbox {
    let mut inbox = Inbox::new(2, 1_000, 100);
    let (lane, generation, first, next) = (LANE, 1, Number(1), Number(9));
    let target = "a".parse().expect("a target id");
    inbox.open_lane(&OpenLane { lane, generation, target, first, next }).expect("an opening");
    inbox.acquired(LANE, Number(0), None, 0);
    let (through, chain_after) = (Number(3), Chain(1));
    let arrival = Arrival { first, through, chain_after, bytes: 10, skipped: false };
    inbox.arrived(LANE, 1, arrival, |_| None).expect("a run");
    inbox
}

// After `close` an outcome still ordered an ack, for a connection that was gone.
#[test]
fn a_closed_inbox_acks_nothing() {
    let mut inbox = inbox_with_an_order();
    inbox.close();
    inbox.settled(LANE, Number(3));
    let order = inbox.poll();
    assert!(!matches!(order, Some(inbox::Order::Ack(_))), "{order:?}");
}

// Packets and the end of the connection in one delivery: the attempt that had been ordered and was
// never begun counted as running, so its session kept the lane's lease for ever.
#[test]
fn a_closed_inbox_waits_for_no_attempt_that_never_began() {
    let mut inbox = inbox_with_an_order();
    inbox.close();
    assert_eq!(inbox.attempts().count(), 0);
}

// Target ids could not be read from formats that do not lend their text.
#[test]
fn a_target_id_is_read_from_an_owned_text() {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StringDeserializer};
    let owned: StringDeserializer<Error> = "orders.eu".to_owned().into_deserializer();
    paquebot_protocol::TargetId::deserialize(owned).expect("a target id");
}

// Bytes after a control frame were swallowed.
#[test]
fn bytes_after_a_control_frame_are_refused() {
    let body = bytes::Bytes::from_static(b"\x81\xa4ping\x01\xff\xff\xff");
    assert!(paquebot_protocol::codec::decode_frame(&body).is_err());
}
