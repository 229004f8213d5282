//! The source `http`: every answer and every error that INTERFACE.md names for it, on TCP and on a
//! Unix socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::http::Reply;
use common::{ALL_TO_FILE, Broker, until};

fn assert_problem(reply: &Reply, status: u16, code: &str, detail: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:paquebot:problem:{code}"));
    assert_eq!(problem["status"], status);
    let found = problem["detail"].as_str().unwrap();
    assert!(found.contains(detail), "expected {detail:?} in {found:?}");
}

#[test]
fn each_kind_of_bad_request_is_refused_with_what_was_expected_and_found() {
    let mut broker = Broker::with("max_packet_bytes = \"1 KiB\"", "", ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();

    let reply = connection.post("orders..eu", b"x", &[]);
    assert_problem(&reply, 400, "bad-target", "empty token");
    let reply = connection.post("orders.%20", b"x", &[]);
    assert_problem(&reply, 400, "bad-target", "white space");
    let reply = connection.post("$sys", b"x", &[]);
    assert_problem(&reply, 400, "bad-target", "'$'");
    let reply = connection.post(&"t".repeat(256), b"x", &[]);
    assert_problem(&reply, 400, "bad-target", "255");
    let reply = connection.post("orders", &[b'x'; 1025], &[]);
    assert_problem(&reply, 413, "too-large", "1024");
    let reply = broker.connect().post("orders", b"x", &[("origin", "https://evil.example")]);
    assert_problem(&reply, 403, "forbidden", "allow_origins");
    let reply = broker.connect().post("orders?wait=seen", b"x", &[]);
    assert_problem(&reply, 400, "bad-request", "stored or handled");
    let reply = broker.connect().post("orders?wait=handled&timeout=5", b"x", &[]);
    assert_problem(&reply, 400, "bad-request", "timeout");
    let reply = broker.connect().post("orders?wiat=handled", b"x", &[]);
    assert_problem(&reply, 400, "bad-request", "unknown field `wiat`");
    let reply = broker.connect().post("orders.%ff", b"x", &[]);
    assert_problem(&reply, 400, "bad-target", "Invalid UTF-8");
    let lines = b"{\"target\":\"a\",\"data\":\"x\"}";
    let kind = ("content-type", "application/x-ndjson");
    let headers = [kind, ("idempotency-key", "k")];
    let reply = broker.connect().request("POST", "/v1/packets", lines, &headers);
    assert_problem(&reply, 400, "bad-request", "expected a key for each line");
    let reply = broker.connect().post("orders?timeout=6min", b"x", &[]);
    assert_problem(&reply, 400, "bad-request", "expected at most 5 min");
    assert_eq!(broker.backlog(), 0, "nothing of it was stored");
    assert_eq!(broker.post("orders", &"x".repeat(1024)).status, 202, "the limit itself is fine");
}

#[test]
fn a_batch_has_an_answer_for_each_line_and_keeps_what_is_good() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let reply = broker.connect().post_lines(
        "{\"target\":\"a.1\",\"data\":\"one\"}\n\
         {\"target\":\"a.1\",\"json\":{\"k\": [1, 2]},\"headers\":{\"H-Name\":\"v\"}}\n\
         not json\n\
         \n\
         {\"target\":\"a..1\",\"data\":\"x\"}\n\
         {\"target\":\"a.2\",\"data_base64\":\"AP8=\",\"content_type\":\"x/y\"}\n\
         {\"target\":\"a.2\",\"data\":\"x\",\"json\":1}\n\
         {\"target\":\"a.2\",\"data\":\"x\",\"headers\":{\"no name\":\"v\"}}\n",
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let answers: Vec<serde_json::Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = answers.iter().map(|answer| answer["state"].as_str()).collect();
    let stored = Some("stored");
    assert_eq!(states, [stored, stored, None, None, stored, None, None]);
    // A blank line has no answer, and is a line all the same.
    let lines: Vec<_> = answers.iter().map(|answer| answer["line"].as_u64()).collect();
    assert_eq!(lines, [None, None, Some(3), Some(5), None, Some(7), Some(8)]);
    assert_eq!((&answers[0]["number"], &answers[1]["number"]), (&1.into(), &2.into()));
    assert_eq!(answers[2]["type"], "urn:paquebot:problem:bad-request");
    assert_eq!(answers[3]["type"], "urn:paquebot:problem:bad-target");
    assert_eq!(answers[5]["type"], "urn:paquebot:problem:bad-request");

    until("all three are handled", || broker.lines("out.ndjson").len() == 3);
    let lines = broker.lines("out.ndjson");
    let json = lines.iter().find(|line| line["number"] == 2).unwrap();
    assert_eq!(json["data"], "{\"k\": [1, 2]}", "JSON is kept to the letter");
    assert_eq!(json["headers"]["h-name"], "v", "as in a request");
    let bytes = lines.iter().find(|line| line["target"] == "a.2").unwrap();
    assert_eq!((&bytes["data_base64"], &bytes["data"]), (&"AP8=".into(), &serde_json::Value::Null));
    assert_eq!(bytes["content_type"], "x/y");
}

#[test]
fn whoever_waits_for_handled_hears_it_or_that_it_takes_longer() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let reply = broker.connect().post("a?wait=handled&timeout=50ms", b"x", &[]);
    assert_eq!((reply.status, &reply.json()["state"]), (202, &"stored".into()));
    broker.start_server();
    let reply = broker.connect().post("a?wait=handled&timeout=30s", b"x", &[]);
    assert_eq!(
        (reply.status, &reply.json()["state"]),
        (200, &"handled".into()),
        "{}",
        reply.text()
    );
    assert_eq!(broker.lines("out.ndjson").len(), 2, "handled means that it is in the file");
}

