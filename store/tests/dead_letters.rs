//! Proves R8 and R9 for dead letters: a list in the order in which they came, filters and pages; a
//! quota for each client that stops nobody else; counts by handler that survive; room that is given
//! back; and a damaged segment that costs its own letters and nothing more (R10).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::path::PathBuf;

use common::{CrashDisk, LedgerRig, Plan, ask, client, fence, key, letter, mark, target};
use paquebot_protocol::{Number, PacketId};
use paquebot_store::{
    DeadLetter, DeadLetterFilter, DeadLetterLimits, Fence, RecordError, WhenDeadLettersFull,
};

fn small(max_bytes: u64, when_full: WhenDeadLettersFull) -> LedgerRig {
    let limits = DeadLetterLimits { max_bytes, when_full, segment_bytes: 128 * 1024 };
    LedgerRig::with(CrashDisk::new(1), limits).unwrap()
}

fn of(fence: Fence, name: &str, number: u64, bytes: usize) -> DeadLetter {
    let record = vec![u8::try_from(number % 251).unwrap(); bytes].into();
    DeadLetter { client: client(name), record, last_attempt_ms: number, ..letter(fence, 1, number) }
}

/// Records one packet of lane 1 as a dead letter.
fn bury(rig: &LedgerRig, fence: Fence, letter: DeadLetter) -> Result<(), RecordError> {
    let through = letter.id.number.0;
    rig.record(vec![mark(fence, 1, through - 1, through)], vec![letter])
}

fn admit(rig: &LedgerRig, fence: Fence, name: &str) {
    ask(|reply| rig.ledger.admit(fence, None, client(name), reply)).unwrap();
}

fn segments(rig: &LedgerRig) -> Vec<PathBuf> {
    let mut names = rig.disk.names();
    names.retain(|name| name.extension().is_some_and(|e| e == "seg"));
    names
}

fn ids(letters: &[DeadLetter]) -> Vec<u64> {
    letters.iter().map(|letter| letter.id.number.0).collect()
}

#[test]
fn one_list_runs_through_all_segments_in_the_order_in_which_they_came() {
    let rig = small(1 << 30, WhenDeadLettersFull::Pause);
    let (one, two) = (fence(9, 1, 1), fence(2, 1, 1));
    admit(&rig, one, "till-9");
    admit(&rig, two, "till-2");
    for number in 1..=60 {
        let mut dead = of(one, "till-9", number, 9_000);
        if number % 2 == 0 {
            dead.handler = "alarms".to_owned();
        }
        bury(&rig, one, dead).unwrap();
        let mut dead = of(two, "till-2", number, 100);
        dead.target = target("alarm.high");
        bury(&rig, two, dead).unwrap();
    }
    assert!(segments(&rig).len() > 2, "{:?}", segments(&rig));
    let mut expected = Vec::new();
    for number in 1..=60 {
        expected.extend([(9, number), (2, number)]);
    }
    let rig = rig.reopen();
    let found = rig.dead_letters();
    let found: Vec<_> = found.iter().map(|l| (l.id.spool.0[0], l.id.number.0)).collect();
    assert_eq!(found, expected);
    let all = DeadLetterFilter { limit: 1_000, ..DeadLetterFilter::default() };
    let count = |filter: DeadLetterFilter| rig.list(&filter).letters.len();
    assert_eq!(count(all.clone()), 120);
    assert_eq!(count(DeadLetterFilter { handler: Some("alarms".into()), ..all.clone() }), 30);
    assert_eq!(count(DeadLetterFilter { client: Some(client("till-2")), ..all.clone() }), 60);
    let pattern = Some("alarm.*".parse().unwrap());
    assert_eq!(count(DeadLetterFilter { target: pattern, ..all.clone() }), 60);
    assert_eq!(count(DeadLetterFilter { since_ms: Some(51), ..all.clone() }), 20);
    let page = rig.list(&DeadLetterFilter { limit: 100, ..all.clone() });
    let rest = rig.list(&DeadLetterFilter { after: page.next, ..all.clone() });
    assert_eq!((page.letters.len(), rest.letters.len(), rest.next), (100, 20, None));
    let status = rig.ledger.status();
    let by: Vec<_> =
        status.dead_letters_of.iter().map(|of| (of.handler.as_str(), of.count, of.bytes)).collect();
    assert_eq!(by, [("alarms", 30, 270_000), ("orders", 90, 276_000)]);
}

