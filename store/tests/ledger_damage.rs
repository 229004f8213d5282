//! Proves R10 for a ledger with damaged bytes: opening it works with true content or says what is
//! damaged, it never panics, and no cursor is invented. What is damaged can be set aside, what is
//! intact can be copied, and neither destroys anything.
//!
//! The seed is printed; `DAMAGE_SEED=n` takes it back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::path::PathBuf;

use common::{CrashDisk, LedgerRig, ask, fence, key, letter, mark};
use paquebot_protocol::Number;
use paquebot_store::OpenError;
use paquebot_store::ledger::check;

fn path() -> PathBuf {
    LedgerRig::dir().join("ledger.redb")
}

/// A ledger with five lanes at 1, 2, …, and two dead letters.
fn filled() -> LedgerRig {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    for lane in 1..=5 {
        let dead = if lane < 3 { vec![letter(fence, lane, lane)] } else { vec![] };
        rig.record(vec![mark(fence, lane, 0, lane)], dead).unwrap();
    }
    rig
}

fn segment(disk: &CrashDisk) -> PathBuf {
    let is_segment = |name: &PathBuf| name.extension().is_some_and(|e| e == "seg");
    disk.names().into_iter().find(is_segment).unwrap()
}

fn seed() -> u64 {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = std::env::var("DAMAGE_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("DAMAGE_SEED={seed}");
    seed
}

/// Flips bits of each used block in turn, and of places at random, in a ledger that was closed or
/// not, and opens it.
fn flip(which: fn(&CrashDisk) -> PathBuf) {
    let mut random = seed() | 1;
    let (mut opened, mut refused) = (0, 0);
    for closed in [true, false] {
        let rig = filled();
        if closed {
            rig.ledger.close().unwrap();
        }
        let left = rig.disk.survivor();
        let file = which(&left);
        let bytes = left.bytes(&file).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        for round in 0..700 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = match round {
                0..320 => round,
                _ => used[usize::try_from(random % used.len() as u64).unwrap()],
            };
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (random >> 32 & 7);
            if round % 5 == 4 {
                let end = (at + 300).min(damaged.len());
                damaged[at..end].iter_mut().for_each(|byte| *byte = (random >> 40) as u8);
            }
            left.put(&file, damaged);
            let disk = left.survivor();
            let what = format!("byte {at} of {}, closed {closed}", file.display());
            match LedgerRig::open(disk) {
                Ok(rig) => {
                    opened += 1;
                    for lane in 1..=5 {
                        let found = rig.cursor(key(fence(1, 1, 1), lane), 1).cursor;
                        // In a file that was not closed, damage to the mark of the last commit looks
                        // like a commit that the power cut: redb goes back to the one before.
                        let back = !closed && lane == 5 && found == Number(0);
                        assert!(found == Number(lane) || back, "{what}: {found} of {lane}");
                    }
                    let letters = rig.dead_letters().len() as u64;
                    let _ = rig.admit(fence(1, 2, 2));
                    let gone = rig.ledger.status().dead_letters_gone;
                    let all = letters + gone.get("lost").unwrap_or(&0);
                    assert!(all == 2 || !closed && all == 1, "{what}: {all}");
                }
                Err(OpenError::Damaged { path, .. } | OpenError::TooNew { path, .. }) => {
                    refused += 1;
                    assert_eq!(path, file, "{what}");
                }
                Err(other) => panic!("{what}: {other}"),
            }
        }
    }
    println!("{opened} opened, {refused} refused");
    assert!(opened > 0);
}

#[test]
fn a_ledger_with_a_damaged_byte_is_true_or_refused() {
    flip(|_| path());
}

#[test]
fn dead_letters_with_a_damaged_byte_never_stop_the_ledger() {
    flip(segment);
}

#[test]
fn a_ledger_that_is_cut_short_is_true_or_refused() {
    let rig = filled();
    rig.ledger.close().unwrap();
    let bytes = rig.disk.bytes(&path()).unwrap();
    for part in 0..40 {
        let disk = rig.disk.survivor();
        disk.put(&path(), bytes[..bytes.len() * part / 40].to_vec());
        match LedgerRig::open(disk) {
            Ok(rig) => assert_eq!(rig.cursor(key(fence(1, 1, 1), 5), 1).cursor, Number(5)),
            Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
        }
    }
}

