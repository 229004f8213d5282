//! What a server can never take: the sender believes it of what it sent and no more, ends what is final
//! and tries the rest again, and the lane goes on in order (R3, R5, R8).
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod common;

use common::sender::{LANE, NOW, OTHER, Sender, ack, open};
use common::{Options, Pair};
use paquebot_protocol::frame::{RefuseRun, RefuseRunCode};
use paquebot_protocol::outbox::{Refusal, Violation};
use paquebot_protocol::{Millis, Number};

/// A sender that has sent packets 1 to 8, of which 1 and 2 are acked.
fn sent() -> Sender {
    let mut sender = Sender::with(&[LANE]);
    sender.orders();
    sender.open(LANE, 1);
    sender.orders();
    sender.outbox.sent(LANE, Number(8), 100);
    sender.outbox.acked(&ack(LANE, Number(2))).expect("an ack of what was sent");
    sender.orders();
    sender
}

fn refused(generation: u32, first: u64, through: u64, code: RefuseRunCode) -> RefuseRun {
    let (first, through) = (Number(first), Number(through));
    RefuseRun { lane: LANE, generation, first, through, code }
}

#[test]
fn only_what_was_sent_and_has_no_outcome_can_be_refused_for_good() {
    let code = RefuseRunCode::TooLarge;
    let refusal = |first, through| sent().outbox.refused(&refused(1, first, through, code));
    assert_eq!(refusal(4, 5), Ok(Refusal::Final(Number(4)..=Number(5))));
    assert_eq!(refusal(1, 3), Ok(Refusal::Final(Number(3)..=Number(3))), "two are acked");
    assert_eq!(refusal(1, 2), Ok(Refusal::Over));
    assert_eq!(sent().outbox.refused(&refused(7, 4, 5, code)), Ok(Refusal::Over));
    let unsent = |first, through| Violation::RefusedUnsent {
        lane: LANE,
        sent: Number(8),
        first: Number(first),
        through: Number(through),
    };
    for (first, through) in [(4, 9), (9, 9), (0, 4), (5, 4), (1, u64::MAX)] {
        assert_eq!(refusal(first, through), Err(unsent(first, through)));
    }
    let other = RefuseRun { lane: OTHER, ..refused(1, 4, 5, code) };
    assert_eq!(sent().outbox.refused(&other), Err(Violation::UnknownLane { lane: OTHER }));
}

#[test]
fn what_may_change_is_held_and_what_is_unreadable_is_tried_again() {
    for code in [RefuseRunCode::Forbidden, RefuseRunCode::Unknown] {
        let mut sender = sent();
        for _ in 0..100 {
            let refusal = sender.outbox.refused(&refused(1, 3, 8, code));
            assert_eq!(refusal, Ok(Refusal::Held), "{code:?}");
        }
    }
    let code = RefuseRunCode::Undecodable;
    let mut sender = sent();
    let mut times = |first| sender.outbox.refused(&refused(1, first, 8, code));
    assert_eq!(times(3), Ok(Refusal::Held));
    assert_eq!(times(3), Ok(Refusal::Held));
    assert_eq!(times(4), Ok(Refusal::Held), "another one");
    assert_eq!(times(4), Ok(Refusal::Held));
    assert_eq!(times(4), Ok(Refusal::Final(Number(4)..=Number(8))));
}

#[test]
fn a_lane_that_is_resumed_is_opened_at_once_and_not_again_when_its_pause_is_over() {
    let mut sender = sent();
    sender.outbox.paused(LANE, 1, Millis(1_000));
    assert_eq!(sender.orders(), []);
    sender.outbox.resume(LANE);
    assert_eq!(sender.order(), open(LANE, 2, 3));
    assert_eq!(sender.outbox.deadline(), None);
    sender.outbox.resume(LANE);
    assert_eq!(sender.outbox.poll(NOW), None, "it is not paused any more");
}

#[test]
fn a_packet_that_is_too_long_is_declared_in_its_place_and_the_lane_goes_on_at_once() {
    let mut pair = Pair::new(Options::default());
    pair.refuse_packet(LANE);
    pair.store(LANE, 3);
    pair.store(OTHER, 1);
    pair.store(LANE, 2);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2, 5, 6], "without the third, which nobody waits for");
    assert_eq!(pair.handled(OTHER), [4]);
    let lane = &pair.client.spool.lanes[&LANE];
    assert_eq!(lane.totals.handled, 4);
    assert_eq!(lane.totals.gone.iter().sum::<u64>(), 1);
    pair.settle();
}

#[test]
fn a_run_that_is_refused_again_and_again_as_unreadable_does_not_hold_its_lane_for_ever() {
    let mut pair = Pair::new(Options::default());
    pair.store(LANE, 2);
    for time in 1..=3 {
        pair.refuse_run(LANE);
        pair.wait(Millis(300_000));
        pair.run_dry();
        let declared = if time == 3 { 1 } else { 0 };
        let lane = &pair.client.spool.lanes[&LANE];
        assert_eq!(lane.totals.gone.iter().sum::<u64>(), declared, "at the {time}. time");
    }
    pair.settle();
    assert_eq!(pair.handled(LANE), [2], "it came alone after a pause, and so was declared alone");
}
