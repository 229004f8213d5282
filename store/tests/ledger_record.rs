//! Proves that a record is written whole or not at all, whatever its neighbours in the same commit
//! are (R4), and that dead letters are durable no later than the cursor that passes them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::sync::mpsc;

use common::{CrashDisk, LedgerRig, Plan, ask, client, fence, key, letter, mark};
use paquebot_protocol::{Lane, Number, PacketId, SpoolId};
use paquebot_store::{
    DeadLetter, FileId, FileState, HandlerTotals, LedgerError, Mark, OpenError, Record,
    RecordError, Replays,
};

const FILE: FileId = FileId { device: 8, inode: 77 };

fn state(length: u64) -> FileState {
    let (path, rotating) = ("orders.ndjson".to_owned(), Some("orders.ndjson.1".to_owned()));
    let replaces = Vec::new();
    FileState { path, length, generation: 1, check: 7, began_ms: 8, rotating, replaces }
}

fn record_file(rig: &LedgerRig, marks: Vec<Mark>, length: u64) -> Result<(), RecordError> {
    ask(|reply| {
        let (handler, dead) = ("orders".into(), vec![]);
        let file = Some((FILE, state(length)));
        rig.ledger.record(Record {
            handler,
            marks,
            file,
            dead,
            replays: Replays::default(),
            reply,
        });
    })
}

fn file(rig: &LedgerRig) -> Option<FileState> {
    let mut files = ask(|reply| rig.ledger.files(reply)).unwrap();
    assert!(files.len() < 2, "{files:?}");
    files.pop().map(|(file, state)| {
        assert_eq!(file, FILE);
        state
    })
}

fn totals(rig: &LedgerRig) -> Vec<(String, HandlerTotals)> {
    rig.opened.totals.clone()
}

#[test]
fn everything_in_a_record_is_durable_together() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    assert_eq!(file(&rig), None);
    record_file(&rig, vec![mark(fence, 1, 0, 5), mark(fence, 2, 0, 2)], 700).unwrap();
    let rig = rig.crash();
    assert_eq!(file(&rig), Some(state(700)));
    assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(5));
    assert_eq!(rig.cursor(key(fence, 2), 1).cursor, Number(2));
    let expected = HandlerTotals { handled: 7, dead_lettered: 0 };
    assert_eq!(totals(&rig), [("orders".to_owned(), expected)]);
}

#[test]
fn a_refused_record_writes_nothing_of_itself() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    record_file(&rig, vec![mark(fence, 1, 0, 5)], 100).unwrap();
    // Its first mark would do, its second would not.
    let marks = vec![mark(fence, 1, 5, 9), mark(fence, 2, 7, 9)];
    assert!(matches!(record_file(&rig, marks, 200), Err(RecordError::Moved { .. })));
    let dead = vec![letter(fence, 1, 6)];
    let marks = vec![mark(fence, 1, 5, 9), mark(common::fence(1, 9, 9), 1, 9, 10)];
    assert!(matches!(rig.record(marks, dead), Err(RecordError::Fenced { .. })));
    let rig = rig.reopen();
    assert_eq!(file(&rig), Some(state(100)));
    assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(5));
    assert_eq!(rig.dead_letters(), []);
    assert_eq!(totals(&rig)[0].1, HandlerTotals { handled: 5, dead_lettered: 0 });
}

#[test]
fn neighbours_in_one_commit_are_judged_one_after_the_other() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    // They are all sent before the first can be answered.
    let (answers, answered) = mpsc::channel();
    for (from, through) in [(0, 5), (0, 7), (5, 8), (9, 10), (8, 9)] {
        let answers = answers.clone();
        let reply = Box::new(move |done: Result<(), RecordError>| {
            answers.send((from, done.is_ok())).unwrap();
        });
        let marks = vec![mark(fence, 1, from, through)];
        let (handler, file, dead) = ("orders".into(), None, vec![]);
        rig.ledger.record(Record {
            handler,
            marks,
            file,
            dead,
            replays: Replays::default(),
            reply,
        });
    }
    let found: Vec<_> = answered.iter().take(5).collect();
    assert_eq!(found, [(0, true), (0, false), (5, true), (9, false), (8, true)]);
    assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(9));
}

#[test]
fn two_marks_of_one_lane_in_one_record_follow_each_other() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 5), mark(fence, 1, 5, 9)], vec![]).unwrap();
    assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(9));
}

#[test]
fn dead_letters_are_kept_whole_and_counted() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    let dead = vec![letter(fence, 1, 2), letter(fence, 1, 3)];
    let marks = vec![Mark { handled: 3, ..mark(fence, 1, 0, 5) }];
    rig.record(marks, dead.clone()).unwrap();
    let rig = rig.crash();
    assert_eq!(rig.dead_letters(), dead);
    let status = rig.ledger.status();
    assert_eq!((status.dead_letters, status.dead_letters_bytes), (2, 38));
    assert_eq!(totals(&rig)[0].1, HandlerTotals { handled: 3, dead_lettered: 2 });
}

