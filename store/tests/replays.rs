//! Proves what a replay leaves behind: a dead letter that was handled after all goes with its effect,
//! whenever the power fails; one that was not stays, brought up to date; and neither is counted wrong
//! (R4, R8).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, LedgerRig, Plan, ask, fence, key, letter, mark};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{
    DeadLetterFilter, DeadLetterLimits, FileId, FileState, HandlerTotals, LetterKey, PausedHandler,
    Record, RecordError, Replays, StillDead,
};

const FILE: FileId = FileId { device: 8, inode: 77 };

fn letter_key(number: u64) -> LetterKey {
    LetterKey { session: fence(1, 1, 1).spool, lane: Lane(1), number: Number(number) }
}

/// Three dead letters, and the file as it was before.
fn rig() -> LedgerRig {
    let (rig, one) = (LedgerRig::new(), fence(1, 1, 1));
    rig.admit(one).unwrap();
    let dead = [1, 2, 3].map(|number| letter(one, 1, number)).to_vec();
    rig.record(vec![mark(one, 1, 0, 5)], dead).unwrap();
    rig
}

fn state(length: u64) -> FileState {
    FileState {
        path: "/out/orders.ndjson".to_owned(),
        length,
        generation: length,
        check: 0,
        began_ms: 0,
        rotating: None,
        replaces: vec![],
    }
}

fn handled(rig: &LedgerRig, numbers: &[u64], length: u64) -> Result<(), RecordError> {
    let replays = Replays {
        handled: numbers.iter().map(|number| letter_key(*number)).collect(),
        rejected: vec![],
    };
    ask(|reply| {
        let (marks, file) = (vec![], Some((FILE, state(length))));
        rig.ledger.record(Record {
            handler: "orders".into(),
            marks,
            file,
            dead: vec![],
            replays,
            reply,
        });
    })
}

fn left(rig: &LedgerRig) -> Vec<u64> {
    rig.dead_letters().iter().map(|letter| letter.id.number.0).collect()
}

fn length(rig: &LedgerRig) -> Option<u64> {
    let files = || ask(|reply| rig.ledger.files(reply));
    common::until("the ledger answers", || files().is_ok());
    files().unwrap().first().map(|(_, state)| state.length)
}

#[test]
fn what_was_handled_after_all_goes_and_counts() {
    let rig = rig();
    handled(&rig, &[1, 3], 20).unwrap();
    assert_eq!(left(&rig), [2]);
    assert_eq!(rig.letter(letter(fence(1, 1, 1), 1, 1).id), None);
    // Not twice, and nothing of a record that is refused.
    let again = handled(&rig, &[2, 3], 30);
    assert!(matches!(again, Err(RecordError::NoLetter { .. })), "{again:?}");
    let twice = handled(&rig, &[2, 2], 30);
    assert!(matches!(twice, Err(RecordError::NoLetter { .. })), "{twice:?}");
    let rig = rig.reopen();
    assert_eq!((left(&rig), length(&rig)), (vec![2], Some(20)));
    let status = rig.ledger.status();
    assert_eq!((status.dead_letters, status.dead_letters_gone["replayed"]), (1, 2));
    // The rig's mark counts the three as handled, too.
    let totals = HandlerTotals { handled: 5 + 2, dead_lettered: 3 };
    assert_eq!(rig.opened.totals, [("orders".to_owned(), totals)]);
    // The lane stands where it stood, and says which of its packets are dead.
    let found = rig.cursor(key(fence(1, 1, 1), 1), 1);
    assert_eq!((found.cursor, found.dead), (Number(5), vec![Number(2)]));
}

