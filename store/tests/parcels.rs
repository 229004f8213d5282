//! Proves what sources rely on: a parcel is stored wholly or not at all, with how far its source has
//! come, through crashes, rotation, failures and damage; and the same key stores nothing twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::{CrashDisk, Plan, SpoolRig, ask, batch, data, options, segment, target, until};
use paquebot_store::{
    AppendError, Disk, Key, Parcel, Part, Position, Reading, SpoolOptions, Stored, SystemClock,
};

const SOURCE: &str = "logs";

fn part(to: &str, data: &[Vec<u8>]) -> Part {
    Part { target: target(to), batch: batch(data), key: None }
}

fn position(at: u64) -> Position {
    Position { source: SOURCE.into(), place: b"a.log".into(), at: Some(at.to_be_bytes().into()) }
}

fn store(
    rig: &SpoolRig,
    parts: Vec<Part>,
    positions: Vec<Position>,
) -> Result<Vec<Stored>, AppendError> {
    let (patience, count) = (None, None);
    ask(|reply| rig.spool.store(Parcel { parts, positions, patience, count, reply }))
}

/// How far the source has come in its one file.
fn come(rig: &SpoolRig) -> u64 {
    let positions = rig.spool.positions(SOURCE);
    let at = positions.first().map(|(_, at)| u64::from_be_bytes(at.as_slice().try_into().unwrap()));
    at.unwrap_or_default()
}

/// Stores round `at`: a packet to each of two targets.
fn round(rig: &SpoolRig, at: u64) -> Result<Vec<Stored>, AppendError> {
    let parts = vec![part("a", &data(at, 1, 700)), part("b", &data(at, 1, 300))];
    store(rig, parts, vec![position(at + 1)])
}

fn next(rig: &SpoolRig, to: &str) -> u64 {
    rig.lane_of(to).map_or(0, |lane| lane.next.0 - 1)
}

#[test]
fn a_parcel_is_answered_part_by_part_and_its_position_is_kept() {
    let rig = SpoolRig::new();
    assert_eq!(come(&rig), 0);
    let stored = round(&rig, 0).unwrap();
    assert_eq!(stored.len(), 2);
    assert_ne!(stored[0].lane, stored[1].lane);
    assert_eq!(come(&rig), 1);
    store(&rig, Vec::new(), vec![position(7)]).unwrap();
    let rig = rig.crash();
    assert_eq!(come(&rig), 7);
    assert!(rig.spool.positions("log").is_empty(), "another source's");
    store(&rig, Vec::new(), vec![Position { at: None, ..position(0) }]).unwrap();
    assert!(rig.crash().spool.positions(SOURCE).is_empty());
}