#[test]
fn a_check_says_what_is_damaged_and_changes_nothing() {
    let rig = filled();
    let held = check::check(&LedgerRig::dir(), &rig.disk);
    assert!(matches!(held, Err(OpenError::Locked { .. })), "{held:?}");
    // Not closed: it was killed.
    let left = rig.disk.survivor();
    let before = left.bytes(&path());
    let found = check::check(&LedgerRig::dir(), &left).unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.lanes, found.dead_letters, found.files.len()), (5, 2, 2));
    assert_eq!(found.ledger, Some(rig.opened.ledger));
    assert!(left.bytes(&path()) == before);
    left.put(&segment(&left), vec![3; 5_000]);
    let found = check::check(&LedgerRig::dir(), &left).unwrap();
    let damaged: Vec<_> = found.files.iter().filter(|file| file.damage.is_some()).collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].path, segment(&left));
    let nothing = check::check(&LedgerRig::dir(), &CrashDisk::new(1));
    assert!(nothing.is_err());
}

#[test]
fn a_damaged_ledger_that_is_set_aside_is_followed_by_another_that_keeps_the_dead_letters() {
    let rig = filled();
    rig.ledger.close().unwrap();
    let nothing_wrong = check::set_aside(&LedgerRig::dir(), &rig.disk).unwrap();
    assert_eq!((nothing_wrong.kept_as.len(), nothing_wrong.begun), (0, None));
    let damaged = vec![9; 70_000];
    rig.disk.put(&path(), damaged.clone());
    assert!(LedgerRig::open(rig.disk.clone()).is_err());
    let done = check::set_aside(&LedgerRig::dir(), &rig.disk).unwrap();
    assert!(rig.disk.bytes(&done.kept_as[0]) == Some(damaged));
    let report = String::from_utf8(rig.disk.bytes(&done.report.unwrap()).unwrap()).unwrap();
    assert!(report.contains("ledger.redb"), "{report}");
    let before = rig.opened.ledger;
    let rig = LedgerRig::open(rig.disk.survivor()).unwrap();
    assert_eq!(Some(rig.opened.ledger), done.begun);
    assert_ne!(rig.opened.ledger, before);
    assert_eq!(rig.dead_letters().len(), 2);
    assert_eq!(rig.cursor(key(fence(1, 1, 1), 5), 1).cursor, Number(0));
    let rig = rig.reopen();
    assert_eq!(rig.dead_letters().len(), 2);
    // A packet that is still with its client comes again, and its letter is there once.
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 1)], vec![letter(fence, 1, 1)]).unwrap();
    assert_eq!(rig.dead_letters().len(), 2);
}

#[test]
fn a_backup_is_the_ledger_as_it_was() {
    let rig = filled();
    let copy = PathBuf::from("/data/backup.redb");
    ask(|reply| rig.ledger.back_up(copy.clone(), reply)).unwrap();
    let (fence, ledger) = (fence(1, 1, 1), rig.opened.ledger);
    rig.record(vec![mark(fence, 5, 5, 9)], vec![]).unwrap();
    rig.ledger.close().unwrap();
    let disk = rig.disk.survivor();
    let offline = PathBuf::from("/data/offline.redb");
    check::copy(&LedgerRig::dir(), &offline, &disk).unwrap();
    for (copy, cursor) in [(copy, 5), (offline, 9)] {
        let disk = disk.survivor();
        let bytes = disk.bytes(&copy).unwrap();
        disk.put(&path(), bytes);
        let rig = LedgerRig::open(disk).unwrap();
        assert_eq!(rig.opened.ledger, ledger);
        assert_eq!(rig.cursor(key(fence, 5), 1).cursor, Number(cursor));
        assert_eq!(rig.dead_letters().len(), 2);
    }
}
