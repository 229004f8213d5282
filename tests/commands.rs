//! The commands, as a user meets them: what they print, and how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{ALL_TO_FILE, Broker, Process, paquebot, program, until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    assert_eq!(paquebot(["--nonsense"]).status.code(), Some(64));
    assert_eq!(paquebot(["send"]).status.code(), Some(64));
    assert_eq!(paquebot(["send", "a..b", "x"]).status.code(), Some(64));
    let help = paquebot(["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("bench"), "{}", text(&help.stdout));
}

#[test]
fn a_config_that_is_missing_or_wrong_ends_with_78_and_says_where() {
    let missing = paquebot(["run", "-c", "/nowhere/config.toml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).contains("/nowhere/config.toml"));
    let broker = Broker::new(ALL_TO_FILE);
    broker.write("wrong.toml", "[client]\ndata_dir = 5\nserver = []\n");
    let path = broker.path("wrong.toml");
    for command in ["run", "check", "validate"] {
        let wrong = program().arg(command).arg("-c").arg(&path).output().unwrap();
        assert_eq!(wrong.status.code(), Some(78), "{command}");
        let said = text(&wrong.stderr);
        assert!(said.contains("wrong.toml:2:"), "{said}");
        assert!(said.contains("servers"), "the missing key, too: {said}");
    }
}

#[test]
fn check_says_what_each_route_guarantees() {
    let broker = Broker::new(ALL_TO_FILE);
    let path = broker.path("server.toml");
    let checked = program().args(["check", "-c"]).arg(path).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let said = text(&checked.stdout);
    assert!(said.contains("is valid") && said.contains("exactly once"), "{said}");
}

#[test]
fn send_hands_over_text_files_and_standard_input() {
    let mut broker = Broker::new(ALL_TO_FILE);
    let config = broker.path("client.toml");
    let send = |arguments: &[&str], input: &str| {
        let mut command = program();
        command.arg("send").args(arguments).arg("-c").arg(&config);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let absent = send(&["a", "x"], "");
    assert_eq!(absent.status.code(), Some(69), "{}", text(&absent.stderr));

    broker.start_client();
    let late = send(&["a", "nobody", "--wait", "handled", "--timeout", "50 ms"], "");
    assert_eq!(late.status.code(), Some(75), "{}", text(&late.stderr));
    broker.start_server();
    broker.write("file.txt", "from a file");
    let file = format!("@{}", broker.path("file.txt").display());
    let sent = send(&["a", "text", "--header", "k=v", "--content-type", "text/plain"], "");
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    let id = text(&sent.stdout);
    assert_eq!(id.trim().split('-').count(), 3, "{id}");
    for (arguments, input) in [
        (&["a", file.as_str()] as &[&str], ""),
        (&["a", "@@at"], ""),
        (&["a"], "piped"),
        (&["a", "-"], "dashed"),
        (&["a", "--lines"], "l1\nl2\n"),
        (&["a", "last", "--wait", "handled"], ""),
    ] {
        let sent = send(arguments, input);
        assert_eq!(sent.status.code(), Some(0), "{arguments:?}: {}", text(&sent.stderr));
    }
    let expected = ["nobody", "text", "from a file", "@at", "piped", "dashed", "l1", "l2", "last"];
    assert_eq!(broker.handled("out.ndjson")["a"], expected);
    let line = broker.lines("out.ndjson").remove(1);
    assert_eq!((&line["id"], &line["headers"]["k"]), (&id.trim().into(), &"v".into()));
}

#[test]
fn status_shows_both_sides_in_words_and_as_json() {
    let mut broker = Broker::new(ALL_TO_FILE);
    let status = |name: &str, json: bool| {
        let mut command = program();
        command.args(["status", "-c"]).arg(broker.path(name)).args(json.then_some("--json"));
        command.output().unwrap()
    };
    assert_eq!(status("client.toml", false).status.code(), Some(69), "nobody is there");
    broker.start_server();
    broker.start_client();
    until("it is connected", || broker.client_status()["connection"]["state"] == "connected");
    let status = |name: &str, json: bool| {
        let mut command = program();
        command.args(["status", "-c"]).arg(broker.path(name)).args(json.then_some("--json"));
        text(&command.output().unwrap().stdout)
    };
    assert!(status("client.toml", false).contains("connected"));
    assert!(status("server.toml", false).contains("till-1"));
    let json: serde_json::Value = serde_json::from_str(&status("server.toml", true)).unwrap();
    assert_eq!(json["server"]["clients"][0]["client"], "till-1");
}

#[test]
fn a_data_directory_has_one_process() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let second = program().args(["run", "-c"]).arg(broker.path("client.toml")).output().unwrap();
    assert_eq!(second.status.code(), Some(75), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("another process"), "{}", text(&second.stderr));
}

#[test]
fn sigterm_stops_in_order_with_0_and_nothing_comes_twice_afterwards() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    for number in 0..100 {
        assert_eq!(broker.post("a", &number.to_string()).status, 202);
    }
    assert_eq!(broker.client.take().map(Process::stop), Some(0));
    assert_eq!(broker.server.take().map(Process::stop), Some(0));
    assert!(!broker.path("client/admin.sock").exists(), "the socket is gone with the process");
    broker.start_server();
    broker.start_client();
    broker.drain();
    let expected: Vec<String> = (0..100).map(|number: u64| number.to_string()).collect();
    assert_eq!(broker.handled("out.ndjson")["a"], expected);
}

#[test]
fn a_level_that_is_none_does_not_silence_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, "[server]\nlisten = '127.0.0.1:0'\ndata_dir = 's'\n").unwrap();
    let ran = program().arg("run").arg("-c").arg(&path).env("PAQUEBOT_LOG", "inof").output();
    let ran = ran.unwrap();
    assert_eq!(ran.status.code(), Some(64));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("PAQUEBOT_LOG: expected error, warn, info"), "{said}");
    assert!(said.contains("found \"inof\""), "{said}");
}
