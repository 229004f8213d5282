//! Both sides are killed at random moments under load: what was answered "stored" is handled, once,
//! in order (R1, R2, R3, R4, R6).
//!
//! `PAQUEBOT_TEST_KILLS` makes it longer, `PAQUEBOT_TEST_SEED` repeats a run's moments.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::http::Connection;
use common::{ALL_TO_FILE, Broker};

const WRITERS: usize = 8;

#[test]
fn nothing_stored_is_lost_or_handled_twice_however_often_both_sides_are_killed() {
    let kills: u64 = setting("PAQUEBOT_TEST_KILLS").unwrap_or(8);
    let mut seed = setting("PAQUEBOT_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("PAQUEBOT_TEST_KILLS={kills} PAQUEBOT_TEST_SEED={seed}");
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let stored: Mutex<BTreeMap<String, Vec<String>>> = Mutex::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (port, stored, done) = (broker.source_port, &stored, &done);
            scope.spawn(move || write_until(port, writer, stored, done));
        }
        for kill in 0..kills {
            std::thread::sleep(Duration::from_millis(20 + random(&mut seed) % 400));
            if random(&mut seed).is_multiple_of(2) {
                broker.kill_client();
                broker.start_client();
            } else {
                broker.kill_server();
                broker.start_server();
            }
            if kill % 10 == 9 {
                eprintln!("{} kills", kill + 1);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    broker.drain();

    let stored = stored.into_inner().unwrap();
    let handled = broker.handled("out.ndjson");
    let packets: usize = stored.values().map(Vec::len).sum();
    eprintln!("{packets} packets were answered stored");
    assert!(packets > 0, "no packet was ever stored, so nothing was proved");
    for (target, stored) in &stored {
        let handled = handled.get(target).map(Vec::as_slice).unwrap_or_default();
        let distinct: BTreeSet<&String> = handled.iter().collect();
        assert_eq!(distinct.len(), handled.len(), "{target}: something was handled twice");
        let lost: Vec<_> = stored.iter().filter(|data| !distinct.contains(data)).collect();
        assert!(lost.is_empty(), "{target}: lost {lost:?}");
        // A packet whose answer was cut off may or may not be there; the others keep their order.
        let numbers: Vec<u64> = handled.iter().map(|data| data.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{target}: out of order");
    }
}

/// Posts numbers to a target of its own, remembers those that were answered "stored", and never
/// posts one twice.
fn write_until(
    port: u16,
    writer: usize,
    stored: &Mutex<BTreeMap<String, Vec<String>>>,
    done: &AtomicBool,
) {
    let target = format!("writer.{writer}");
    let mut connection: Option<Connection> = None;
    for number in 0_u64.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let data = number.to_string();
        let Some(open) = connection.take().or_else(|| Connection::try_open(port)) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        connection = Some(open);
        let reply = connection.as_mut().and_then(|open| open.try_post(&target, data.as_bytes()));
        match reply {
            Some(reply) if reply.status == 202 => {
                stored.lock().unwrap().entry(target.clone()).or_default().push(data);
            }
            _ => connection = None,
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// xorshift64*: enough to choose moments.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
}