#[test]
fn dead_letters_of_two_spools_born_as_one_do_not_replace_each_other() {
    let rig = LedgerRig::new();
    let (one, other) = (fence(1, 1, 1), fence(2, 1, 1));
    for (fence, client_id) in [(one, "till-17"), (other, "till-18")] {
        ask(|reply| rig.ledger.admit(fence, None, client(client_id), reply)).unwrap();
    }
    let born = PacketId { spool: SpoolId([1; 16]), lane: Lane(1), number: Number(2) };
    let letter = |name| DeadLetter { id: born, client: client(name), ..letter(one, 1, 2) };
    rig.record(vec![mark(one, 1, 0, 5)], vec![letter("till-17")]).unwrap();
    rig.record(vec![mark(other, 1, 0, 5)], vec![letter("till-18")]).unwrap();
    let clients: Vec<_> =
        rig.dead_letters().into_iter().map(|letter| letter.client.to_string()).collect();
    assert_eq!(clients, ["till-17", "till-18"]);
    assert_eq!(rig.cursor(key(other, 1), 1).dead, [Number(2)]);
}

#[test]
fn no_cursor_passes_a_dead_letter_that_is_not_durable() {
    // The record's first syncs are those of the dead letters' new segment, its last the cursor's.
    let syncs = {
        let rig = LedgerRig::new();
        rig.admit(fence(1, 1, 1)).unwrap();
        rig.disk.plan(Plan::Work);
        rig.record(vec![mark(fence(1, 1, 1), 1, 0, 5)], vec![letter(fence(1, 1, 1), 1, 2)])
            .unwrap();
        rig.disk.syncs()
    };
    assert!(syncs >= 3, "{syncs}");
    for sync in 1..=syncs {
        let rig = LedgerRig::new();
        let fence = fence(1, 1, 1);
        rig.admit(fence).unwrap();
        rig.disk.plan(Plan::Fail(sync, u64::MAX));
        let failed = rig.record(vec![mark(fence, 1, 0, 5)], vec![letter(fence, 1, 2)]);
        assert!(matches!(failed, Err(RecordError::Failed(_))), "{failed:?}");
        let again = rig.record(vec![mark(fence, 1, 0, 5)], vec![letter(fence, 1, 2)]);
        assert!(matches!(again, Err(RecordError::Failed(_))), "{again:?}");
        // Whether it had failed as a whole, or its dead letters only.
        let _ = rig.ledger.close();
        let left = rig.disk.survivor();
        let rig = LedgerRig::open(left).unwrap();
        let cursor = rig.cursor(key(fence, 1), 1);
        if cursor.cursor > Number(0) {
            assert_eq!(cursor.dead, [Number(2)], "sync {sync}");
        } else {
            assert_eq!(
                rig.dead_letters(),
                [],
                "sync {sync}: one that no cursor has passed is seen"
            );
        }
        // The packet comes again, and its dead letter is there once.
        rig.admit(fence).unwrap();
        if cursor.cursor == Number(0) {
            rig.record(vec![mark(fence, 1, 0, 5)], vec![letter(fence, 1, 2)]).unwrap();
        }
        assert_eq!((rig.dead_letters().len(), rig.ledger.status().dead_letters), (1, 1));
    }
}

#[test]
fn a_ledger_is_the_same_one_ever_after() {
    let rig = LedgerRig::new();
    let ledger = rig.opened.ledger;
    let rig = rig.reopen();
    assert_eq!(rig.opened.ledger, ledger);
    assert_eq!(rig.crash().opened.ledger, ledger);
    assert_ne!(LedgerRig::open(CrashDisk::new(2)).unwrap().opened.ledger, ledger);
}

#[test]
fn a_ledger_that_cannot_be_opened_is_named_and_left_as_it_is() {
    let rig = LedgerRig::new();
    rig.ledger.close().unwrap();
    let path = LedgerRig::dir().join("ledger.redb");
    for bytes in [Vec::new(), vec![7; 100_000]] {
        rig.disk.put(&path, bytes.clone());
        match LedgerRig::open(rig.disk.clone()).err() {
            Some(OpenError::Damaged { path: found, .. }) => assert_eq!(found, path),
            other => panic!("{other:?}"),
        }
        assert!(rig.disk.bytes(&path) == Some(bytes));
    }
    paquebot_store::Disk::remove(&rig.disk, &path).unwrap();
    assert!(LedgerRig::open(rig.disk).is_err(), "a new ledger took the place of a lost one");
}

#[test]
fn a_closed_ledger_answers_everybody() {
    let rig = LedgerRig::new();
    rig.ledger.close().unwrap();
    rig.ledger.close().unwrap();
    assert_eq!(rig.admit(fence(1, 1, 1)), Err(LedgerError::Closed));
    assert_eq!(rig.record(vec![], vec![]), Err(RecordError::Closed));
}
