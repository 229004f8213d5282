//! What a client tells of itself: whatever happens to its lanes, the server knows by what it was told what
//! the client would say now, and is told no more than it has to be.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;

use paquebot_protocol::status::{LANES_MAX, LaneBacklog, Status, TEXT_BYTES_MAX, Telling, Told};
use paquebot_protocol::{Lane, Millis};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Later than anything that keeps a status back.
const WHILE: u64 = 30_000;

fn status(lanes: &BTreeMap<u64, (u64, u64)>, now: u64) -> Status {
    let lane = |(lane, (packets, since)): (&u64, &(u64, u64))| LaneBacklog {
        lane: Lane(*lane),
        packets: *packets,
        bytes: packets * 10,
        oldest_age_ms: if *packets == 0 { 0 } else { now.saturating_sub(*since) },
    };
    let lanes: Vec<_> = lanes.iter().map(lane).collect();
    let backlog_packets = lanes.iter().map(|lane| lane.packets).sum();
    Status { clock_ms: now, backlog_packets, lanes, ..Status::default() }
}

proptest! {
    #[test]
    fn the_server_knows_what_the_client_would_say(
        steps in vec(btree_map(0_u64..100, (0_u64..5, 0_u64..5_000), 0..90), 1..12),
    ) {
        let (mut telling, mut told) = (Telling::default(), Told::default());
        let mut now = 1_000_000;
        for lanes in &steps {
            now += WHILE;
            let whole = status(lanes, now);
            let said = telling.tell(Millis(now), whole.clone()).expect("something is always due");
            told.hear(Millis(now), said);
            let mut expected: Vec<_> = whole.lanes.into_iter().filter(|l| l.packets > 0).collect();
            expected.sort_by_key(|lane| (std::cmp::Reverse(lane.packets), lane.lane));
            expected.truncate(LANES_MAX);
            expected.sort_by_key(|lane| lane.lane);
            let known = told.at(Millis(now)).unwrap();
            prop_assert_eq!(known.backlog_packets, whole.backlog_packets);
            // An age may be off by as much as is not worth a word.
            prop_assert_eq!(known.lanes.len(), expected.len());
            for (known, expected) in known.lanes.iter().zip(&expected) {
                prop_assert_eq!((known.lane, known.packets), (expected.lane, expected.packets));
                prop_assert!(known.oldest_age_ms.abs_diff(expected.oldest_age_ms) <= 2_000);
            }
        }
    }
}

#[test]
fn only_what_changed_is_told_and_ages_go_on_by_themselves() {
    let (mut telling, mut told) = (Telling::default(), Told::default());
    let mut lanes: BTreeMap<u64, (u64, u64)> = (1..=3).map(|lane| (lane, (7, 500))).collect();
    let first = telling.tell(Millis(1_000), status(&lanes, 1_000)).unwrap();
    assert!(first.whole && first.lanes.len() == 3, "{first:?}");
    told.hear(Millis(1_000), first);
    assert_eq!(telling.tell(Millis(7_000), status(&lanes, 7_000)), None, "nothing is new");
    let known = told.at(Millis(7_000)).unwrap();
    assert_eq!(known.lanes[0].oldest_age_ms, 6_500);
    lanes.insert(2, (8, 500));
    lanes.remove(&3);
    assert_eq!(telling.tell(Millis(5_900), status(&lanes, 5_900)), None, "it was told just now");
    let next = telling.tell(Millis(8_000), status(&lanes, 8_000)).unwrap();
    let changed: Vec<_> = next.lanes.iter().map(|lane| (lane.lane.0, lane.packets)).collect();
    assert_eq!((next.whole, changed), (false, vec![(2, 8), (3, 0)]));
    told.hear(Millis(8_000), next);
    assert_eq!(told.lanes().collect::<Vec<_>>(), [Lane(1), Lane(2)]);
    let again = telling.tell(Millis(8_000 + WHILE), status(&lanes, 8_000 + WHILE)).unwrap();
    assert_eq!(again.lanes, [], "the clock alone");
}

#[test]
fn what_a_client_can_make_a_server_keep_is_bounded() {
    let mut told = Told::default();
    for lane in 0..10_000 {
        let backlog = LaneBacklog { lane: Lane(lane), packets: 1, bytes: 1, oldest_age_ms: 1 };
        let lanes = vec![backlog; 3];
        let long = Some("é".repeat(1_000));
        told.hear(Millis(lane), Status { lanes, last_error: long, ..Status::default() });
    }
    let known = told.at(Millis(10_000)).unwrap();
    assert_eq!(known.lanes.len(), LANES_MAX);
    assert!(known.last_error.unwrap().len() <= TEXT_BYTES_MAX);
}
