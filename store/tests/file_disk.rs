//! Proves that the real disk is what the stores take it for: what is answered is in the files, a
//! directory is locked for the life of a store, and lengths are real bytes, not holes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use common::{ask, batch, data, fence, key, mark, target};
use paquebot_protocol::Number;
use paquebot_store::{
    Append, DeadLetterLimits, Disk, FileDisk, Ledger, LedgerOptions, OpenError, Record, Replays,
    Spool, SpoolOptions,
};

fn open(dir: &Path) -> Result<Spool, OpenError> {
    let options = SpoolOptions::new(dir, 256 << 20, 100);
    Spool::open(options, Arc::new(FileDisk), Box::new(drop)).map(|(spool, _)| spool)
}

/// What a process that is killed leaves behind: the files as they are.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn what_a_killed_process_was_answered_is_in_its_files() {
    let temporary = tempfile::tempdir().unwrap();
    let (dir, left) = (temporary.path().join("a/b/client"), temporary.path().join("left"));
    let spool = open(&dir).unwrap();
    let sent = data(0, 20_000, 2_000);
    let mut lane = None;
    for part in sent.chunks(1_000) {
        let (target, batch) = (target("orders.new"), batch(part));
        let stored = ask(|reply| spool.append(Append { target, batch, reply }));
        lane = Some(stored.unwrap().lane);
    }
    assert!(spool.status().segments > 1);
    copy(&dir, &left);
    let survivor = open(&left).unwrap();
    assert_eq!(survivor.lane_states()[0].next, Number(20_001));
    let (mut packets, mut from) = (0_u64, Number(1));
    loop {
        let runs = ask(|reply| survivor.read(lane.unwrap(), from, 1 << 20, reply)).unwrap();
        let Some(last) = runs.last() else { break };
        packets += last.last().since(from.before());
        from = last.last().next();
    }
    assert_eq!(packets, 20_000);
    survivor.close().unwrap();
    spool.close().unwrap();
}

#[test]
fn a_directory_belongs_to_one_store_at_a_time() {
    let temporary = tempfile::tempdir().unwrap();
    let spool = open(temporary.path()).unwrap();
    let refused = open(temporary.path()).err();
    assert!(matches!(refused, Some(OpenError::Locked { .. })), "{refused:?}");
    spool.close().unwrap();
    open(temporary.path()).unwrap().close().unwrap();
}

#[test]
fn a_file_holds_the_bytes_that_it_claims() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("file");
    let file = FileDisk.open(&path, true).unwrap();
    file.set_len(1 << 20).unwrap();
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20, "it has holes");
    file.set_len(4_096).unwrap();
    assert_eq!((file.len().unwrap(), FileDisk.size(&path).unwrap()), (4_096, 4_096));
    assert!(FileDisk.available(temporary.path()).unwrap() > 0);
}

#[test]
fn what_a_killed_ledger_was_answered_is_in_its_files() {
    let temporary = tempfile::tempdir().unwrap();
    let (dir, left) = (temporary.path().join("server"), temporary.path().join("left"));
    let open = |dir: &Path| {
        Ledger::open(
            LedgerOptions { dir: dir.to_owned(), dead_letters: DeadLetterLimits::default() },
            Arc::new(FileDisk),
        )
        .unwrap()
        .0
    };
    let (ledger, fence) = (open(&dir), fence(1, 1, 1));
    ask(|reply| ledger.admit(fence, None, common::client("till-17"), reply)).unwrap();
    ask(|reply| {
        let (handler, marks) = ("orders".into(), vec![mark(fence, 1, 0, 5)]);
        ledger.record(Record {
            handler,
            marks,
            file: None,
            dead: vec![],
            replays: Replays::default(),
            reply,
        });
    })
    .unwrap();
    copy(&dir, &left);
    let survivor = open(&left);
    let found = ask(|reply| survivor.cursor(key(fence, 1), Number(1), reply)).unwrap();
    assert_eq!(found.cursor, Number(5));
    survivor.close().unwrap();
    ledger.close().unwrap();
}
