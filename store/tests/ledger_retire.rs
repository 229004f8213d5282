//! Proves the server's half of R6: a retired lane has no row any more and cannot come back, by word of
//! its spool's latest opening alone, and what became of its packets stays known.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, LedgerRig, Plan, ask, fence, key, letter, mark};
use paquebot_protocol::{Lane, LaneKey, Number};
use paquebot_store::{CursorAt, Fence, LedgerError, RecordError, Tried};

fn retire(rig: &LedgerRig, fence: Fence, lane: u64) -> Result<(), RecordError> {
    ask(|reply| rig.ledger.retire(fence, Lane(lane), reply))
}

fn cursor(rig: &LedgerRig, key: LaneKey, first: u64) -> Result<CursorAt, LedgerError> {
    ask(|reply| rig.ledger.cursor(key, Number(first), reply))
}

fn is_retired(rig: &LedgerRig, key: LaneKey) -> bool {
    cursor(rig, key, 1) == Err(LedgerError::Retired { key })
}

/// A ledger in which each of these lanes has come to 5.
fn with_lanes(disk: CrashDisk, fence: Fence, lanes: impl IntoIterator<Item = u64>) -> LedgerRig {
    let rig = LedgerRig::open(disk).unwrap();
    rig.admit(fence).unwrap();
    rig.record(lanes.into_iter().map(|lane| mark(fence, lane, 0, 5)).collect(), vec![]).unwrap();
    rig
}

#[test]
fn a_retired_lane_is_not_looked_up_and_not_recorded_any_more() {
    let fence = fence(1, 1, 1);
    let rig = with_lanes(CrashDisk::new(1), fence, 1..=3);
    retire(&rig, fence, 2).unwrap();
    for rig in [rig.crash()] {
        assert!(is_retired(&rig, key(fence, 2)));
        assert!(cursor(&rig, key(fence, 2), 9).is_err(), "nor does it jump");
        let refused = RecordError::Retired { key: key(fence, 2) };
        assert_eq!(rig.record(vec![mark(fence, 2, 0, 1)], vec![]), Err(refused.clone()));
        let tried =
            Tried { number: Number(1), attempts: 1, first_attempt_ms: 1, last_attempt_ms: 1 };
        let noted = ask(|reply| rig.ledger.tried(fence, Lane(2), tried, reply));
        assert_eq!(noted, Err(refused));
        for lane in [1, 3] {
            assert_eq!(cursor(&rig, key(fence, lane), 1).unwrap().cursor, Number(5));
        }
    }
}

#[test]
fn only_the_latest_opening_retires_a_lane_and_only_its_own_spools() {
    let (old, new, other) = (fence(1, 1, 1), fence(1, 2, 7), fence(2, 1, 1));
    let rig = with_lanes(CrashDisk::new(1), old, [1]);
    rig.admit(other).unwrap();
    rig.admit(new).unwrap();
    assert_eq!(retire(&rig, old, 1), Err(RecordError::Fenced { spool: old.spool }));
    retire(&rig, other, 1).unwrap();
    assert_eq!(cursor(&rig, key(new, 1), 1).unwrap().cursor, Number(5));
    retire(&rig, new, 1).unwrap();
    assert!(is_retired(&rig, key(new, 1)));
    assert!(!is_retired(&rig, key(other, 1)), "nothing of it was ever recorded");
}

#[test]
fn what_was_tried_of_a_retired_lane_goes_and_its_dead_letters_stay() {
    let fence = fence(1, 1, 1);
    let rig = LedgerRig::new();
    rig.admit(fence).unwrap();
    let dead = vec![letter(fence, 1, 3)];
    rig.record(vec![mark(fence, 1, 0, 5), mark(fence, 2, 0, 5)], dead.clone()).unwrap();
    let tried = Tried { number: Number(6), attempts: 4, first_attempt_ms: 1, last_attempt_ms: 2 };
    ask(|reply| rig.ledger.tried(fence, Lane(2), tried, reply)).unwrap();
    retire(&rig, fence, 1).unwrap();
    retire(&rig, fence, 2).unwrap();
    let totals = |rig: &LedgerRig| rig.opened.totals.clone();
    let rig = rig.reopen();
    assert_eq!(rig.dead_letters(), dead, "it was settled, and is");
    assert_eq!((totals(&rig)[0].1.handled, totals(&rig)[0].1.dead_lettered), (10, 1));
    let rig = rig.crash();
    assert_eq!(rig.dead_letters(), dead);
    assert_eq!(rig.discard(&[dead[0].id]), 1);
}

#[test]
fn retired_lanes_survive_restarts_healing_and_a_backup() {
    let fence = fence(1, 1, 1);
    // In an order that makes stretches begin, grow on both sides, and meet.
    let order = [5, 1, 3, 2, 9, 10, 8, 6, 12];
    let rig = with_lanes(CrashDisk::new(1), fence, 1..=12);
    for lane in order {
        retire(&rig, fence, lane).unwrap();
        retire(&rig, fence, lane).unwrap();
    }
    let retired = |rig: &LedgerRig| {
        let is = |lane: &u64| is_retired(rig, key(fence, *lane));
        (1..=13).filter(is).collect::<Vec<u64>>()
    };
    let wanted = [1, 2, 3, 5, 6, 8, 9, 10, 12];
    assert_eq!(retired(&rig), wanted);
    let rig = rig.reopen();
    assert_eq!(retired(&rig), wanted);
    rig.disk.plan(Plan::Fail(1, 1));
    assert!(rig.record(vec![mark(fence, 4, 5, 6)], vec![]).is_err());
    rig.until_it_works();
    assert_eq!(retired(&rig), wanted, "it was written anew");
    let path = LedgerRig::dir().join("copy.redb");
    ask(|reply| rig.ledger.back_up(path.clone(), reply)).unwrap();
    let copy = rig.disk.bytes(&path).unwrap();
    rig.ledger.close().unwrap();
    rig.disk.put(&LedgerRig::dir().join("ledger.redb"), copy);
    assert_eq!(retired(&LedgerRig::open(rig.disk).unwrap()), wanted);
}

#[test]
fn whenever_the_power_goes_a_lane_is_as_it_was_or_retired() {
    let fence = fence(1, 1, 1);
    let lanes = [4, 2, 3, 1, 6];
    let work = |disk: &CrashDisk| {
        let rig = with_lanes(disk.clone(), fence, 1..=6);
        let told = lanes.into_iter().take_while(|lane| retire(&rig, fence, *lane).is_ok());
        told.collect::<Vec<u64>>()
    };
    let disk = CrashDisk::new(1);
    let rig = with_lanes(disk.clone(), fence, 1..=6);
    let before = disk.syncs();
    drop(rig);
    let disk = CrashDisk::new(1);
    assert_eq!(work(&disk), lanes);
    let syncs = disk.syncs();
    assert!(syncs >= before + 5, "{before} to {syncs} syncs: too tame");
    for at in before + 1..=syncs {
        let disk = CrashDisk::new(at);
        disk.plan(Plan::CutAt(at));
        let told = work(&disk);
        let rig = LedgerRig::open(disk.survivor()).unwrap();
        for lane in 1..=6 {
            let found = cursor(&rig, key(fence, lane), 1);
            let retired = is_retired(&rig, key(fence, lane));
            assert!(retired || found.is_ok_and(|found| found.cursor == Number(5)), "{lane}");
            assert!(retired || !told.contains(&lane), "cut at sync {at}: lane {lane} came back");
            assert!(!retired || lanes.contains(&lane), "cut at sync {at}: lane {lane}");
        }
    }
}
