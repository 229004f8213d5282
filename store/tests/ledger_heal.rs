//! Proves R10 for the ledger: whichever write, sync or growth of a file fails, and whenever the disk
//! fills up, everybody who waits is told, the ledger goes on by itself, everything that was answered
//! "recorded" is there, and nothing else is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{CrashDisk, Deed, LedgerRig, Plan, fence, key, letter, mark, until};
use paquebot_protocol::Number;
use paquebot_store::{Admitted, LedgerEvent, RecordError};

const BLOCK: usize = 4096;

/// What was answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    cursors: BTreeMap<u64, u64>,
    dead: BTreeMap<u64, Vec<u64>>,
    refused: usize,
}

/// Records to two lanes, with a dead letter in every third record; what fails is tried again.
fn work(rig: &LedgerRig) -> Told {
    let mut told = Told::default();
    let fence = fence(7, 1, 1);
    until("it is admitted", || {
        let done = rig.admit(fence);
        assert_ne!(done, Ok(Admitted::Rekey), "an opening that was refused has come back");
        done.is_ok()
    });
    for round in 0..12 {
        let lane = round % 2 + 1;
        let from = told.cursors.get(&lane).copied().unwrap_or(0);
        let dead = if round % 3 == 0 { vec![from + 2] } else { vec![] };
        let mut tries = 0;
        loop {
            let letters = dead.iter().map(|number| letter(fence, lane, *number)).collect();
            let done = rig.record(vec![mark(fence, lane, from, from + 5)], letters);
            if let Err(RecordError::Moved { .. } | RecordError::Fenced { .. }) = done {
                panic!("a record that failed has come back: {done:?}");
            }
            if done.is_ok() {
                break;
            }
            (told.refused, tries) = (told.refused + 1, tries + 1);
            assert!(tries < 100, "it does not go on: {done:?}");
            rig.until_it_works();
            // Nothing of it is there, now that the ledger works again.
            let found = common::ask(|reply| {
                rig.ledger.cursor(key(fence, lane), Number(1), reply);
            });
            if let Ok(found) = found {
                assert_eq!(found.cursor, Number(from));
            }
        }
        told.cursors.insert(lane, from + 5);
        told.dead.entry(lane).or_default().extend(dead);
    }
    told
}

fn check(rig: &LedgerRig, told: &Told, what: &str) {
    let fence = fence(7, 1, 1);
    let mut letters = 0;
    for (lane, cursor) in &told.cursors {
        let found = rig.cursor(key(fence, *lane), 1);
        assert_eq!(found.cursor, Number(*cursor), "{what}");
        assert_eq!(found.chain, Some(mark(fence, *lane, 0, *cursor).chain), "{what}");
        let dead: Vec<_> = told.dead[lane].iter().map(|number| Number(*number)).collect();
        assert_eq!(found.dead, dead, "{what}");
        letters += dead.len();
    }
    assert_eq!(rig.dead_letters().len(), letters, "{what}");
    assert_eq!(rig.ledger.status().dead_letters, letters as u64, "{what}");
}

#[test]
fn it_goes_on_after_every_deed_that_fails() {
    let rig = LedgerRig::new();
    work(&rig);
    let mut bad = Vec::new();
    for deed in [Deed::Write, Deed::Sync, Deed::Len] {
        let deeds = rig.disk.deeds(deed);
        assert!(deeds > 3, "{deeds} of {deed:?}: too tame a workload");
        println!("{deed:?}: each of {deeds} fails, alone, and with one and with four after it");
        bad.extend((1..=deeds).flat_map(|at| [1, 2, 5].map(|count| (deed, at, count))));
    }
    // Side by side, because a ledger waits between its tries.
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                while let Some(bad) = bad.get(next.fetch_add(1, Ordering::Relaxed)) {
                    refused.fetch_add(goes_on_after(*bad), Ordering::Relaxed);
                }
            });
        }
    });
    let refused = refused.into_inner();
    println!("{} ledgers, {refused} records failed", bad.len());
    assert!(refused > 50, "{refused} records failed: too tame");
}

