//! Proves that this release opens the ledger that the first release of this format wrote, and finds
//! every cursor, opening, attempt, file and dead letter in it (R12). Tables that came later, and are
//! not in it, do not keep it from opening.
//!
//! `cargo test -p paquebot-store --test golden_ledger -- --ignored` writes such a directory anew,
//! beside the frozen one; that is done once for each format.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{CrashDisk, LedgerRig, ask, client, fence, key, letter, mark};
use paquebot_protocol::{Chain, Lane, Number, PacketId};
use paquebot_store::ledger::check;
use paquebot_store::{
    Admitted, DeadLetterLimits, Disk, Fence, FileDisk, FileId, FileState, HandlerTotals, Known,
    Ledger, LedgerOptions, Mark, Record, Replays, Shadow, Tried,
};

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ledger-1")
}

/// The rig's verbs on a ledger of another disk.
fn open(dir: &Path, disk: Arc<dyn Disk>) -> LedgerRig {
    let limits = DeadLetterLimits::default();
    let options = LedgerOptions { dir: dir.to_owned(), dead_letters: limits };
    let (ledger, opened) = Ledger::open(options, disk).unwrap();
    LedgerRig { disk: CrashDisk::new(1), ledger, opened, limits }
}

/// A spool that was renamed and opened three times, and one that takes its place.
fn first() -> Fence {
    fence(1, 3, 30)
}

fn second() -> Fence {
    fence(2, 1, 10)
}

fn tried() -> Tried {
    Tried { number: Number(51), attempts: 3, first_attempt_ms: 1_000, last_attempt_ms: 9_000 }
}

fn file() -> (FileId, FileState) {
    let state = FileState {
        path: "/var/lib/orders.ndjson".to_owned(),
        length: 12_345,
        generation: 7,
        check: 99,
        began_ms: 1_700_000_000_000,
        rotating: Some("/var/lib/orders.1.ndjson".to_owned()),
        replaces: Vec::new(),
    };
    (FileId { device: 5, inode: 77 }, state)
}

/// Packet 8 of the first lane was discarded, 7 and 50 are dead letters.
fn of_first(number: u64) -> PacketId {
    letter(first(), 1, number).id
}

#[test]
#[ignore = "it writes the golden directory of a new format"]
fn the_golden_directory_is_written() {
    let dir = frozen().with_extension("new");
    let rig = open(&dir, Arc::new(FileDisk));
    rig.admit_as("till-17", Fence { opened: 2, nonce: 20, ..first() }, None).unwrap();
    rig.admit_as("till-18", first(), None).unwrap();
    rig.admit_as("till-18", second(), Some(first().spool)).unwrap();
    let dead = vec![letter(first(), 1, 7), letter(first(), 1, 8), letter(first(), 1, 50)];
    rig.record(vec![mark(first(), 1, 0, 50)], dead).unwrap();
    ask(|reply| rig.ledger.tried(first(), Lane(1), tried(), reply)).unwrap();
    // The second lane was handled elsewhere up to 10, and four numbers of the third were skipped.
    assert_eq!(rig.cursor(key(first(), 2), 11).jumped, 10);
    rig.record(vec![mark(first(), 2, 10, 12)], vec![]).unwrap();
    let skips = Mark { handled: 5, skipped: 4, ..mark(second(), 3, 0, 9) };
    ask(|reply| {
        let (handler, marks) = ("archive".into(), vec![skips]);
        rig.ledger.record(Record {
            handler,
            marks,
            file: Some(file()),
            dead: vec![],
            replays: Replays::default(),
            reply,
        });
    })
    .unwrap();
    assert_eq!(rig.discard(&[of_first(8)]), 1);
    rig.ledger.close().unwrap();
    fs::write(dir.join("id"), rig.opened.ledger.to_string()).unwrap();
    // They are made again wherever it is opened.
    fs::remove_file(dir.join("headroom")).unwrap();
    fs::remove_file(dir.join("lock")).unwrap();
}

#[test]
fn the_ledger_that_the_first_release_wrote_is_opened_and_knows_everything() {
    let dir = frozen();
    // Looked at, and not touched.
    let rig = open(&dir, Arc::new(Shadow::new(Arc::new(FileDisk))));
    assert!(rig.opened.notes.is_empty() && !rig.opened.made, "{:?}", rig.opened);
    assert_eq!(rig.opened.ledger.to_string(), fs::read_to_string(dir.join("id")).unwrap());
    let totals = |handled, dead_lettered| HandlerTotals { handled, dead_lettered };
    let expected = [("archive".to_owned(), totals(5, 0)), ("orders".to_owned(), totals(52, 3))];
    assert_eq!(rig.opened.totals, expected);

    let found = rig.cursor(key(first(), 1), 1);
    assert_eq!((found.cursor, found.chain), (Number(50), Some(Chain(50_001))));
    assert_eq!(found.dead, [Number(7), Number(50)]);
    assert_eq!((found.jumped, found.skipped, found.tried), (0, 0, Some(tried())));
    let found = rig.cursor(key(first(), 2), 11);
    assert_eq!((found.cursor, found.chain), (Number(12), Some(Chain(12_002))));
    let found = rig.cursor(key(second(), 3), 1);
    assert_eq!((found.cursor, found.chain, found.skipped), (Number(9), Some(Chain(9_003)), 4));

    let letters = rig.dead_letters();
    assert_eq!(letters, [letter(first(), 1, 7), letter(first(), 1, 50)]);
    assert!(rig.letter(of_first(8)).is_none());
    assert_eq!(ask(|reply| rig.ledger.files(reply)).unwrap(), [file()]);
    let status = rig.ledger.status();
    assert_eq!((status.dead_letters, status.dead_letters_gone["discarded"]), (2, 1));

    let yes = |known| Ok(Admitted::Yes(known));
    assert_eq!(rig.admit_as("till-18", first(), None), yes(Known::Before));
    let older = Fence { opened: 2, nonce: 20, ..first() };
    assert_eq!(rig.admit_as("till-18", older, None), Ok(Admitted::Rekey));
    let newer = Fence { opened: 2, nonce: 11, ..second() };
    let renamed = rig.admit_as("till-19", newer, Some(first().spool));
    assert_eq!(renamed, yes(Known::As(client("till-18"))));
    // It goes on from there.
    rig.record(vec![mark(first(), 1, 50, 60)], vec![letter(first(), 1, 51)]).unwrap();
    assert_eq!(rig.cursor(key(first(), 1), 51).cursor, Number(60));
    assert_eq!(rig.dead_letters().len(), 3);
    rig.ledger.close().unwrap();
}

#[test]
fn the_ledger_that_the_first_release_wrote_is_checked() {
    let found = check::check(&frozen(), &Shadow::new(Arc::new(FileDisk))).unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.lanes, found.dead_letters, found.elsewhere), (3, 2, 10));
}
