//! A replay is bounded: in memory, whatever it is about, and in time, when nobody waits for it any more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::destination::{Answer, Destination};
use common::hook::{numbers, started, store};
use common::{ALL_TO_FILE, Broker, program, until};

const NOBODY: &str =
    "[[server.handler]]\nname = \"none\"\ntargets = [\"none\"]\nkind = \"discard\"\n";

/// More than a server of its size may hold of them: 50 MiB of letters, and it may grow by 24 MiB.
const LETTERS: usize = 400;
const LETTER_BYTES: usize = 128 * 1024;
const GROWTH_KIB_MAX: u64 = 24 * 1024;

/// The most memory that a process of this config has had, in KiB.
fn peak_kib(broker: &Broker) -> u64 {
    let config = broker.path("server.toml").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ours = processes.filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("run\0-c\0{config}"))
    });
    let status = ours.map(|process| fs::read_to_string(process.path().join("status")).unwrap());
    let status: Vec<String> = status.collect();
    assert_eq!(status.len(), 1);
    let peak = status[0].lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn letters_are_not_held_in_memory() {
    let mut broker = Broker::new(NOBODY);
    broker.start_server();
    broker.start_client();
    let data = vec![b'x'; LETTER_BYTES];
    let mut connection = broker.connect();
    for at in 0..LETTERS {
        assert_eq!(connection.post(&format!("t.{}", at % 40), &data, &[]).status, 202);
    }
    broker.drain();
    broker.stop_server();
    broker.edit("server.toml", NOBODY, ALL_TO_FILE);
    broker.start_server();
    assert_eq!(broker.server_status()["dead_letters"], LETTERS);
    let before = peak_kib(&broker);
    let mut command = program();
    command.args(["dlq", "replay", "--all", "-c"]).arg(broker.path("server.toml"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    assert_eq!(broker.lines("out.ndjson").len(), LETTERS);
    let grown = peak_kib(&broker) - before;
    assert!(grown < GROWTH_KIB_MAX, "the server grew by {grown} KiB from {before} KiB");
    // And its disk is given back.
    until("the segments are removed", || broker.bytes_of("server/dead-letters") < 40 << 20);
}

#[test]
fn a_replay_that_nobody_waits_for_ends() {
    let destination = Destination::start();
    destination.answer(|_| Answer::Status(422));
    let broker = started(destination.port, "");
    store(&broker, "a", 200);
    broker.drain();
    destination.answer(|_| Answer::After(Duration::from_millis(20), 200));
    let mut command = program();
    command.args(["dlq", "replay", "--all", "-c"]).arg(broker.path("server.toml"));
    let mut replay = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it has begun", || destination.parcels().len() > 203);
    replay.kill().unwrap();
    replay.wait().unwrap();
    broker.server_says("dead letters were replayed");
    let left = broker.server_status()["dead_letters"].as_u64().unwrap();
    assert!(left > 100, "it went on: {left} are left");
    // What was tried is gone, and what was not comes in order the next time.
    destination.answer(|_| Answer::Status(200));
    let mut command = program();
    command.args(["dlq", "replay", "--all", "-c"]).arg(broker.path("server.toml"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    assert_eq!(destination.accepted()["a"], numbers(200));
}
