//! The source `http` and those who wait: for room in a full spool, no longer than they say and only
//! while they are there; and for the outcome of a packet, also when they ask for it again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::http::Reply;
use common::{ALL_TO_FILE, Broker, until};
use serde_json::{Value, json};

const KIBIBYTES: usize = 1024;

fn problem_of(reply: &Reply) -> String {
    let problem = reply.json();
    format!(
        "{} {}",
        problem["status"],
        problem["type"].as_str().unwrap().rsplit_once(':').unwrap().1
    )
}

/// A total of the client for one target.
fn total(broker: &Broker, event: &str, target: &str) -> u64 {
    let series = format!("paquebot_client_packets_total{{event=\"{event}\",target=\"{target}\"}}");
    broker.metric(broker.client_admin_port, &series).map_or(0, |total| total as u64)
}

/// Data that finds no room where a little would.
fn large(name: &str) -> Vec<u8> {
    let mut data = name.as_bytes().to_vec();
    data.resize(256 * KIBIBYTES, b' ');
    data
}

/// A client whose spool is full of packets to `a`, and lets senders wait; how many there are, and what
/// the last one heard that found no room.
fn full() -> (Broker, usize, Reply) {
    let keys = "[client.spool]\nmax_bytes = \"16 MiB\"\nwhen_full = \"block\"";
    let mut broker = Broker::with(keys, "", ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();
    for stored in 0..64 {
        let reply = connection.post("a?timeout=200ms", &large("filler"), &[]);
        if reply.status != 202 {
            return (broker, stored, reply);
        }
    }
    unreachable!("16 MiB never hold 64 packets of 256 KiB")
}

#[test]
fn who_finds_no_room_in_time_hears_so_and_it_is_not_stored_later() {
    let (mut broker, stored, refused) = full();
    assert_eq!(problem_of(&refused), "429 spool-full");
    assert!(refused.header("retry-after").is_some());
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("; none came in time"), "{detail}");

    let began = Instant::now();
    let reply = broker.connect().post("a?timeout=300ms&wait=handled", &large("late"), &[]);
    assert_eq!(problem_of(&reply), "429 spool-full");
    assert!(began.elapsed() >= Duration::from_millis(300), "it waited {:?}", began.elapsed());
    let line = format!("{}\n", json!({"target": "a", "data": "late".repeat(64 * KIBIBYTES)}));
    let kind = [("content-type", "application/x-ndjson")];
    let reply =
        broker.connect().request("POST", "/v1/packets?timeout=100ms", line.as_bytes(), &kind);
    assert_eq!((reply.status, problem_of(&reply)), (200, "429 spool-full".to_owned()));
    assert_eq!(reply.json()["line"], 1);

    let mut patient = broker.connect();
    let waits = thread::spawn(move || patient.post("a?timeout=60s", &large("patient"), &[]));
    broker.start_server();
    assert_eq!(waits.join().unwrap().status, 202, "whoever waits finds room when there is some");
    broker.drain();
    let handled = &broker.handled("out.ndjson")["a"];
    assert!(handled.last().unwrap().starts_with("patient"));
    assert!(!handled.iter().any(|data| data.starts_with("late")));
    assert_eq!(handled.len(), stored + 1);
}

/// Waits until somebody waits for room: until then a little finds some, and nothing overtakes.
fn until_somebody_waits(broker: &Broker) {
    until("somebody waits", || broker.connect().post("a?timeout=0s", b"little", &[]).status == 429);
}

