//! Proves group commit: what waits goes into one commit, the replies come in order, and the facts
//! after them; and a run fills its page and no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::sync::{Arc, Mutex, mpsc};

use common::{CrashDisk, SpoolRig, batch, data, options, target};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{Append, Committed, Spool};

#[test]
fn appends_that_wait_are_committed_together_and_answered_in_order() {
    let (held, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let on_commit = move |committed: Committed| {
        let runs = committed.runs.iter().map(|stored| (stored.run.first(), stored.run.last()));
        heard.lock().unwrap().push(format!("{:?}", runs.collect::<Vec<_>>()));
        // The first commit lasts until everything else waits.
        let _ = hold.lock().unwrap().recv();
    };
    let disk = Arc::new(CrashDisk::new(1));
    let (spool, _) = Spool::open(options(), disk.clone(), Box::new(on_commit)).unwrap();
    let (answers, answered) = mpsc::channel();
    let append = |from: u64, count| {
        let (answers, told) = (answers.clone(), Arc::clone(&told));
        let reply = Box::new(move |stored: Result<paquebot_store::Stored, _>| {
            told.lock().unwrap().push(format!("stored from {}", stored.unwrap().first));
            answers.send(()).unwrap();
        });
        let batch = batch(&data(from, count, 100));
        spool.append(Append { target: target("orders.new"), batch, reply });
    };
    append(0, 1);
    common::until("the first commit is told", || told.lock().unwrap().len() == 2);
    let before = disk.syncs();
    for at in 0..10 {
        append(1 + at * 2, 2);
    }
    held.send(()).unwrap();
    held.send(()).unwrap();
    for _ in 0..11 {
        answered.recv().unwrap();
    }
    common::until("the second commit is told", || told.lock().unwrap().len() == 13);
    assert!(disk.syncs() <= before + 2, "{} syncs for one commit", disk.syncs() - before);
    let told = told.lock().unwrap();
    assert_eq!(told[..2], ["stored from 1", "[(Number(1), Number(1))]"]);
    let order: Vec<String> = (0..10).map(|at| format!("stored from {}", 2 + at * 2)).collect();
    assert_eq!(told[2..12], order);
    assert_eq!(told[12], "[(Number(2), Number(21))]");
    drop(held);
    spool.close().unwrap();
}

#[test]
fn what_is_told_is_what_is_read() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 500, 1_000)).unwrap();
    rig.append("alarms.high", &data(0, 3, 10)).unwrap();
    common::until("both are told", || rig.commits.lock().unwrap().len() == 2);
    let commits = std::mem::take(&mut *rig.commits.lock().unwrap());
    for committed in commits {
        let packets: u64 = committed.runs.iter().map(|s| u64::from(s.run.head().count)).sum();
        assert_eq!(packets, committed.packets);
        for stored in committed.runs {
            let read = rig.read(stored.lane, stored.run.first().0, 1).unwrap();
            assert!(read[0] == stored.run);
            assert_eq!(stored.target, rig.lane(stored.lane).target);
        }
    }
}

#[test]
fn a_run_fills_a_page_of_a_power_of_two() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 6_000, 256)).unwrap();
    let runs = rig.read(Lane(1), 1, usize::MAX).unwrap();
    let sizes: Vec<usize> = runs.iter().map(|run| run.encoded().len()).collect();
    let pages: usize = sizes.iter().map(|bytes| (bytes + 24).next_power_of_two()).sum();
    let bytes: usize = sizes.iter().sum();
    assert!(pages <= bytes + bytes / 8, "{sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes <= 512 * 1024 - 24), "{sizes:?}");
    assert!(runs.len() <= 8, "{sizes:?}");
    assert_eq!(runs.last().unwrap().last(), Number(6_000));
}