#[test]
fn a_full_spool_refuses_with_a_time_to_come_back_and_takes_packets_again_when_it_is_drained() {
    let small = "[client.spool]\nmax_bytes = \"16 MiB\"";
    let mut broker = Broker::with(small, "", ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();
    let data = vec![b'x'; 256 * 1024];
    let mut stored = 0;
    let refused = loop {
        let reply = connection.post("big", &data, &[]);
        if reply.status != 202 {
            break reply;
        }
        stored += 1;
        assert!(stored < 64, "16 MiB never hold 64 packets of 256 KiB");
    };
    assert_problem(&refused, 429, "spool-full", "");
    assert!(refused.header("retry-after").is_some());
    // Each takes a page of twice its length, and the last eighth is left to other targets.
    assert!(stored >= 10, "only {stored} packets fit");
    let bytes = broker.bytes_of("client/spool");
    assert!(bytes <= 16 * 1024 * 1024, "{stored} packets take {bytes} bytes");
    broker.start_server();
    broker.drain();
    assert_eq!(broker.lines("out.ndjson").len(), stored);
    until("there is room again", || broker.post("big", "x").status == 202);
}

#[test]
fn a_unix_socket_takes_packets_too() {
    let mut broker = Broker::new(ALL_TO_FILE);
    let config = std::fs::read_to_string(broker.path("client.toml")).unwrap();
    let socket = broker.path("in.sock");
    let listen = format!("listen = \"127.0.0.1:{}\"", broker.source_port);
    let unix = format!("listen = \"unix:{}\"", socket.display());
    broker.write("client.toml", &config.replace(&listen, &unix));
    broker.start_client();
    let mut stream = UnixStream::connect(&socket).unwrap();
    let request = "POST /v1/packets/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   content-length: 2\r\n\r\nhi";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(broker.backlog(), 1);
    // A killed process leaves the socket's file behind; the next one replaces it.
    broker.kill_client();
    broker.start_client();
    assert!(UnixStream::connect(&socket).is_ok());
}
