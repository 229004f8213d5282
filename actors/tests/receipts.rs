//! Proves what whoever waits is told of how packets ended: each its own end, whenever it asks, and
//! nothing that is not known (R4, R8).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use paquebot_actors::receipts::{End, Outcome, Receipts, Waiter};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Chain, Lane, Number};
use paquebot_store::{LaneState, LaneTotals, Tombstone};
use tokio::sync::oneshot;

const LANE: Lane = Lane(1);

fn ask(receipts: &Receipts, first: u64, count: u64) -> oneshot::Receiver<Outcome> {
    let (ended, is_ended) = oneshot::channel();
    receipts.promise(LANE, Number(first), count, Waiter::One(ended));
    is_ended
}

/// How one packet ended, which is told at once.
fn end_of(receipts: &Receipts, number: u64) -> End {
    ask(receipts, number, 1).try_recv().unwrap().of(Number(number))
}

fn bury(receipts: &Receipts, first: u64, last: u64, reason: SkipReason) {
    let (first, last) = (Number(first), Number(last));
    let tombstone = Tombstone { first, last, chain: None, chain_after: Chain(0), reason };
    receipts.buried(&[(LANE, tombstone)]);
}

fn settle(receipts: &Receipts, through: u64, dead: &[u64], skipped: u64) {
    let dead: Vec<Number> = dead.iter().copied().map(Number).collect();
    receipts.settle(LANE, Number(through), &dead, skipped);
}

#[test]
fn whoever_asks_for_an_earlier_packet_later_does_not_wait_for_others() {
    let receipts = Receipts::default();
    let mut late = ask(&receipts, 5, 2);
    let (mut early, mut again) = (ask(&receipts, 1, 3), ask(&receipts, 2, 1));
    settle(&receipts, 3, &[3], 0);
    let heard = early.try_recv().unwrap();
    let ends = [1, 2, 3].map(|number| heard.of(Number(number)));
    assert_eq!(ends, [End::Handled, End::Handled, End::DeadLettered]);
    assert_eq!(again.try_recv().unwrap().of(Number(2)), End::Handled);
    assert!(late.try_recv().is_err());
    // What is told once more, by a server that is connected anew, changes nothing.
    settle(&receipts, 6, &[3, 5], 0);
    let heard = late.try_recv().unwrap();
    assert_eq!([5, 6].map(|n| heard.of(Number(n))), [End::DeadLettered, End::Handled]);
    assert_eq!(end_of(&receipts, 3), End::DeadLettered, "it is known later, too");
}

#[test]
fn the_count_of_what_was_skipped_tells_how_buried_packets_ended() {
    let receipts = Receipts::default();
    bury(&receipts, 2, 3, SkipReason::Expired);
    bury(&receipts, 5, 5, SkipReason::Refused);
    settle(&receipts, 5, &[1], 3);
    let ends = [1, 2, 3, 4, 5].map(|number| end_of(&receipts, number));
    let skipped = End::Skipped(SkipReason::Expired);
    assert_eq!(ends, [End::DeadLettered, skipped, skipped, End::Handled, End::DeadLettered]);
    // They were on their way when they were buried, and came in time.
    bury(&receipts, 6, 7, SkipReason::Evicted);
    settle(&receipts, 8, &[], 3);
    assert_eq!([6, 7, 8].map(|number| end_of(&receipts, number)), [End::Handled; 3]);
    // One of two came in time, but which?
    bury(&receipts, 9, 10, SkipReason::Purged);
    settle(&receipts, 11, &[], 4);
    let ends = [9, 10, 11].map(|number| end_of(&receipts, number));
    assert_eq!(ends, [End::Unknown, End::Unknown, End::Handled]);
    // Tombstones from before this process: nothing says which packets they took.
    settle(&receipts, 13, &[], 5);
    assert_eq!([12, 13].map(|number| end_of(&receipts, number)), [End::Unknown; 2]);
    // Another ledger counts from the beginning.
    bury(&receipts, 14, 14, SkipReason::Expired);
    settle(&receipts, 15, &[], 1);
    assert_eq!([14, 15].map(|number| end_of(&receipts, number)), [End::Unknown, End::Handled]);
}

#[test]
fn of_the_time_before_it_is_known_whether_all_were_handled() {
    let state = |totals| LaneState {
        lane: LANE,
        target: "a".parse().unwrap(),
        acked_through: Number(4),
        next: Number(5),
        pending_packets: 0,
        pending_bytes: 0,
        declared: 0,
        totals,
        skipped: 7,
        retiring: false,
    };
    let receipts = Receipts::default();
    receipts.begin(&[state(LaneTotals::default())]);
    assert_eq!(end_of(&receipts, 4), End::Handled);
    let receipts = Receipts::default();
    receipts.begin(&[state(LaneTotals { expired: 1, ..LaneTotals::default() })]);
    assert_eq!(end_of(&receipts, 4), End::Unknown);
    bury(&receipts, 5, 5, SkipReason::Expired);
    settle(&receipts, 6, &[], 8);
    let ends = [5, 6].map(|number| end_of(&receipts, number));
    assert_eq!(ends, [End::Skipped(SkipReason::Expired), End::Handled]);
}

#[test]
fn a_lane_of_dead_letters_costs_no_more_and_the_oldest_are_forgotten() {
    let receipts = Receipts::default();
    let dead: Vec<u64> = (1..=200_000).step_by(2).collect();
    settle(&receipts, 200_000, &dead, 0);
    assert_eq!([1, 2, 40_000].map(|number| end_of(&receipts, number)), [End::Unknown; 3]);
    let ends = [199_997, 199_998, 199_999].map(|number| end_of(&receipts, number));
    assert_eq!(ends, [End::DeadLettered, End::Handled, End::DeadLettered]);
}

#[test]
fn nobody_is_kept_who_has_gone_away() {
    let receipts = Receipts::default();
    let mut stays = ask(&receipts, 1, 1);
    for _ in 0..10_000 {
        drop(ask(&receipts, 1, 1));
    }
    let kept = format!("{receipts:?}");
    let kept: usize =
        kept.split(" promises").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(kept < 200, "{kept} promises are kept for nobody");
    settle(&receipts, 1, &[], 0);
    assert_eq!(stays.try_recv().unwrap().of(Number(1)), End::Handled);
}
