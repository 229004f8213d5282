//! Peers that say anything: whatever a client says to the inbox and a server to the outbox, nothing
//! panics, nothing is acknowledged or dropped that must not be, and limits hold (R3 to R5, R9, R11).
//!
//! The fuzz targets `frame_decoder`, `session` and `connection` run the same drivers for longer.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod drivers {
    pub(crate) mod choices;
    pub(crate) mod connection;
    pub(crate) mod frames;
    pub(crate) mod session;
}

use drivers::{connection, frames, session};
use paquebot_protocol::frame::{Ack, LaneOpened};
use paquebot_protocol::outbox::{Order, Outbox};
use paquebot_protocol::{Chain, Lane, Millis, Number};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// As many cases as usual, times this, or as `PROPTEST_CASES` says; seeds of failures are kept.
fn seeds(times: u32) -> ProptestConfig {
    let file = "tests/hostile_peers.regressions";
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(file)) as Box<_>);
    let usual = ProptestConfig::default();
    ProptestConfig { failure_persistence, cases: usual.cases.saturating_mul(times), ..usual }
}

proptest! {
    #![proptest_config(seeds(64))]

    #[test]
    fn bytes_in_pieces_are_read_as_the_whole_is(bytes in vec(any::<u8>(), 0..300)) {
        frames::drive(&bytes);
    }

    #[test]
    fn no_client_makes_a_server_acknowledge_what_is_not_recorded(
        bytes in vec(any::<u8>(), 0..1_500),
    ) {
        session::drive(&bytes);
    }

    #[test]
    fn no_server_makes_a_client_drop_what_it_did_not_get(bytes in vec(any::<u8>(), 0..1_500)) {
        connection::drive(&bytes);
    }
}

/// Found by the target `connection`.
#[test]
fn an_ack_while_a_cursor_is_being_proved_is_not_forgotten() {
    let (mut outbox, now) = (Outbox::default(), Millis(0));
    let lane = Lane(1);
    outbox.stored(lane, Number::NONE, Number(4));
    outbox.connected(1_000);
    let generation = |order| match order {
        Some(Order::Open { generation, .. }) => generation,
        other => panic!("expected an opening, found {other:?}"),
    };
    let opened = |generation, cursor, chain| LaneOpened {
        lane,
        generation,
        cursor,
        chain,
        window_bytes: 1_000,
        dead: Vec::new(),
        skipped: 0,
    };
    let first = generation(outbox.poll(now));
    outbox.lane_opened(&opened(first, Number::NONE, None)).expect("an answer");
    assert!(matches!(outbox.poll(now), Some(Order::Send { from: Number(1), .. })));
    outbox.sent(lane, Number(3), 100);
    outbox.paused(lane, first, now);
    let second = generation(outbox.poll(now));
    outbox.lane_opened(&opened(second, Number::NONE, Some(Chain(5)))).expect("an answer");
    outbox.acked(&Ack { lane, through: Number(3), skipped: 0 }).expect("it was sent");
    outbox.proven(lane, second);
    let orders: Vec<Order> = std::iter::from_fn(|| outbox.poll(now)).take(2).collect();
    let [Order::Drop { through: Number(3), .. }, Order::Send { from: Number(4), .. }] = orders[..]
    else {
        panic!("expected the drop, then the packet after it, found {orders:?}")
    };
    assert_eq!(outbox.sent_through(lane), Some(Number(3)));
}
