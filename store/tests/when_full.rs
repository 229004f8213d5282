//! Proves what happens when there is no room: whose share is used up, who waits, and what makes way,
//! declared (R5, R8, R9).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::cell::RefCell;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{CrashDisk, SpoolRig, batch, data, options, target, until};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{
    Append, AppendError, FullOf, LanePolicy, Parcel, Part, Patience, Policies, SpoolOptions,
    SpoolRoom, Stored, Stretch, WhenFull,
};

const MAX_BYTES: u64 = 32 << 20;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<Vec<Stored>, AppendError>;

/// A packet that fills its page.
const PACKET_BYTES: usize = 15_800;

/// A small spool whose targets are kept as the first word of their id says.
fn rig() -> SpoolRig {
    let policy = |word: &str| match word {
        "block" => LanePolicy { when_full: WhenFull::Block, max_bytes: None },
        "drop" => LanePolicy { when_full: WhenFull::DropOldest, max_bytes: None },
        "little" => LanePolicy { when_full: WhenFull::DropOldest, max_bytes: Some(256 << 10) },
        "bounded" => LanePolicy { when_full: WhenFull::Reject, max_bytes: Some(256 << 10) },
        _ => LanePolicy::default(),
    };
    let of = move |target: &paquebot_protocol::TargetId| {
        policy(target.as_str().split('.').next().unwrap_or_default())
    };
    let options = SpoolOptions {
        max_bytes: MAX_BYTES,
        segment_bytes: 2 << 20,
        drop_after: Duration::from_millis(1),
        policies: Policies(Arc::new(of)),
        ..options()
    };
    SpoolRig::open(CrashDisk::new(1), options).unwrap()
}

/// Stores packets until one is refused; how many, and why.
fn fill(rig: &SpoolRig, to: &str) -> (u64, AppendError) {
    for stored in 0.. {
        if let Err(error) = rig.append(to, &data(stored, 1, PACKET_BYTES)) {
            return (stored, error);
        }
    }
    unreachable!("a spool is full at some time")
}

#[test]
fn one_lane_cannot_take_the_room_of_the_others() {
    let rig = rig();
    let (_, error) = fill(&rig, "greedy");
    assert!(matches!(error, AppendError::Full { .. }), "{error}");
    for small in 0..10 {
        rig.append(&format!("modest.{small}"), &data(0, 4, PACKET_BYTES)).unwrap();
    }
    assert!(rig.append("greedy", &data(0, 1, PACKET_BYTES)).is_err());
    assert!(rig.disk_bytes() <= MAX_BYTES);
}

#[test]
fn while_others_hold_packets_a_lane_has_half() {
    let rig = rig();
    rig.append("modest", &data(0, 1, 10)).unwrap();
    let (packets, error) = fill(&rig, "greedy");
    let AppendError::LaneFull { used_bytes, share_bytes } = error else { panic!("{error}") };
    assert_eq!(share_bytes, MAX_BYTES / 2);
    assert!(used_bytes <= share_bytes && used_bytes > share_bytes - 20_000, "{packets}");
}

#[test]
fn a_lane_has_the_share_that_its_policy_says() {
    let rig = rig();
    let (packets, error) = fill(&rig, "bounded.1");
    assert!(matches!(error, AppendError::LaneFull { share_bytes: 262_144, .. }), "{error}");
    assert!((14..=16).contains(&packets), "{packets}");
    rig.append("bounded.2", &data(0, 10, PACKET_BYTES)).unwrap();
}

#[test]
fn the_oldest_make_way_and_are_declared() {
    let rig = rig();
    for at in 0..5_000 {
        rig.append("drop.1", &data(at, 1, PACKET_BYTES)).unwrap();
        assert!(rig.disk_bytes() <= MAX_BYTES, "after {at}");
    }
    let lane = rig.lane(Lane(1));
    assert!(lane.totals.evicted > 2_000, "{lane:?}");
    assert_eq!(lane.totals.evicted + lane.pending_packets, 5_000);
    let numbers = rig.numbers(Lane(1), 1);
    let (gone, held): (Vec<_>, Vec<_>) = numbers.iter().partition(|(_, data)| data.is_none());
    assert_eq!(gone.last().unwrap().0, lane.totals.evicted, "the oldest, in one stretch");
    assert_eq!(held.last().unwrap().1.as_ref().unwrap()[..4], *b"5000");
    let stretches = rig.stretches(Lane(1), 1, 1).unwrap();
    assert!(matches!(stretches[0], Stretch::Tombstone(gone) if gone.first == Number(1)));
    let rig = rig.crash();
    assert_eq!(rig.numbers(Lane(1), 1), numbers);
}

