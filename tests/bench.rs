//! The command `bench`: every door, and what it says, on small loads. Its figures are judged by nobody
//! here: what must not grow is counted in `store/tests/cost.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::program;
use serde_json::Value;

/// Measures in an empty directory, which is empty afterwards.
fn bench(args: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let measured =
        program().arg("bench").args(args).arg("--json").current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&measured.stderr).into_owned();
    assert_eq!(measured.status.code(), Some(0), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it cleans up");
    serde_json::from_slice(&measured.stdout).unwrap()
}

fn assert_positive(figures: &Value, keys: &[&str]) {
    for key in keys {
        assert!(figures[key].as_f64().is_some_and(|figure| figure > 0.0), "{key} in {figures}");
    }
}

fn assert_latencies(figures: &Value, stage: &str) {
    let latency = &figures["latency_us"][stage];
    let steps = ["p50", "p90", "p99", "p999", "max"].map(|step| latency[step].as_u64());
    assert!(steps[0] > Some(0) && steps.is_sorted(), "{stage}: {latency}");
}

#[test]
fn real_processes_and_the_ideal_pipe_beside_them() {
    let figures = bench(&["--packets", "20000", "--in-flight", "1000", "--ideal"]);
    assert_eq!((&figures["packets"], &figures["size"]), (&20_000.into(), &256.into()));
    let all = [
        "stored_per_second",
        "handled_per_second",
        "cpu_us_per_packet",
        "client_rss_peak_bytes",
        "server_rss_peak_bytes",
        "disk_bytes_per_packet",
        "wire_bytes_per_packet",
        "spool_file_bytes",
        "ratio_to_ideal",
    ];
    assert_positive(&figures, &all);
    assert_latencies(&figures, "stored");
    assert_latencies(&figures, "handled");
    assert!(figures["wire_bytes_per_packet"].as_f64() > Some(256.0));
}

#[test]
fn several_clients_and_targets_for_some_time_after_a_warm_up() {
    let args = ["--clients", "3", "--targets", "5", "--seconds", "1", "--warm-up", "300"];
    let figures = bench(&[&args[..], &["--in-flight", "90", "--handler", "file"]].concat());
    assert_positive(&figures, &["packets", "handled_per_second", "slowest_client_share"]);
    assert!(figures["slowest_client_share"].as_f64() <= Some(1.0), "{figures}");
    assert_eq!(figures["clients"], 3);
    assert_latencies(&figures, "handled");
}

#[test]
fn over_http_beside_a_handler_that_keeps_nothing() {
    let args = ["--source", "http", "--packets", "500", "--warm-up", "50", "--targets", "2"];
    let figures = bench(&[&args[..], &["--ideal", "--in-flight", "8"]].concat());
    assert_positive(&figures, &["stored_per_second", "handled_per_second", "ratio_to_ideal"]);
    assert_latencies(&figures, "stored");
    assert_eq!(figures["packets"], 500, "without those of the warm-up");
}

#[test]
fn the_lines_of_a_growing_log() {
    let figures = bench(&["--source", "tail", "--packets", "2000", "--in-flight", "100"]);
    assert_positive(&figures, &["handled_per_second"]);
    assert_eq!(figures["packets"], 2_000);
}

#[test]
fn a_backlog_grows_outlives_a_kill_and_drains() {
    let figures = bench(&["--backlog", "--packets", "20000", "--in-flight", "1000"]);
    let all = [
        "stored_first_tenth_per_second",
        "stored_last_tenth_per_second",
        "sigkill_to_ready_ms",
        "handled_per_second",
    ];
    assert_positive(&figures, &all);
    assert_latencies(&figures, "stored");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let refused: [&[&str]; 4] = [
        &["--packets", "0"],
        &["--source", "tail", "--targets", "2"],
        &["--source", "http", "--backlog"],
        &["--seconds", "1", "--backlog"],
    ];
    for args in refused {
        let ended = program().arg("bench").args(args).output().unwrap();
        assert_eq!(ended.status.code(), Some(64), "{args:?}");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains(args[args.len() - 1]) || said.contains(args[0]), "{said}");
    }
}