#[test]
fn a_parcel_that_does_not_fit_leaves_nothing() {
    let max_bytes = 4 << 20;
    let options = SpoolOptions { max_bytes, segment_bytes: 512 << 10, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    round(&rig, 0).unwrap();
    let large = vec![part("a", &data(1, 1, 10)), part("c", &data(0, 5_000, 1_000))];
    let refused = store(&rig, large, vec![position(9)]).unwrap_err();
    assert!(matches!(refused, AppendError::Full { .. } | AppendError::LaneFull { .. }));
    assert_eq!((next(&rig, "a"), next(&rig, "c"), come(&rig)), (1, 0, 1));
}

#[test]
fn one_target_too_many_refuses_the_whole_parcel() {
    let options = SpoolOptions { lanes_max: 2, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    let parts = ["a", "b", "c"].map(|to| part(to, &data(0, 1, 10))).to_vec();
    let refused = store(&rig, parts, vec![position(1)]).unwrap_err();
    assert_eq!(refused, AppendError::LanesFull { max: 2 });
    assert_eq!((rig.spool.lane_states().len(), come(&rig)), (0, 0));
    round(&rig, 0).unwrap();
}

#[test]
fn a_position_that_is_too_long_is_refused() {
    let rig = SpoolRig::new();
    let long = Position { at: Some(vec![0; 9_000]), ..position(0) };
    let refused = store(&rig, Vec::new(), vec![long]).unwrap_err();
    assert!(matches!(refused, AppendError::PositionTooLong { .. }), "{refused:?}");
}

// The position and the packets before it are in one transaction, so no cut can part them.
#[test]
fn a_power_cut_at_any_sync_parts_no_position_from_its_packets() {
    let small = SpoolOptions { segment_bytes: 384 << 10, ..options() };
    let run = |disk: &CrashDisk| {
        let Ok(rig) = SpoolRig::open(disk.clone(), small.clone()) else { return 0 };
        (0..200).take_while(|at| round(&rig, *at).is_ok()).count() as u64
    };
    let whole = CrashDisk::new(7);
    assert_eq!(run(&whole), 200);
    let syncs = whole.syncs();
    for at in (1..=syncs).step_by(7) {
        let disk = CrashDisk::new(at);
        disk.plan(Plan::CutAt(at));
        let told = run(&disk);
        let rig = SpoolRig::open(disk.survivor(), small.clone()).unwrap();
        let come = come(&rig);
        assert!(come >= told, "sync {at}: expected {told} or more, found {come}");
        assert_eq!((next(&rig, "a"), next(&rig, "b")), (come, come), "sync {at}");
    }
}

#[test]
fn positions_and_keys_outlive_rotation_and_a_segment_that_failed() {
    let rig = SpoolRig::new();
    keyed(&rig, 1, b"one").unwrap();
    let mut at = 0;
    while rig.spool.status().segments < 3 {
        let parts = vec![part("a", &data(at, 500, 1_000))];
        at += 500;
        store(&rig, parts, vec![position(at)]).unwrap();
    }
    assert_eq!(come(&rig), at);
    // The reader may be closing a segment, whose sync would be the one that fails.
    rig.disk.plan(Plan::Fail(1, u64::MAX));
    store(&rig, vec![part("a", &data(at, 1, 10))], vec![position(at + 1)]).unwrap_err();
    rig.disk.plan(Plan::Work);
    until("it goes on", || rig.spool.status().failed.is_none());
    assert_eq!(come(&rig), at, "what failed counts");
    let rig = rig.reopen();
    assert_eq!(come(&rig), at);
    assert!(keyed(&rig, 1, b"one").unwrap().again);
}

#[test]
fn when_the_newest_segment_is_lost_the_latest_position_that_is_found_counts() {
    let rig = SpoolRig::new();
    let (mut at, mut before) = (0, 0);
    while rig.spool.status().segments < 3 {
        before = at;
        at += 500;
        store(&rig, vec![part("a", &data(at, 500, 1_000))], vec![position(at)]).unwrap();
    }
    rig.spool.close().unwrap();
    let is_there = |path: &PathBuf| rig.disk.bytes(path).is_some();
    let newest = (1..).map(segment).take_while(is_there).last().unwrap();
    rig.disk.remove(&newest).unwrap();
    let rig = SpoolRig::open(rig.disk.copy(), options()).unwrap();
    let come = come(&rig);
    assert!((before.min(at - 500)..=at).contains(&come), "expected about {at}, found {come}");
}

/// Stores a packet under a key.
fn keyed(rig: &SpoolRig, key: u128, data: &[u8]) -> Result<Stored, AppendError> {
    let content = u64::from_be_bytes(*[data, &[0; 8]].concat().first_chunk().unwrap());
    let key = Some(Key { source: 5, key, content });
    let part = Part { target: target("a"), batch: batch(&[data.to_vec()]), key };
    store(rig, vec![part], Vec::new()).and_then(|all| all[0].checked())
}

#[test]
fn the_same_key_gets_the_first_answer_and_stores_nothing_again() {
    let rig = SpoolRig::new();
    let first = keyed(&rig, 1, b"one").unwrap();
    assert!(!first.again);
    let again = keyed(&rig, 1, b"one").unwrap();
    assert_eq!(again, Stored { again: true, ..first });
    let other = keyed(&rig, 1, b"two").unwrap_err();
    let AppendError::KeyReused { spool, lane, number } = other else { panic!("found {other:?}") };
    assert_eq!((spool, lane, number), (first.spool, first.lane, first.first));
    assert_eq!(keyed(&rig, 2, b"two").unwrap().first.0, 2);
    let rig = rig.crash();
    assert_eq!(keyed(&rig, 1, b"one").unwrap(), Stored { again: true, ..first });
    assert_eq!(next(&rig, "a"), 2);
}

#[test]
fn keys_that_wait_for_one_commit_are_told_apart_too() {
    let rig = SpoolRig::new();
    let part = |data: &[u8]| {
        let key = Some(Key { source: 5, key: 9, content: data.len() as u64 });
        Part { target: target("a"), batch: batch(&[data.to_vec()]), key }
    };
    let stored = store(&rig, vec![part(b"same"), part(b"same")], Vec::new()).unwrap();
    assert_eq!((stored[0].first, stored[0].again), (stored[1].first, false));
    assert!(stored[1].again);
    assert_eq!(next(&rig, "a"), 1);
}

#[test]
fn a_key_that_was_used_for_something_else_keeps_no_other_part_back() {
    let rig = SpoolRig::new();
    let first = keyed(&rig, 1, b"one").unwrap();
    let part = |key: u128, content: u64| {
        let key = Some(Key { source: 5, key, content });
        Part { target: target("a"), batch: batch(&[b"x".to_vec()]), key }
    };
    let stored = store(&rig, vec![part(7, 7), part(1, 1), part(8, 8)], Vec::new()).unwrap();
    assert_eq!(stored[1], Stored { again: true, differs: true, ..first });
    assert_eq!((stored[0].first.0, stored[2].first.0), (2, 3), "in order, and nothing between");
    assert_eq!(next(&rig, "a"), 3);
}

#[test]
fn a_key_is_answered_in_a_full_spool_too() {
    let max_bytes = 4 << 20;
    let options = SpoolOptions { max_bytes, segment_bytes: 512 << 10, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    let data = vec![b'x'; 200_000];
    let mut stored = Vec::new();
    let refused = loop {
        match keyed(&rig, stored.len() as u128, &data) {
            Ok(one) => stored.push(one),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full { .. }), "{refused:?}");
    for (key, first) in stored.iter().enumerate() {
        let again = keyed(&rig, key as u128, &data).unwrap();
        assert_eq!(again, Stored { again: true, ..*first });
    }
}

#[test]
fn a_key_is_forgotten_after_a_day_and_after_many_others() {
    let reading = Reading { boot: 1, since_boot_ms: 5_000, wall_ms: 1_800_000_000_000 };
    let hands = Arc::new(Mutex::new(reading));
    let shown = Arc::clone(&hands);
    let clock = SystemClock(Arc::new(move || *shown.lock().unwrap()));
    // So small that its share takes only a few keys.
    let options = SpoolOptions { clock, max_bytes: 4 << 20, segment_bytes: 512 << 10, ..options() };
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    keyed(&rig, 1, b"one").unwrap();
    let pass = |hours: u64| {
        let mut reading = hands.lock().unwrap();
        reading.since_boot_ms += hours * 3_600_000;
        reading.wall_ms += hours * 3_600_000;
    };
    pass(23);
    assert!(keyed(&rig, 1, b"one").unwrap().again);
    pass(2);
    keyed(&rig, 2, b"two").unwrap();
    assert!(!keyed(&rig, 1, b"one").unwrap().again, "remembered for more than a day");
    let many = (4 << 20) / 16 / 160 + 1;
    for key in 0..many {
        keyed(&rig, 100 + key, b"many").unwrap();
    }
    assert!(!keyed(&rig, 2, b"two").unwrap().again, "remembered beyond the spool's share");
    assert!(keyed(&rig, 100 + many - 1, b"many").unwrap().again);
    let rig = rig.crash();
    assert!(keyed(&rig, 100 + many - 1, b"many").unwrap().again);
    assert!(!keyed(&rig, 3, b"three").unwrap().again);
}
