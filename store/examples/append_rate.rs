//! How fast the spool stores packets: `cargo run --release --example append_rate -p paquebot-store`.
//!
//! Packets of 256 bytes to one target, so many per commit, with the acknowledgement of what lies
//! 10,000 packets back; then without any acknowledgement, which is a client that is offline.

#![allow(clippy::unwrap_used, reason = "a measurement that fails may say so by ending")]
#![allow(clippy::disallowed_methods, clippy::indexing_slicing, reason = "it measures time")]

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use paquebot_protocol::{Batch, Number, Packet, TargetId};
use paquebot_store::{Append, Committed, FileDisk, Spool, SpoolOptions};

const BEHIND: u64 = 10_000;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(2);
    println!("packets per commit | packets/s | commits/s | median commit | files");
    for per_commit in [1, 100, 1_000, 4_000, 10_000] {
        measure(per_commit, true, Duration::from_secs(seconds));
    }
    for per_commit in [1_000, 4_000, 10_000] {
        measure(per_commit, false, Duration::from_secs(seconds));
    }
}

/// One commit follows another: the next batches gather while one is written, as in the program.
fn measure(per_commit: usize, acknowledge: bool, length: Duration) {
    let dir = std::env::temp_dir().join(format!("append-rate-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let took = Arc::new(Mutex::new(Vec::new()));
    let on_commit = {
        let took = Arc::clone(&took);
        move |committed: Committed| took.lock().unwrap().push(committed.took)
    };
    let options = SpoolOptions::new(&dir, 4 << 30, 1_000);
    let (spool, _) = Spool::open(options, Arc::new(FileDisk), Box::new(on_commit)).unwrap();
    let target: TargetId = "bench.append".parse().unwrap();
    let data = vec![7; 256];
    let mut batch = Batch::with_capacity(per_commit, per_commit * 272);
    for at in 0..per_commit {
        batch.push(&Packet { created_ms: at as u64, data: &data, ..Packet::default() });
    }
    let (answers, answered) = mpsc::channel();
    let append = || {
        let answers = answers.clone();
        let reply = Box::new(move |stored| drop(answers.send(stored)));
        spool.append(Append { target: target.clone(), batch: batch.clone(), reply });
    };
    append();
    let (begun, mut packets) = (Instant::now(), 0);
    while begun.elapsed() < length {
        let stored = answered.recv().unwrap().unwrap();
        append();
        packets += stored.count;
        let through = (stored.first.0 + stored.count).saturating_sub(BEHIND + 1);
        if acknowledge {
            spool.drop_through(stored.lane, Number(through), 0, 0);
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    answered.recv().unwrap().unwrap();
    let status = spool.status();
    let mut took = took.lock().unwrap().clone();
    took.sort();
    println!(
        "{per_commit:>6} {} | {:>9.0} | {:>6.0} | {:>8.0?} | {:.1} MiB in {} segments",
        if acknowledge { "acknowledged" } else { "offline     " },
        packets as f64 / elapsed,
        took.len() as f64 / elapsed,
        took[took.len() / 2],
        status.file_bytes as f64 / 1_048_576.0,
        status.segments,
    );
    spool.close().unwrap();
    let _ = std::fs::remove_dir_all(&dir);
}
