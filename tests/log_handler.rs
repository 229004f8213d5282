//! The handler `log`: each packet is a line in the server's own log, at least once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::hook::{await_outcomes, broker_of, store};
use common::{Broker, until};

fn started(keys: &str) -> Broker {
    let mut broker = broker_of(&format!("kind = 'log'\n{keys}"));
    broker.start_server();
    broker.start_client();
    broker
}

/// The log's lines about packets.
fn packets(broker: &Broker) -> Vec<String> {
    let log = broker.server_log();
    log.lines().filter(|line| line.contains(" packet handler=")).map(str::to_owned).collect()
}

#[test]
fn a_line_says_who_sent_what_to_whom() {
    let broker = started("");
    let reply = broker.connect().post("orders.a?wait=handled", b"two\nlines, \"17\"", &[]);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let lines = packets(&broker);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    for said in [
        " INFO ",
        &format!("id={id}"),
        "client=till-1",
        "target=orders.a",
        "number=1",
        "size=15",
        "data=\"two\\nlines, \\\"17\\\"\"",
    ] {
        assert!(line.contains(said), "{said}: {line}");
    }
    await_outcomes(&broker, [("handled", 1.0)]);
}

#[test]
fn data_are_shown_as_far_as_people_read_and_as_text() {
    let broker = started("level = 'error'");
    let long = "x".repeat(10_000);
    assert_eq!(broker.post("a?wait=handled", &long).status, 200);
    let bytes = [b'o', 0xff, b'k'];
    assert_eq!(broker.connect().post("b?wait=handled", &bytes, &[]).status, 200);
    let lines = packets(&broker);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(" ERROR ") && lines[0].contains("size=10000"), "{}", lines[0]);
    assert_eq!(lines[0].matches('x').count(), 4096);
    assert!(lines[1].contains("data=\"o\u{fffd}k\""), "{}", lines[1]);
}

#[test]
fn what_nobody_wants_to_see_is_handled_all_the_same() {
    let broker = started("level = 'debug'");
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    assert!(packets(&broker).is_empty());
}

#[test]
fn a_killed_server_logs_every_packet_at_least_once() {
    const COUNT: usize = 2_000;
    let mut broker = broker_of("kind = 'log'");
    broker.start_client();
    store(&broker, "a", COUNT);
    broker.start_server();
    until("some are logged", || !packets(&broker).is_empty());
    broker.kill_server();
    broker.start_server();
    broker.drain();
    let log = broker.server_log();
    for number in 1..=COUNT {
        assert!(log.contains(&format!(" number={number} ")), "{number} is not there");
    }
}