#[test]
fn nothing_is_stored_for_who_has_hung_up() {
    let (mut broker, stored, _) = full();
    let data = large("gone");
    let mut stream = TcpStream::connect(("127.0.0.1", broker.source_port)).unwrap();
    let head = format!(
        "POST /v1/packets/a?timeout=5min HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        data.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&data).unwrap();
    until_somebody_waits(&broker);
    drop(stream);
    until("it is given up, and others have room", || {
        broker.connect().post("a?timeout=0s", b"little", &[]).status == 202
    });
    broker.start_server();
    broker.drain();
    let handled = &broker.handled("out.ndjson")["a"];
    assert!(!handled.iter().any(|data| data.starts_with("gone")));
    assert_eq!(handled.iter().filter(|data| data.starts_with("filler")).count(), stored);
}

#[test]
fn who_waits_for_room_is_answered_when_the_client_stops() {
    let (mut broker, _, _) = full();
    let mut connection = broker.connect();
    let waits = thread::spawn(move || connection.post("a?timeout=5min", &large("x"), &[]));
    until_somebody_waits(&broker);
    let began = Instant::now();
    broker.stop_client();
    assert!(began.elapsed() < Duration::from_secs(8), "stopped after {:?}", began.elapsed());
    assert_eq!(problem_of(&waits.join().unwrap()), "503 stopping");
}

#[test]
fn who_repeats_a_key_waits_for_the_outcome_of_the_first_packet() {
    let some = ALL_TO_FILE.replace("\">\"", "\"a\"");
    let mut broker = Broker::new(&some);
    broker.start_client();
    let post = |broker: &Broker, target: &str, timeout: &str| {
        let path = format!("{target}?wait=handled&timeout={timeout}");
        broker.connect().post(&path, b"x", &[("idempotency-key", target)])
    };
    let first = post(&broker, "a", "10ms");
    assert_eq!((first.status, &first.json()["state"]), (202, &"stored".into()));
    let again = post(&broker, "a", "10ms");
    assert_eq!((again.status, again.json()), (202, first.json()), "still under way");
    let (mut one, mut other) = (broker.connect(), broker.connect());
    let key = [("idempotency-key", "a")];
    let one = thread::spawn(move || one.post("a?wait=handled&timeout=60s", b"x", &key));
    let other = thread::spawn(move || other.post("a?wait=handled&timeout=60s", b"x", &key));
    broker.start_server();
    for heard in [one.join().unwrap(), other.join().unwrap(), post(&broker, "a", "60s")] {
        assert_eq!((heard.status, &heard.json()["state"]), (200, &"handled".into()));
        assert_eq!(heard.json()["id"], first.json()["id"]);
    }
    for _ in 0..2 {
        let dead = post(&broker, "nobody", "60s");
        assert_eq!(problem_of(&dead), "422 dead-lettered");
    }
    // A later packet of the same lane changes nothing for the first.
    assert_eq!(broker.connect().post("nobody?wait=handled", b"y", &[]).status, 422);
    assert_eq!(problem_of(&post(&broker, "nobody", "60s")), "422 dead-lettered");
    until("the drops are on disk", || broker.backlog() == 0);
    broker.stop_client();
    broker.start_client();
    assert_eq!(post(&broker, "a", "60s").status, 200, "all packets of the lane were handled");
    let began = Instant::now();
    assert_eq!(
        post(&broker, "nobody", "60s").json()["state"],
        "stored",
        "it is not known any more"
    );
    assert!(began.elapsed() < Duration::from_secs(30), "and nobody waits for it");
    assert_eq!(broker.handled("out.ndjson")["a"], ["x"]);
}

#[test]
fn a_batch_may_wait_for_each_outcome() {
    let some = ALL_TO_FILE.replace("\">\"", "\"a\"");
    let mut broker = Broker::new(&some);
    broker.start_client();
    let line = |target: &str, data: &str, key: Option<&str>| {
        let mut line = json!({"target": target, "data": data});
        if let Some(key) = key {
            line["idempotency_key"] = key.into();
        }
        format!("{line}\n")
    };
    let text = [
        line("a", "1", Some("1")),
        line("nobody", "2", None),
        line("a", "3", None),
        line("nobody", "4", Some("4")),
        line("a..b", "5", None),
    ];
    let post = |broker: &Broker, timeout: &str| -> Vec<Value> {
        let path = format!("/v1/packets?wait=handled&timeout={timeout}");
        let kind = [("content-type", "application/x-ndjson")];
        let reply = broker.connect().request("POST", &path, text.concat().as_bytes(), &kind);
        assert_eq!(reply.status, 200);
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let in_words = |answers: &[Value]| -> Vec<String> {
        let of = |answer: &Value| match answer["type"].as_str() {
            Some(urn) => format!("{} {}", answer["line"], urn.rsplit_once(':').unwrap().1),
            None => answer["state"].as_str().unwrap().to_owned(),
        };
        answers.iter().map(of).collect()
    };
    let early = post(&broker, "10ms");
    assert_eq!(in_words(&early), ["stored", "stored", "stored", "stored", "5 bad-target"]);
    broker.start_server();
    let late = post(&broker, "60s");
    let expected = ["handled", "2 dead-lettered", "handled", "4 dead-lettered", "5 bad-target"];
    assert_eq!(in_words(&late), expected);
    assert_eq!(late[0]["id"], early[0]["id"], "the same packet");
    assert_eq!(broker.handled("out.ndjson")["a"], ["1", "3", "3"]);
}

#[test]
fn nobody_hears_handled_of_a_packet_that_expired() {
    let policy = "[[client.policy]]\ntargets = [\"short.*\"]\nttl = \"1 s\"";
    let mut broker = Broker::with(policy, "", ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();
    let key = [("idempotency-key", "k")];
    let waits =
        thread::spawn(move || connection.post("short.1?wait=handled&timeout=60s", b"x", &key));
    until("it has expired", || total(&broker, "expired", "short.1") == 1);
    broker.start_server();
    let heard = waits.join().unwrap();
    assert_eq!(problem_of(&heard), "422 skipped");
    let detail = heard.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("its time to live was over"), "{detail}");
    let again = broker.connect().post("short.1?wait=handled", b"x", &key);
    assert_eq!(problem_of(&again), "422 skipped", "whoever asks again hears the same");
    let long = broker.connect().post("short.1?wait=handled", b"y", &[("paquebot-ttl", "1 h")]);
    assert_eq!(long.status, 200, "{}", long.text());
}
