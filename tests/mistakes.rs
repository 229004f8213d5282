//! How a running process answers mistakes, and how it tells why something waits: by the commands and over
//! HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::{Read, Write};
use std::process::Output;

use common::hook::store;
use common::http::Connection;
use common::{Broker, program, until};
use pty_process::blocking::{Command, open};

/// Nothing takes `lost`, so that it becomes dead letters.
const ORDERS: &str = "[[server.handler]]\nname = \"orders\"\ntargets = [\"orders.>\"]\nkind = \"file\"\n\
    path = \"orders.ndjson\"\n\
    [[server.handler]]\nname = \"x\"\ntargets = [\"x\"]\nkind = \"discard\"\n";

fn asked(broker: &Broker, side: &str, arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).arg("-c").arg(broker.path(side)).output().unwrap()
}

/// What a command says when all is well.
fn said(broker: &Broker, side: &str, arguments: &[&str]) -> String {
    let output = asked(broker, side, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// How a command ends, and what it says of it.
fn refused(broker: &Broker, arguments: &[&str]) -> (i32, String) {
    let output = asked(broker, "server.toml", arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn running() -> Broker {
    let mut broker = Broker::new(ORDERS);
    broker.start_server();
    broker.start_client();
    broker
}

fn with_letters(count: usize) -> Broker {
    let broker = running();
    store(&broker, "lost", count);
    broker.drain();
    assert_eq!(broker.server_status()["dead_letters"], count);
    broker
}

#[test]
fn on_a_terminal_all_are_discarded_only_when_somebody_says_so() {
    let broker = with_letters(3);
    for (answer, code, left) in [("n\n", 64, 3), ("\n", 64, 3), ("y\n", 0, 0)] {
        let (mut pty, pts) = open().unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_paquebot"));
        let command = command.args(["dead-letters", "discard", "--all", "-c"]);
        let mut child = command.arg(broker.path("server.toml")).spawn(pts).unwrap();
        let (mut shown, mut chunk) = (Vec::new(), [0; 1024]);
        while !String::from_utf8_lossy(&shown).contains("[y/N]") {
            let read = pty.read(&mut chunk).unwrap();
            shown.extend_from_slice(&chunk[..read]);
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains("Discard all of them, 3 dead letters, for good?"), "{shown}");
        pty.write_all(answer.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{answer:?}");
        assert_eq!(broker.server_status()["dead_letters"], left);
    }
}

#[test]
fn a_handler_that_is_none_is_told_with_those_that_are() {
    let broker = with_letters(1);
    let expected = "--handler: expected one of orders, x, found \"odrers\"";
    for command in ["list", "replay", "discard"] {
        let (code, said) = refused(&broker, &["dlq", command, "--handler", "odrers"]);
        assert_eq!((code, said.trim()), (65, expected), "{command}");
        let (code, said) = refused(&broker, &["dlq", command, "--handler", "orders"]);
        assert_eq!((code, said.as_str()), (0, ""), "there is none of it: {command}");
    }
    let (code, said) = refused(&broker, &["handlers", "pause", "odrers"]);
    assert_eq!((code, said.trim()), (65, "expected one of the handlers orders, x, found odrers"));
    let of_none = said_list(&broker, &["dlq", "list", "--handler", "_unknown"]);
    assert_eq!(of_none.len(), 2, "{of_none:?}");
}

/// The lines of a list, the heads first.
fn said_list(broker: &Broker, arguments: &[&str]) -> Vec<String> {
    said(broker, "server.toml", arguments).lines().map(str::to_owned).collect()
}

#[test]
fn lists_have_heads_and_columns_that_stand_below_each_other() {
    let mut broker = with_letters(12);
    said(&broker, "server.toml", &["handlers", "pause", "orders"]);
    let stands_below = |lines: &[String], head: &str, cell: &str| {
        let at = lines[0].find(head).unwrap_or_else(|| panic!("{head} in {lines:?}"));
        let is_at = |line: &String| line.get(at..).is_some_and(|rest| rest.starts_with(cell));
        assert!(lines[1..].iter().all(is_at), "{head}: {lines:#?}");
    };
    let letters = said_list(&broker, &["dlq", "list"]);
    assert_eq!(letters.len(), 13);
    assert!(letters[0].starts_with("SIDE    ID  "), "{letters:?}");
    for (head, cell) in [
        ("CLIENT", "till-1 "),
        ("TARGET", "lost "),
        ("HANDLER", "_unknown "),
        ("TRIED", "1 "),
        ("REASON", "no handler takes target lost"),
    ] {
        stands_below(&letters, head, cell);
    }
    let handlers = said_list(&broker, &["handlers", "list"]);
    assert_eq!(handlers.len(), 3, "{handlers:?}");
    stands_below(&handlers, "LANES WAIT", "0");
    assert!(handlers[1].starts_with("orders  file     orders.>  paused  "), "{handlers:?}");
    assert!(handlers[1].contains("paused by paquebot handlers pause"), "{handlers:?}");
    assert!(handlers[2].starts_with("x       discard  x         ok "), "{handlers:?}");
    store(&broker, "orders.a", 3);
    broker.stop_client();
    let dir = broker.path("client");
    let spool = program().args(["spool", "list", "--dir"]).arg(dir).output().unwrap();
    let spool: Vec<_> =
        String::from_utf8(spool.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(spool[0].starts_with("LANE  TARGET"), "{spool:?}");
    let of = spool.iter().find(|line| line.contains("orders.a")).unwrap().clone();
    stands_below(&[spool[0].clone(), of], "PENDING", "3 ");
}

#[test]
fn every_error_over_http_is_a_problem_with_its_reason() {
    let broker = with_letters(1);
    let nobody = format!("/v1/packets/{}-1-1", "0".repeat(32));
    for (method, path, body, status, code) in [
        ("GET", nobody.as_str(), "", 404, "not-found"),
        ("GET", "/v1/packets/nonsense", "", 400, "bad-request"),
        ("GET", "/v1/nothing", "", 404, "not-found"),
        ("DELETE", "/v1/status", "", 405, "method-not-allowed"),
        ("GET", "/v1/dead-letters?limit=0", "", 400, "bad-request"),
        ("GET", "/v1/dead-letters?colour=red", "", 400, "bad-request"),
        ("GET", "/v1/dead-letters/nonsense", "", 400, "bad-request"),
        ("POST", "/v1/dead-letters/replay", "no json", 400, "bad-request"),
        ("POST", "/v1/handlers/none/pause", "", 404, "not-found"),
        ("POST", "/v1/handlers/%ff/pause", "", 400, "bad-request"),
    ] {
        let mut connection = Connection::open(broker.server_admin_port);
        let json = [("content-type", "application/json")];
        let reply = connection.request(method, path, body.as_bytes(), &json);
        let text = reply.text();
        assert_eq!(reply.status, status, "{method} {path}: {text}");
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json"),
            "{path}: {text}"
        );
        let problem = reply.json();
        assert_eq!(problem["type"], format!("urn:paquebot:problem:{code}"), "{path}: {text}");
        assert_eq!(problem["status"], status, "{path}: {text}");
        assert!(problem["detail"].as_str().is_some_and(|it| it.len() > 10), "{path}: {text}");
    }
    let unknown = Connection::open(broker.server_admin_port).request("GET", &nobody, b"", &[]);
    assert_eq!(unknown.json()["server"]["state"], "unknown", "{}", unknown.text());
    // Asked for what its process has not, a command says which part is missing.
    let output = program()
        .args(["handlers", "list"])
        .env("PAQUEBOT_ADMIN", format!("http://127.0.0.1:{}", broker.client_admin_port))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("a client where a server is meant?"), "{said}");
}

#[test]
fn status_says_why_each_lane_waits() {
    let mut broker = running();
    said(&broker, "server.toml", &["handlers", "pause", "orders"]);
    store(&broker, "orders.a", 1);
    until("it is paused", || broker.client_status()["lanes"][0]["pause"].is_object());
    let pause = broker.client_status()["lanes"][0]["pause"].clone();
    assert_eq!(pause["reason"], "handler orders is paused", "{pause}");
    let shown = said(&broker, "client.toml", &["status"]);
    assert!(shown.contains("waiting     1 packet, "), "{shown}");
    let lane = shown.lines().find(|line| line.contains("orders.a")).unwrap();
    assert!(lane.contains("handler orders is paused; since 2"), "{shown}");
    assert!(lane.contains(", next try 2"), "{shown}");
    let shown = said(&broker, "server.toml", &["status"]);
    assert!(shown.contains("1 lane waits for it"), "{shown}");
    broker.stop_server();
    until("it waits", || broker.client_status()["connection"]["next_try"].is_string());
    let shown = said(&broker, "client.toml", &["status"]);
    let lane = shown.lines().find(|line| line.contains("orders.a")).unwrap();
    assert!(lane.contains("not connected since 2"), "{shown}");
    assert!(shown.contains("\n  last error  "), "{shown}");
}

#[test]
fn status_says_that_there_is_no_room_until_there_is() {
    let mut broker = Broker::with("[client.spool]\nmax_bytes = \"16 MiB\"\n", "", ORDERS);
    broker.start_client();
    let data = "x".repeat(500_000);
    let mut refused = 0;
    while refused == 0 {
        refused = u64::from(broker.post("orders.a", &data).status == 429);
    }
    let shown = said(&broker, "client.toml", &["status"]);
    assert!(shown.contains("\n  full        since "), "{shown}");
    assert!(shown.contains(" of 16.0 MiB on disk"), "{shown}");
    broker.start_server();
    broker.drain();
    until("there is room again", || broker.post("orders.a", &data).status == 202);
    assert!(broker.client_status()["full"].is_null(), "{}", broker.client_status());
    assert!(!said(&broker, "client.toml", &["status"]).contains("\n  full  "));
}
