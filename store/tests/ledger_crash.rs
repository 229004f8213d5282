//! Proves the order of R4 by cutting the power in the middle of the syncs of a workload of the ledger,
//! with whatever was not synced kept, dropped, or torn, and opening what is left:
//!
//! - what was answered "recorded" is there, whole, and so is no more than one record beyond it;
//! - no cursor passes a dead letter that is not there, and no dead letter is seen that no cursor has
//!   passed;
//! - an opening that was admitted is still the latest.
//!
//! The workload admits, records, buries and discards; a second one loses a sync, so that the cuts
//! fall into healing. A sample of the syncs is cut, **every** one with `CRASH_EVERY=1`. The seed is
//! printed; `CRASH_SEED=n` takes it back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{CrashDisk, LedgerRig, Loss, Plan, fence, key, letter, mark};
use paquebot_protocol::{Number, PacketId};
use paquebot_store::{Admitted, DeadLetter, DeadLetterLimits, Fence};

const STEP: u64 = 5;
const OPENINGS: u64 = 6;
const ROUNDS: u64 = 46;

/// Which syncs are cut: odd, so that each of the four ways to lose something has its turn.
const EVERY: u64 = 13;

fn fence_of(opened: u64) -> Fence {
    fence(7, opened, opened * 11)
}

fn limits() -> DeadLetterLimits {
    // Small, so that segments are begun and removed.
    DeadLetterLimits { segment_bytes: 96 * 1024, ..DeadLetterLimits::default() }
}

/// What the handlers were told.
#[derive(Debug, Default, Clone)]
struct Told {
    cursors: BTreeMap<u64, u64>,
    dead: BTreeSet<(u64, u64)>,
    /// Asked to be discarded, whether answered or not.
    discarded: BTreeSet<(u64, u64)>,
    admitted: u64,
}

/// Works through everything; `told` is what was answered at any moment.
fn work(rig: &LedgerRig, told: &Mutex<Told>) {
    for opened in 1..=OPENINGS {
        let fence = fence_of(opened);
        assert!(matches!(rig.admit(fence), Ok(Admitted::Yes(_))));
        told.lock().unwrap().admitted = opened;
        for round in 0..ROUNDS {
            let lane = round % 3 + 1;
            let from = told.lock().unwrap().cursors.get(&lane).copied().unwrap_or(0);
            let dead = if round % 4 == 0 { vec![from + 2, from + 4] } else { Vec::new() };
            let letters = dead.iter().map(|number| {
                let record = vec![1; 6_000].into();
                DeadLetter { record, ..letter(fence, lane, *number) }
            });
            rig.record(vec![mark(fence, lane, from, from + STEP)], letters.collect()).unwrap();
            let mut told = told.lock().unwrap();
            told.cursors.insert(lane, from + STEP);
            told.dead.extend(dead.into_iter().map(|number| (lane, number)));
            if round % 9 == 8 {
                let (of, number) = *told.dead.first().unwrap();
                let lane = key(fence, of).lane;
                let id = PacketId { spool: fence.spool, lane, number: Number(number) };
                told.dead.remove(&(of, number));
                told.discarded.insert((of, number));
                drop(told);
                assert_eq!(rig.discard(&[id]), 1);
            }
        }
    }
}

fn check(rig: &LedgerRig, told: &Told, what: &str) {
    let mut seen = BTreeSet::new();
    for lane in 1..=3 {
        let cursor = told.cursors.get(&lane).copied().unwrap_or(0);
        let found = rig.cursor(key(fence_of(1), lane), 1);
        // The next record may have become durable without an answer.
        let at = found.cursor.0;
        assert!(at == cursor || at == cursor + STEP, "{what}: {found:?} after {cursor}");
        if at > 0 {
            assert_eq!(found.chain, Some(mark(fence_of(1), lane, 0, at).chain), "{what}");
        }
        seen.extend(found.dead.iter().map(|number| (lane, number.0)));
        assert!(found.dead.iter().all(|number| *number <= found.cursor), "{what}: {found:?}");
    }
    let missing: Vec<_> = told.dead.difference(&seen).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} are missing");
    let listed: BTreeSet<_> =
        rig.dead_letters().iter().map(|l| (l.id.lane.0, l.id.number.0)).collect();
    assert_eq!(listed, seen, "{what}");
    let more: Vec<_> =
        seen.difference(&told.dead).filter(|l| !told.discarded.contains(l)).collect();
    assert!(more.len() <= 2, "{what}: {more:?} came from nowhere");
    assert_eq!(rig.ledger.status().dead_letters, listed.len() as u64, "{what}");
    assert_eq!(rig.ledger.status().dead_letters_gone.get("lost"), None, "{what}");
    if told.admitted > 0 {
        let older = rig.admit(fence_of(told.admitted - 1));
        assert_eq!(older, Ok(Admitted::Rekey), "{what}: it forgot opening {}", told.admitted);
    }
}