#[test]
fn nothing_makes_way_whose_policy_does_not_say_so() {
    let rig = rig();
    let kept = rig.append("keep", &data(0, 100, PACKET_BYTES)).unwrap();
    for at in 0..4_000 {
        // When the rest is not enough, it is refused.
        drop(rig.append("drop.1", &data(at, 1, PACKET_BYTES)));
    }
    assert_eq!(rig.packets(kept.lane, 1).len(), 100);
    assert!(rig.lane(Lane(2)).totals.evicted > 1_000);
}

#[test]
fn a_lane_that_is_over_its_own_share_makes_way_for_itself_alone() {
    let rig = rig();
    rig.append("drop.1", &data(0, 100, PACKET_BYTES)).unwrap();
    for at in 0..200 {
        rig.append("little.1", &data(at, 1, PACKET_BYTES)).unwrap();
    }
    assert_eq!(rig.lane(Lane(1)).totals.evicted, 0);
    let little = rig.lane(Lane(2));
    assert!(little.pending_bytes <= 256 << 10, "{little:?}");
    assert!(little.pending_packets >= 12, "no more goes than has to: {little:?}");
}

#[test]
fn who_may_wait_waits_for_room_and_keeps_the_order() {
    let rig = rig();
    let (full, error) = fill(&rig, "keep");
    assert!(matches!(error, AppendError::Full { .. }), "{error}");
    // What is left to others is used up first.
    let (answer, answered) = mpsc::channel::<Result<Stored, AppendError>>();
    let mut asked = 0;
    while rig.lane_of("block.1").is_none_or(|lane| lane.pending_packets == asked) {
        let (answer, target) = (answer.clone(), target("block.1"));
        let reply = Box::new(move |stored| drop(answer.send(stored)));
        rig.spool.append(Append { target, batch: batch(&data(asked, 1, PACKET_BYTES)), reply });
        asked += 1;
        rig.append("carrier", &data(0, 1, 1)).ok();
    }
    let stored = answered.try_iter().count() as u64;
    assert!(stored < asked, "somebody waits");
    rig.spool.drop_through(Lane(1), Number(full), 0, 0);
    until("all have room", || {
        rig.append("carrier", &data(0, 1, 1)).ok();
        rig.lane_of("block.1").is_some_and(|lane| lane.pending_packets == asked)
    });
    for answer in answered.try_iter() {
        assert!(answer.is_ok());
    }
    let lane = rig.lane_of("block.1").unwrap().lane;
    let order: Vec<_> =
        rig.packets(lane, 1).into_iter().map(|(_, data)| data[0..3].to_vec()).collect();
    let expected: Vec<_> =
        data(0, asked, PACKET_BYTES).into_iter().map(|data| data[0..3].to_vec()).collect();
    assert_eq!(order, expected);
}

/// Asks for a packet to be stored, by somebody with patience.
fn ask(rig: &SpoolRig, bytes: usize, patience: &Patience) -> mpsc::Receiver<Answer> {
    let (answer, answered) = mpsc::channel();
    let parts =
        vec![Part { target: target("block.1"), batch: batch(&[vec![b'x'; bytes]]), key: None }];
    let reply = Box::new(move |stored| drop(answer.send(stored)));
    let patience = Some(patience.clone());
    let (positions, count) = (Vec::new(), None);
    rig.spool.store(Parcel { parts, positions, patience, count, reply });
    answered
}

/// A spool in which packets that may wait for room do so; gives how many hold the room.
fn full() -> (SpoolRig, u64) {
    let rig = rig();
    let (held, _) = fill(&rig, "keep");
    // What is left to others is used up, too.
    fill(&rig, "other");
    (rig, held)
}

