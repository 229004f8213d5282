//! `paquebot torture`, a short form of it: real processes are killed, frozen, stopped and cut off,
//! and nothing is lost, nothing is twice, order is kept (R1, R2, R3, R4, R5, R6, R8, R11).
//!
//! `PAQUEBOT_TEST_TORTURE_SECONDS` makes it longer, `PAQUEBOT_TEST_SEED` repeats a plan of faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use common::{paquebot, program, until};
use serde_json::Value;

/// Two at once would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn torture(seed: &str) -> Value {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = setting("PAQUEBOT_TEST_TORTURE_SECONDS").unwrap_or("12".to_owned());
    let done = paquebot(["torture", "--seconds", &seconds, "--seed", seed, "--json"]);
    let said = String::from_utf8_lossy(&done.stderr);
    eprintln!("{said}");
    assert_eq!(done.status.code(), Some(0), "seed {seed}");
    assert!(said.starts_with(&format!("torture: seed {seed}")), "the seed comes first");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// A run in which nothing happened proves nothing.
fn was_a_torture(figures: &Value) {
    let kills: u64 = figures["kills"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert!(kills >= 3, "{figures:#}");
    for number in ["stored", "handled", "dead_lettered"] {
        assert!(figures[number].as_u64().unwrap() > 20, "{number}: {figures:#}");
    }
    for number in ["expired", "evicted", "lanes_retired"] {
        assert!(figures[number].as_u64().unwrap() > 0, "{number}: {figures:#}");
    }
    for (group, kind) in [("cuts", "connections"), ("receiver", "accepted")] {
        assert!(figures[group][kind].as_u64().unwrap() > 10, "{group}, {kind}: {figures:#}");
    }
    for offence in ["lost", "twice", "out_of_order"] {
        assert_eq!(figures[offence], 0);
    }
    assert!(figures["drain_seconds_max"].as_f64().is_some());
}

#[test]
fn nothing_is_lost_or_twice_under_a_known_plan_of_faults() {
    was_a_torture(&torture("7"));
}

#[test]
fn nothing_is_lost_or_twice_under_a_plan_that_nobody_has_seen() {
    let drawn = || u64::from(std::process::id()) << 20 | u64::from(common::free_port());
    let seed = setting("PAQUEBOT_TEST_SEED").unwrap_or_else(|| drawn().to_string());
    eprintln!("PAQUEBOT_TEST_SEED={seed}");
    was_a_torture(&torture(&seed));
}

#[test]
fn whoever_interrupts_it_finds_no_process_left_behind() {
    let mut torture = program()
        .args(["torture", "--seconds", "600", "--clients", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(torture.stderr.take().unwrap());
    let mut children: Vec<String> = Vec::new();
    let parent = torture.id();
    until("it has started three processes", || {
        children = children_of(parent);
        children.len() == 3
    });
    let pid = rustix::process::Pid::from_child(&torture);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(torture.wait().unwrap().code(), Some(70));
    // Some may have been started since: all of them have written to the same directory.
    let dir = said.lines().map(Result::unwrap).find_map(|line| {
        line.split(' ').find(|word| word.contains("paquebot-torture-")).map(str::to_owned)
    });
    let dir = dir.expect("it says where it works");
    assert!(!fs::exists(&dir).unwrap(), "{dir} is left behind");
    let left: Vec<_> = children.iter().filter(|pid| is_alive(pid)).collect();
    assert!(left.is_empty(), "{left:?} are left behind");
}

/// The processes that a process has started, by `/proc`.
fn children_of(parent: u32) -> Vec<String> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap()) {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        if after_name.split_whitespace().nth(1) == Some(&parent.to_string()) {
            children.push(entry.file_name().into_string().unwrap());
        }
    }
    children
}

/// Whether this is still the process of a broker.
fn is_alive(pid: &str) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("paquebot-torture-")
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