#[test]
fn the_ledger_keeps_its_word_whenever_the_power_goes() {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let disk = CrashDisk::new(seed);
    let (told, cuts) = (Arc::new(Mutex::new(Told::default())), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (Arc::clone(&told), Arc::clone(&cuts));
    let every = std::env::var("CRASH_EVERY").map_or(EVERY, |every| every.parse().unwrap());
    disk.on_sync(every, move |left| {
        let told = seen.lock().unwrap();
        let what = format!("cut {}", counted.load(Ordering::Relaxed) + 1);
        let rig = LedgerRig::with(left, limits()).unwrap_or_else(|error| panic!("{what}: {error}"));
        check(&rig, &told, &what);
        // And once more, at once.
        let rig = rig.crash();
        check(&rig, &told, &what);
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let rig = LedgerRig::with(disk, limits()).unwrap();
    work(&rig, &told);
    // Reading may sync, too, so nobody holds what was told meanwhile.
    let all = told.lock().unwrap().clone();
    check(&rig, &all, "without a cut");
    rig.ledger.close().unwrap();
    let cuts = cuts.load(Ordering::Relaxed);
    let syncs = rig.disk.syncs();
    println!("{cuts} of {syncs} syncs were cut");
    assert_eq!(cuts as u64, syncs / every);
    assert!(syncs >= 500, "{syncs} syncs: too tame a workload");
}

#[test]
fn it_keeps_its_word_when_the_power_goes_while_it_heals() {
    let seed = 3;
    let mut cuts = 0;
    for (fails, at) in (1..=4).flat_map(|fails| (0..9).map(move |at| (fails, at))) {
        for loss in [Loss::Random, Loss::Torn, Loss::All, Loss::Nothing] {
            let what = format!("sync {fails} failed, cut {at} later, lost {loss:?}");
            let disk = CrashDisk::new(seed + fails * 100 + at);
            let rig = LedgerRig::with(disk.clone(), limits()).unwrap();
            let fence = fence_of(1);
            rig.admit(fence).unwrap();
            rig.record(vec![mark(fence, 1, 0, 5)], vec![letter(fence, 1, 2)]).unwrap();
            disk.set_loss(loss);
            disk.plan(Plan::FailThenCut(fails, fails + at + 1));
            let letters = vec![letter(fence, 1, 7)];
            let first = rig.record(vec![mark(fence, 1, 5, 9)], letters.clone());
            let mut recorded = if first.is_ok() { 9 } else { 5 };
            // It heals, or the power goes meanwhile; then it goes on, until the power goes.
            for _ in 0..40 {
                let from = recorded;
                match rig.record(vec![mark(fence, 1, from, from + 4)], vec![]) {
                    Ok(()) => recorded = from + 4,
                    Err(_) if disk.is_off() => break,
                    Err(_) => std::thread::yield_now(),
                }
            }
            let _ = rig.ledger.close();
            cuts += usize::from(disk.is_off());
            let rig = LedgerRig::with(disk.survivor(), limits())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = rig.cursor(key(fence, 1), 1);
            let next = recorded + 4;
            assert!([recorded, next].contains(&found.cursor.0), "{what}: {found:?}, {recorded}");
            assert!(found.dead.contains(&Number(2)), "{what}");
            let listed: Vec<_> = rig.dead_letters().iter().map(|l| l.id.number).collect();
            assert_eq!(listed, found.dead, "{what}");
        }
    }
    assert!(cuts > 60, "{cuts} cuts: too tame");
}
