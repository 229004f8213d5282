//! `send --lines`: a file at full speed, a slow pipe without delay, and what is said when it stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use common::{ALL_TO_FILE, Broker, program};

fn send(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("send").args(arguments).arg("-c").arg(broker.path("client.toml"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn send_all(broker: &Broker, arguments: &[&str], input: &[u8]) -> Output {
    broker.write("input", "");
    std::fs::write(broker.path("input"), input).unwrap();
    let mut command = send(broker, arguments);
    command.arg("--lines").arg(format!("@{}", broker.path("input").display()));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn each_line_is_a_packet_in_order_and_many_share_a_commit() {
    const LINES: usize = 5_000;
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let input: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let done =
        send_all(&broker, &["a", "--header", "k=v", "--content-type", "x/y"], input.as_bytes());
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let ids = text(&done.stdout);
    assert_eq!(ids.lines().count(), LINES);
    assert!(ids.lines().last().unwrap().ends_with("-1-5000"), "ids come in the lines' order");
    let commits = "paquebot_commit_seconds_count{store=\"spool\"}";
    let commits = broker.metric(broker.client_admin_port, commits).unwrap();
    assert!(commits < 100.0, "{commits} commits for {LINES} lines");
    broker.start_server();
    broker.drain();
    let expected: Vec<String> = (0..LINES).map(|number| number.to_string()).collect();
    assert_eq!(broker.handled("out.ndjson")["a"], expected);
    let line = &broker.lines("out.ndjson")[7];
    assert_eq!((&line["headers"]["k"], &line["content_type"]), (&"v".into(), &"x/y".into()));
}

#[test]
fn bytes_are_kept_and_a_last_line_needs_no_end() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    broker.start_server();
    let done = send_all(&broker, &["a"], b"\xff\xfe\n\nlast");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    broker.drain();
    let lines = broker.lines("out.ndjson");
    assert_eq!(lines[0]["data_base64"], "//4=");
    assert_eq!((&lines[1]["data"], &lines[2]["data"]), (&"".into(), &"last".into()));
}

#[test]
fn a_slow_pipe_is_sent_line_by_line() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let mut child = send(&broker, &["a", "--lines"]).spawn().unwrap();
    let (mut pipe, ids) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut ids = BufReader::new(ids).lines();
    for number in 1..=3 {
        writeln!(pipe, "line").unwrap();
        // The pipe stays open: it does not wait for more.
        let id = ids.next().unwrap().unwrap();
        assert!(id.ends_with(&format!("-1-{number}")), "{id}");
    }
    drop(pipe);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_refused_is_told_with_its_line_and_takes_only_itself_out() {
    let mut broker = Broker::with("max_packet_bytes = \"1 KiB\"", "", ALL_TO_FILE);
    broker.start_client();
    let input = format!("one\n{}\nthree\n", "x".repeat(2_000));
    let done = send_all(&broker, &["a"], input.as_bytes());
    assert_eq!(done.status.code(), Some(65));
    let said = text(&done.stderr);
    assert!(said.contains("line 2: "), "{said}");
    assert!(said.contains("at most 1024 bytes of data, found 2000"), "{said}");
    assert!(said.contains("2 lines were stored, 1 were refused"), "{said}");
    assert_eq!(broker.backlog(), 2);
}

#[test]
fn a_full_spool_ends_it_and_says_where_to_go_on() {
    let small = "[client.spool]\nmax_bytes = \"16 MiB\"";
    let mut broker = Broker::with(small, "", ALL_TO_FILE);
    broker.start_client();
    let line = "x".repeat(64 * 1024);
    let input: String = (0..300).map(|number| format!("{number:03}{line}\n")).collect();
    let done = send_all(&broker, &["a"], input.as_bytes());
    assert_eq!(done.status.code(), Some(75), "{}", text(&done.stderr));
    let stored = text(&done.stdout).lines().count();
    assert!(stored > 20 && stored < 300, "{stored} lines fit");
    let said = text(&done.stderr);
    let where_to = format!("{stored} lines were stored; go on from line {}", stored + 1);
    assert!(said.contains(&where_to), "{said}");
    broker.start_server();
    broker.drain();
    let handled = broker.handled("out.ndjson").remove("a").unwrap();
    assert_eq!(handled.len(), stored);
    assert!((0..stored).all(|at| handled[at].starts_with(&format!("{at:03}"))), "in order");
}

#[test]
fn with_wait_handled_a_dead_letter_does_not_keep_the_others_back() {
    let handler = ALL_TO_FILE.replace("\">\"", "\"known\"");
    let mut broker = Broker::new(&handler);
    broker.start_client();
    broker.start_server();
    let wait = ["--wait", "handled"];
    let done = send_all(&broker, &["nobody", wait[0], wait[1]], b"one\ntwo\n");
    assert_eq!(done.status.code(), Some(65));
    let said = text(&done.stderr);
    for expected in ["line 1: ", "line 2: ", "0 lines were handled, 2 were not taken"] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    let done = send_all(&broker, &["known", wait[0], wait[1]], b"one\ntwo\n");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
}