#[test]
fn a_client_without_room_waits_and_no_other_does() {
    let rig = small(100_000, WhenDeadLettersFull::Pause);
    let (one, two) = (fence(1, 1, 1), fence(2, 1, 1));
    admit(&rig, one, "till-1");
    admit(&rig, two, "till-2");
    let mut buried = 0;
    let refused = loop {
        match bury(&rig, one, of(one, "till-1", buried + 1, 9_000)) {
            Ok(()) => buried += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, RecordError::DeadLettersFull { .. }), "{refused}");
    assert!(refused.to_string().contains("till-1"), "{refused}");
    assert_eq!(buried, 10);
    assert_eq!(rig.cursor(key(one, 1), 1).cursor, Number(10), "a refused record moved the cursor");
    // Neither another client nor what this one has handled.
    bury(&rig, two, of(two, "till-2", 1, 9_000)).unwrap();
    rig.record(vec![mark(one, 2, 0, 7)], vec![]).unwrap();
    let rig = rig.reopen();
    assert!(bury(&rig, one, of(one, "till-1", 11, 9_000)).is_err());
    assert_eq!(rig.ledger.status().failed, None);
    // Room comes back with discarding.
    let first = PacketId { spool: one.spool, lane: key(one, 1).lane, number: Number(1) };
    assert_eq!(rig.discard(&[first, first]), 1);
    assert_eq!(rig.letter(first), None);
    bury(&rig, one, of(one, "till-1", 11, 9_000)).unwrap();
    assert_eq!(rig.ledger.status().dead_letters_gone["discarded"], 1);
}

#[test]
fn the_oldest_make_room_and_are_counted() {
    let rig = small(100_000, WhenDeadLettersFull::DropOldest);
    let (one, two) = (fence(1, 1, 1), fence(2, 1, 1));
    admit(&rig, one, "till-1");
    admit(&rig, two, "till-2");
    bury(&rig, two, of(two, "till-2", 1, 9_000)).unwrap();
    for number in 1..=40 {
        bury(&rig, one, of(one, "till-1", number, 9_000)).unwrap();
    }
    let filter =
        DeadLetterFilter { client: Some(client("till-1")), limit: 99, ..Default::default() };
    let rig = rig.crash();
    let left: Vec<_> = rig.list(&filter).letters;
    let left: Vec<_> = left.iter().map(|listed| listed.letter.id.number.0).collect();
    assert_eq!(left, (31..=40).collect::<Vec<_>>());
    assert_eq!(rig.ledger.status().dead_letters_gone["evicted"], 30);
    assert_eq!(rig.ledger.status().dead_letters, 11);
    // A letter that is larger than the quota makes no room.
    let large = bury(&rig, one, of(one, "till-1", 41, 100_000));
    assert!(matches!(large, Err(RecordError::DeadLettersFull { .. })), "{large:?}");
    assert_eq!(rig.ledger.status().dead_letters, 11);
}