#[test]
fn whose_patience_runs_out_hears_what_is_in_the_way_and_nothing_is_stored_later() {
    let (rig, held) = full();
    let (patience, other) = (Patience::default(), Patience::default());
    let (large, small) = (ask(&rig, 900_000, &patience), ask(&rig, 10, &other));
    patience.run_out();
    rig.spool.hurry();
    let refused = large.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(matches!(refused, AppendError::Full { .. } | AppendError::LaneFull { .. }));
    // Whoever comes later with no patience left does not begin to wait.
    assert!(ask(&rig, 900_000, &patience).recv_timeout(PATIENCE).unwrap().is_err());
    rig.spool.drop_through(Lane(1), Number(held), 0, 0);
    let stored = small.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(stored[0].first, Number(1), "the first that is stored there");
    // The files go a moment after what was in them.
    let stored = RefCell::new(None);
    until("there is room", || {
        let answer = ask(&rig, 900_000, &patience).recv_timeout(PATIENCE).unwrap();
        *stored.borrow_mut() = answer.ok();
        stored.borrow().is_some()
    });
    let stored = stored.into_inner().unwrap();
    assert_eq!(stored[0].first, Number(2), "where there is room, no patience is needed");
}

#[test]
fn nothing_is_stored_for_whoever_has_left() {
    let (rig, held) = full();
    let (gone, late) = (Patience::default(), Patience::default());
    let waiting = ask(&rig, 900_000, &gone);
    gone.leave();
    rig.spool.hurry();
    assert!(waiting.recv_timeout(PATIENCE).unwrap().is_err());
    rig.spool.drop_through(Lane(1), Number(held), 0, 0);
    assert_eq!(ask(&rig, 10, &gone).recv_timeout(PATIENCE).unwrap(), Err(AppendError::Abandoned));
    let stored = ask(&rig, 10, &late).recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(stored[0].first, Number(1));
}