/// Gives how many records were refused.
fn goes_on_after((deed, at, count): (Deed, u64, u64)) -> usize {
    let what = format!("{deed:?} {at}, {count} of them");
    let rig = LedgerRig::open(CrashDisk::new(at)).unwrap();
    rig.disk.plan(Plan::FailDeed(deed, at, count));
    let told = work(&rig);
    check(&rig, &told, &what);
    let rig = rig.crash();
    check(&rig, &told, &what);
    let rig = rig.reopen();
    check(&rig, &told, &what);
    told.refused
}

#[test]
fn it_heals_however_often_it_is_asked_for_something() {
    let rig = LedgerRig::new();
    // The failure, and the first try to heal.
    rig.disk.plan(Plan::FailDeed(Deed::Sync, 1, 2));
    until("it is admitted", || rig.admit(fence(1, 1, 1)).is_ok());
}

/// The blocks of the ledger's file that its last commit wrote, beside the first.
fn written(rig: &LedgerRig, commit: impl FnOnce(&LedgerRig)) -> Vec<usize> {
    let path = LedgerRig::dir().join("ledger.redb");
    let before = rig.disk.bytes(&path).unwrap();
    commit(rig);
    let after = rig.disk.bytes(&path).unwrap();
    let same = |at: &usize| before.get(*at..at + BLOCK) == after.get(*at..at + BLOCK);
    (BLOCK..after.len()).step_by(BLOCK).filter(|at| !same(at)).collect()
}

/// A ledger with a lane at 7 by its last commit, and at 5 by the one before.
fn filled() -> (LedgerRig, Vec<usize>) {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 5)], vec![]).unwrap();
    let blocks = written(&rig, |rig| rig.record(vec![mark(fence, 1, 5, 7)], vec![]).unwrap());
    (rig, blocks)
}

#[test]
fn a_first_page_that_was_damaged_meanwhile_hides_no_commit() {
    let path = LedgerRig::dir().join("ledger.redb");
    // redb's two slots, each with a checksum at its end, and what stands before them.
    for at in [9, 12, 20, 64, 100, 190, 192, 230, 319] {
        let (rig, _) = filled();
        let mut bytes = rig.disk.bytes(&path).unwrap();
        bytes[at] ^= 1;
        rig.disk.put(&path, bytes);
        rig.disk.plan(Plan::FailDeed(Deed::Write, 1, 1));
        let fence = fence(1, 1, 1);
        rig.record(vec![mark(fence, 1, 7, 9)], vec![]).unwrap_err();
        rig.until_it_works();
        assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(7), "byte {at}");
        let rig = rig.crash();
        assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(7), "byte {at}");
    }
}

#[test]
fn a_commit_that_was_damaged_meanwhile_is_missed_and_nothing_older_takes_its_place() {
    let path = LedgerRig::dir().join("ledger.redb");
    let (rig, blocks) = filled();
    assert!(!blocks.is_empty());
    let mut bytes = rig.disk.bytes(&path).unwrap();
    for at in blocks {
        bytes[at..at + BLOCK].iter_mut().for_each(|byte| *byte ^= 1);
    }
    rig.disk.put(&path, bytes);
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    rig.ledger.watch(Box::new(move |event| heard.lock().unwrap().push(event)));
    rig.disk.plan(Plan::FailDeed(Deed::Write, 1, 1));
    let fence = fence(1, 1, 1);
    rig.record(vec![mark(fence, 1, 7, 9)], vec![]).unwrap_err();
    // It tries, again and again, and says what it misses.
    let found = || rig.ledger.status().failed.unwrap_or_default();
    until("it says what it misses", || found().contains("commit 3 in ledger.redb, found"));
    for _ in 0..200 {
        let refused = rig.record(vec![mark(fence, 1, 7, 9)], vec![]);
        assert!(matches!(refused, Err(RecordError::Failed(_))), "{refused:?}");
        std::thread::yield_now();
    }
    assert!(matches!(events.lock().unwrap()[..], [LedgerEvent::Failed(_)]));
}