#[test]
fn what_is_too_old_goes_and_its_files_with_it() {
    let rig = small(1 << 30, WhenDeadLettersFull::Pause);
    let one = fence(1, 1, 1);
    admit(&rig, one, "till-1");
    for number in 1..=60 {
        bury(&rig, one, of(one, "till-1", number, 9_000)).unwrap();
    }
    let before = segments(&rig).len();
    ask(|reply| rig.ledger.expire_dead_letters(56, reply)).unwrap();
    assert_eq!(ids(&rig.dead_letters()), [56, 57, 58, 59, 60]);
    assert!(segments(&rig).len() < before, "{:?}", segments(&rig));
    let rig = rig.crash();
    assert_eq!(ids(&rig.dead_letters()), [56, 57, 58, 59, 60]);
    assert_eq!(rig.ledger.status().dead_letters_gone["expired"], 55);
    assert_eq!(rig.cursor(key(one, 1), 1).dead, [56, 57, 58, 59, 60].map(Number));
}

#[test]
fn a_letter_whose_cursor_was_not_durable_is_seen_by_nobody() {
    let syncs = {
        let (rig, one) = (LedgerRig::new(), fence(1, 1, 1));
        rig.admit(one).unwrap();
        rig.disk.plan(Plan::Work);
        bury(&rig, one, letter(one, 1, 1)).unwrap();
        rig.disk.syncs()
    };
    for handled in [true, false] {
        let (rig, one) = (LedgerRig::new(), fence(1, 1, 1));
        rig.admit(one).unwrap();
        // The last sync is the cursor's; the letter is durable before.
        rig.disk.plan(Plan::CutAt(syncs));
        rig.disk.set_loss(common::Loss::All);
        assert!(bury(&rig, one, letter(one, 1, 1)).is_err());
        let rig = rig.crash();
        assert_eq!(segments(&rig).len(), 1, "the letter was to be durable");
        assert_eq!((rig.dead_letters().len(), rig.ledger.status().dead_letters), (0, 0));
        assert_eq!(rig.letter(letter(one, 1, 1).id), None);
        // Its packet comes again.
        rig.admit(one).unwrap();
        if handled {
            rig.record(vec![mark(one, 1, 0, 1)], vec![]).unwrap();
        } else {
            let reason = "again".to_owned();
            bury(&rig, one, DeadLetter { reason, ..letter(one, 1, 1) }).unwrap();
        }
        let rig = rig.crash();
        let found: Vec<_> = rig.dead_letters().into_iter().map(|l| l.reason).collect();
        assert_eq!(found, if handled { vec![] } else { vec!["again".to_owned()] });
        assert_eq!(rig.cursor(key(one, 1), 1).dead.len(), usize::from(!handled));
    }
}

#[test]
fn a_damaged_segment_is_set_aside_and_counted_as_lost() {
    let rig = small(1 << 30, WhenDeadLettersFull::Pause);
    let one = fence(1, 1, 1);
    admit(&rig, one, "till-1");
    for number in 1..=60 {
        bury(&rig, one, of(one, "till-1", number, 9_000)).unwrap();
    }
    rig.ledger.close().unwrap();
    let all = segments(&rig);
    let (bad, gone) = (&all[0], &all[1]);
    let mut bytes = rig.disk.bytes(bad).unwrap();
    bytes.iter_mut().skip(4_096).step_by(700).for_each(|byte| *byte ^= 0x55);
    rig.disk.put(bad, bytes.clone());
    paquebot_store::Disk::remove(&rig.disk, gone).unwrap();
    let rig = LedgerRig::with(rig.disk, rig.limits).unwrap();
    assert_eq!(rig.opened.notes.len(), 2, "{:?}", rig.opened.notes);
    let left = rig.dead_letters();
    assert!(!left.is_empty());
    admit(&rig, fence(1, 2, 2), "till-1");
    let lost = rig.ledger.status().dead_letters_gone["lost"];
    assert_eq!(lost + left.len() as u64, 60);
    let kept =
        rig.disk.names().into_iter().find(|name| name.to_string_lossy().contains("quarantine"));
    assert!(rig.disk.bytes(&kept.unwrap()) == Some(bytes), "it was destroyed");
    let rig = rig.crash();
    assert_eq!(rig.ledger.status().dead_letters_gone["lost"], lost);
    assert_eq!(rig.opened.notes, Vec::<String>::new(), "it is told once");
}