#[test]
fn whoever_stands_behind_one_that_leaves_has_room_at_once() {
    let (rig, _) = full();
    let (large, small) = (Patience::default(), Patience::default());
    // So much that it finds no room where a small one does.
    let (first, second) = (ask(&rig, 4_000_000, &large), ask(&rig, 10, &small));
    rig.append("carrier", &data(0, 1, 1)).ok();
    let nobody = second.try_recv();
    assert!(nobody.is_err(), "it does not overtake: {nobody:?}");
    large.leave();
    rig.spool.hurry();
    assert!(first.recv_timeout(PATIENCE).unwrap().is_err());
    second.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn who_waits_for_room_is_answered_when_the_spool_closes() {
    let rig = rig();
    fill(&rig, "keep");
    let (answer, answered) = mpsc::channel::<Result<Stored, AppendError>>();
    for at in 0..400 {
        let (answer, target) = (answer.clone(), target("block.1"));
        let reply = Box::new(move |stored| drop(answer.send(stored)));
        rig.spool.append(Append { target, batch: batch(&data(at, 1, PACKET_BYTES)), reply });
    }
    drop(answer);
    rig.spool.close().unwrap();
    let answers: Vec<_> = answered.iter().collect();
    assert_eq!(answers.len(), 400);
    assert!(answers.iter().any(|answer| matches!(answer, Err(AppendError::Closed))));
}

/// Packets that make way, of sizes as they come in a fleet, in spools of the default segments.
#[test]
fn where_all_may_go_none_is_refused_whatever_its_size() {
    let all = |_: &paquebot_protocol::TargetId| LanePolicy {
        when_full: WhenFull::DropOldest,
        max_bytes: None,
    };
    for (max_bytes, rounds) in [(16_u64 << 20, 60), (64 << 20, 120)] {
        for sizes in
            [[900_000, 900_000, 900_000], [900_000, 2_000, 300_000], [1_000_000, 70_000, 10]]
        {
            let options = SpoolOptions {
                drop_after: Duration::from_millis(1),
                policies: Policies(Arc::new(all)),
                ..SpoolOptions::new(options().dir, max_bytes, 100)
            };
            let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
            for round in 0..rounds {
                for (at, size) in sizes.into_iter().enumerate() {
                    let stored = rig.append(&format!("drop.{at}"), &data(round, 1, size));
                    assert!(stored.is_ok(), "{max_bytes} of {sizes:?}, round {round}: {stored:?}");
                }
            }
            assert!(rig.disk_bytes() <= max_bytes, "{}", rig.disk_bytes());
            let ended =
                |lane: &paquebot_store::LaneState| lane.totals.evicted + lane.pending_packets;
            assert!(rig.spool.lane_states().iter().all(|lane| ended(lane) == rounds));
        }
    }
}

/// Others' packets lie between those that may go: room is made all the same.
#[test]
fn others_packets_in_between_do_not_keep_room_from_those_that_make_it() {
    let rig = rig();
    for at in 0..3_000 {
        if at % 40 == 0 {
            rig.append("keep", &data(at, 1, 1_000)).unwrap();
        }
        let stored = rig.append("drop.1", &data(at, 1, PACKET_BYTES));
        assert!(stored.is_ok(), "packet {at}: {stored:?}");
        assert!(rig.disk_bytes() <= MAX_BYTES, "after {at}");
    }
    assert_eq!(rig.lane(Lane(1)).pending_packets, 75, "nothing of theirs has gone");
    let lane = rig.lane(Lane(2));
    assert_eq!(lane.totals.evicted + lane.pending_packets, 3_000);
}

#[test]
fn a_parcel_for_several_targets_makes_way_as_one_packet_does() {
    let rig = rig();
    for round in 0..300 {
        let parts = (0..4).map(|at| Part {
            target: target(&format!("drop.{at}")),
            batch: batch(&data(round, 1, 100_000)),
            key: None,
        });
        let (parts, positions, count) = (parts.collect(), Vec::new(), None);
        let patience = None;
        let stored = common::ask(|reply| {
            rig.spool.store(Parcel { parts, positions, patience, count, reply });
        });
        assert!(stored.is_ok(), "round {round}: {stored:?}");
    }
}

#[test]
fn that_it_is_full_is_remembered_until_there_is_room() {
    let rig = rig();
    assert_eq!(rig.spool.status().full, None);
    let (packets, _) = fill(&rig, "greedy");
    let full = rig.spool.status().full.unwrap();
    assert_eq!((full.of, full.refused), (FullOf::Spool, 1));
    assert!(rig.append("greedy", &data(0, 3, PACKET_BYTES)).is_err());
    assert_eq!(rig.spool.status().full.unwrap().refused, 4);
    let room = measure(&rig);
    assert_eq!((room.left_bytes, room.fill_ratio()), (0, 1.0));
    assert!(rig.spool.status().full.is_some(), "nobody asks for room, and there is none");
    rig.spool.drop_through(Lane(1), Number(packets), 0, 0);
    until("there is room", || {
        measure(&rig);
        rig.spool.status().full.is_none()
    });
    assert!(measure(&rig).left_bytes > MAX_BYTES / 2);
}

#[test]
fn what_is_said_to_be_left_is_what_is_taken() {
    for size in [900_000, PACKET_BYTES] {
        let rig = rig();
        for at in 0..4 {
            rig.append("some", &data(at, 1, size)).unwrap();
        }
        let left = measure(&rig).left_bytes as usize / size;
        let more = (0..).take_while(|at| rig.append("some", &data(*at, 1, size)).is_ok()).count();
        assert!(
            more.abs_diff(left) <= 2 + more / 5,
            "{left} of {size} bytes, but {more} were taken"
        );
        assert_eq!(measure(&rig).left_bytes, 0);
    }
}

#[test]
fn a_target_that_has_used_up_its_share_is_named() {
    let rig = rig();
    fill(&rig, "bounded.1");
    let full = rig.spool.status().full.unwrap();
    assert_eq!(full.of, FullOf::Target(target("bounded.1")));
    rig.spool.drop_through(Lane(1), Number(5), 0, 0);
    rig.append("carrier", &data(0, 1, 1)).unwrap();
    rig.append("bounded.1", &data(0, 1, PACKET_BYTES)).unwrap();
    assert_eq!(rig.spool.status().full, None, "what was refused is taken");
}

fn measure(rig: &SpoolRig) -> SpoolRoom {
    let (answer, answered) = mpsc::channel();
    rig.spool.measure(Box::new(move |room| _ = answer.send(room)));
    answered.recv().unwrap()
}