#[test]
fn wherever_the_power_fails_the_letter_and_its_effect_are_one() {
    let syncs = {
        let rig = rig();
        rig.disk.plan(Plan::Work);
        handled(&rig, &[1, 3], 20).unwrap();
        rig.ledger.close().unwrap();
        rig.disk.syncs()
    };
    assert!(syncs >= 2, "{syncs}");
    let mut seen = [0, 0];
    for cut in 1..=syncs {
        for loss in [common::Loss::All, common::Loss::Nothing] {
            let rig = rig();
            rig.disk.plan(Plan::CutAt(cut));
            rig.disk.set_loss(loss);
            let said = handled(&rig, &[1, 3], 20);
            let rig = rig.crash();
            let done = length(&rig).is_some();
            assert!(done || said.is_err(), "cut {cut}: said and not done");
            assert_eq!(left(&rig), if done { vec![2] } else { vec![1, 2, 3] }, "cut {cut}");
            assert_eq!(rig.ledger.status().dead_letters, if done { 1 } else { 3 });
            seen[usize::from(done)] += 1;
            // And once more, when what was left to do is done.
            handled(&rig, &[2], 30).unwrap();
            let rig = rig.crash();
            assert_eq!(left(&rig), if done { vec![] } else { vec![1, 3] }, "cut {cut}");
            let gone = rig.ledger.status().dead_letters_gone["replayed"];
            assert_eq!(gone, if done { 3 } else { 1 }, "cut {cut}");
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn what_is_still_dead_is_brought_up_to_date_where_it_stands() {
    let rig = rig();
    let still = StillDead {
        key: letter_key(2),
        handler: "archive".to_owned(),
        reason: "the printer is on fire".to_owned(),
        attempts: 4,
        last_attempt_ms: 9_000,
    };
    let missing = StillDead { key: letter_key(4), ..still.clone() };
    assert_eq!(ask(|reply| rig.ledger.still_dead(vec![still, missing], reply)), Ok(1));
    let rig = rig.crash();
    let before = letter(fence(1, 1, 1), 1, 2);
    let found = rig.dead_letters();
    assert_eq!(found[1].reason, "the printer is on fire");
    assert_eq!((found[1].attempts, found[1].last_attempt_ms), (4, 9_000));
    assert_eq!((found[1].first_attempt_ms, &found[1].record), (1_000, &before.record));
    let of = rig.ledger.status().dead_letters_of;
    let of: Vec<_> = of.iter().map(|of| (of.handler.as_str(), of.count)).collect();
    assert_eq!(of, [("archive", 1), ("orders", 2)]);
}

#[test]
fn pages_end_where_their_records_would_be_too_many() {
    let (rig, one) = (LedgerRig::with(CrashDisk::new(1), limits()).unwrap(), fence(1, 1, 1));
    rig.admit(one).unwrap();
    for number in 1..=40 {
        let record = vec![7; 9_000].into();
        let dead = paquebot_store::DeadLetter { record, ..letter(one, 1, number) };
        rig.record(vec![mark(one, 1, number - 1, number)], vec![dead]).unwrap();
    }
    let mut filter = DeadLetterFilter { limit: 1_000, ..DeadLetterFilter::default() };
    filter.record_bytes_max = Some(30_000);
    let (mut seen, mut pages) = (Vec::new(), 0);
    filter.through = Some(rig.list(&filter).newest - 2);
    loop {
        let page = rig.list(&filter);
        let bytes: usize = page.letters.iter().map(|listed| listed.letter.record.len()).sum();
        assert!(bytes <= 30_000, "{bytes}");
        seen.extend(page.letters.iter().map(|listed| listed.letter.id.number.0));
        pages += 1;
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (1..=38).collect::<Vec<_>>());
    assert!(pages >= 13, "{pages}");
    let of_one = DeadLetterFilter { id: Some(letter(one, 1, 17).id), ..filter };
    let found = rig.list(&of_one).letters;
    assert_eq!((found.len(), found[0].key), (1, letter_key(17)));
}

fn limits() -> DeadLetterLimits {
    DeadLetterLimits { segment_bytes: 128 * 1024, ..DeadLetterLimits::default() }
}

#[test]
fn the_files_of_replayed_letters_go_by_themselves() {
    let (rig, one) = (LedgerRig::with(CrashDisk::new(1), limits()).unwrap(), fence(1, 1, 1));
    rig.admit(one).unwrap();
    for number in 1..=60 {
        let record = vec![7; 9_000].into();
        let dead = paquebot_store::DeadLetter { record, ..letter(one, 1, number) };
        rig.record(vec![mark(one, 1, number - 1, number)], vec![dead]).unwrap();
    }
    let segments = || {
        let names = rig.disk.names();
        names.iter().filter(|name| name.extension().is_some_and(|e| e == "seg")).count()
    };
    assert!(segments() > 2);
    handled(&rig, &(1..=60).collect::<Vec<_>>(), 20).unwrap();
    common::until("one segment is left", || segments() == 1);
}

#[test]
fn a_pause_holds_until_it_is_ended() {
    let rig = LedgerRig::new();
    let paused =
        |by: &str| PausedHandler { handler: "orders".to_owned(), since_ms: 7, by: by.to_owned() };
    ask(|reply| rig.ledger.pause_handler(paused("me"), reply)).unwrap();
    ask(|reply| rig.ledger.pause_handler(paused("somebody else"), reply)).unwrap();
    let rig = rig.crash();
    assert_eq!(rig.opened.paused, [paused("me")]);
    assert_eq!(ask(|reply| rig.ledger.resume_handler("orders".to_owned(), reply)), Ok(true));
    assert_eq!(ask(|reply| rig.ledger.resume_handler("orders".to_owned(), reply)), Ok(false));
    assert_eq!(rig.crash().opened.paused, []);
}

#[test]
fn whichever_sync_fails_a_ledger_that_lives_on_tells_the_truth() {
    let mut seen = [0, 0];
    for at in 1..=8 {
        for count in [1, 2] {
            let rig = rig();
            rig.disk.plan(Plan::Fail(at, count));
            let said = handled(&rig, &[1, 3], 20);
            rig.until_it_works();
            rig.disk.plan(Plan::Work);
            // Nobody restarts it: what was not recorded is a dead letter as before, and can be replayed.
            let done = length(&rig).is_some();
            assert!(done || said.is_err(), "sync {at}: said and not done");
            assert_eq!(left(&rig), if done { vec![2] } else { vec![1, 2, 3] }, "sync {at}");
            assert_eq!(rig.ledger.status().dead_letters, if done { 1 } else { 3 }, "sync {at}");
            seen[usize::from(done)] += 1;
            if !done {
                handled(&rig, &[1, 3], 20).unwrap();
            }
            handled(&rig, &[2], 30).unwrap();
            {
                let rig = rig.reopen().crash();
                assert_eq!(left(&rig), Vec::<u64>::new(), "sync {at}");
                assert_eq!(rig.ledger.status().dead_letters_gone["replayed"], 3, "sync {at}");
                assert_eq!(rig.opened.notes, Vec::<String>::new(), "sync {at}");
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}