#[test]
fn what_a_failed_transaction_had_touched_is_as_it_was_before() {
    // The commit may reach the disk's cache and fail all the same: it must not come back.
    for at in 1..4 {
        let rig = LedgerRig::new();
        let fence = fence(1, 1, 1);
        rig.admit(fence).unwrap();
        rig.record(vec![mark(fence, 1, 0, 5)], vec![]).unwrap();
        rig.disk.plan(Plan::Fail(at, 1));
        let failed = rig.record(vec![mark(fence, 1, 5, 9), mark(fence, 2, 0, 3)], vec![]);
        if failed.is_ok() {
            continue;
        }
        rig.until_it_works();
        assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(5));
        assert_eq!(rig.cursor(key(fence, 2), 1).cursor, Number(0));
        let rig = rig.crash();
        assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(5));
        assert_eq!(rig.opened.totals[0].1.handled, 5);
    }
}

#[test]
fn a_full_disk_refuses_and_is_gone_when_there_is_room_again() {
    let rig = LedgerRig::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    rig.ledger.watch(Box::new(move |event| heard.lock().unwrap().push(event)));
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.disk.set_full(true);
    // The disk is asked now and then; there is still some room when it says that it is full.
    let mut done = 0;
    let refused = loop {
        match rig.record(vec![mark(fence, 1, done, done + 1)], vec![]) {
            Ok(()) => done += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, RecordError::DiskFull);
    for _ in 0..3 {
        let refused = rig.record(vec![mark(fence, 1, done, done + 1)], vec![]);
        assert_eq!(refused, Err(RecordError::DiskFull));
    }
    assert!(rig.ledger.status().disk_full);
    // What is only read is answered.
    assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(done));
    assert!(matches!(rig.admit(fence), Ok(Admitted::Yes(_))));
    rig.disk.set_full(false);
    // Nobody asks for anything.
    until("it works again", || !rig.ledger.status().disk_full);
    rig.record(vec![mark(fence, 1, done, done + 1)], vec![]).unwrap();
    until("it was told", || events.lock().unwrap().len() == 2);
    assert_eq!(*events.lock().unwrap(), [LedgerEvent::DiskFull, LedgerEvent::Works]);
}

#[test]
fn whatever_room_a_disk_has_nothing_is_lost_when_it_fills_up() {
    let most = {
        let rig = LedgerRig::new();
        work(&rig);
        rig.disk.bytes_of_all()
    };
    // From next to nothing beyond an empty ledger to enough.
    let empty = LedgerRig::new().disk.bytes_of_all();
    let steps = 24;
    let mut full = 0;
    for step in 0..=steps {
        let rig = LedgerRig::new();
        let capacity = empty + (most + 8_000_000 - empty) * step / steps;
        rig.disk.set_capacity(Some(capacity));
        let (fence, mut recorded) = (fence(7, 1, 1), 0);
        let admitted = matches!(rig.admit(fence), Ok(Admitted::Yes(_)));
        for _ in 0..200 {
            let (from, through) = (recorded, recorded + 2);
            let mut dead = letter(fence, 1, through);
            dead.record = vec![7; 40_000].into();
            match rig.record(vec![mark(fence, 1, from, through)], vec![dead]) {
                Ok(()) => recorded = through,
                Err(_) => break,
            }
        }
        full += usize::from(recorded < 400);
        rig.disk.set_capacity(None);
        rig.until_it_works();
        assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(recorded), "{capacity} bytes");
        let rig = rig.crash();
        assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(recorded), "{capacity} bytes");
        assert_eq!(rig.dead_letters().len() as u64, recorded / 2, "{capacity} bytes");
        assert!(admitted || recorded == 0);
        rig.admit(fence).unwrap();
        let next = rig.record(vec![mark(fence, 1, recorded, recorded + 1)], vec![]);
        assert_eq!(next, Ok(()), "{capacity} bytes");
    }
    assert!(full > steps as usize / 2, "{full} of {steps} disks were too small: too tame");
}
