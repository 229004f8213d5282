//! Lanes that end (R6): targets that are ever new ones do not run into the client's limit and leave no row
//! at the server, and a spool that comes back from before that loses nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{ALL_TO_FILE, Broker, copy, http, paquebot, until};
use serde_json::Value;

const LANES_MAX: usize = 4;
const TARGETS: usize = 5 * LANES_MAX;

fn broker() -> Broker {
    Broker::with(&format!("spool.max_lanes = {LANES_MAX}"), "", ALL_TO_FILE)
}

/// Stores a packet and waits until it is handled.
fn pass_on(broker: &Broker, target: &str, data: &str) {
    let reply = broker.connect().post(&format!("{target}?wait=handled"), data.as_bytes(), &[]);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// How many lanes the server has heard the end of.
fn retired(broker: &Broker) -> usize {
    usize::try_from(broker.client_status()["lanes_retired"].as_u64().unwrap()).unwrap()
}

/// A total of the client over all targets.
fn total(broker: &Broker, event: &str) -> u64 {
    let text = http::get(broker.client_admin_port, "/metrics").text();
    let series = format!("paquebot_client_packets_total{{event=\"{event}\"");
    let samples = text.lines().filter(|line| line.starts_with(&series));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_client_has_more_targets_than_lanes_and_its_server_forgets_them() {
    let mut broker = broker();
    broker.start_server();
    broker.start_client();
    for order in 0..TARGETS {
        pass_on(&broker, &format!("order.{order}"), &format!("order {order}"));
    }
    until("the server has heard of their end", || retired(&broker) == TARGETS - LANES_MAX);
    assert_eq!(broker.client_status()["lanes_total"], LANES_MAX);
    assert_eq!((total(&broker, "accepted"), total(&broker, "handled")), (20, 20));
    // A target whose lane has ended has a new one, and counts on.
    pass_on(&broker, "order.0", "once more");
    let first = r#"paquebot_client_packets_total{event="accepted",target="order.0"}"#;
    until("it is counted", || broker.metric(broker.client_admin_port, first) == Some(2.0));
    until("and another one ended for it", || retired(&broker) == TARGETS - LANES_MAX + 1);
    broker.kill_client();
    broker.start_client();
    until("totals outlive the process", || total(&broker, "accepted") == 21);
    assert_eq!(total(&broker, "handled"), 21);
    let handled = broker.handled("out.ndjson");
    assert_eq!(handled["order.0"], ["order 0", "once more"]);
    for order in 1..TARGETS {
        assert_eq!(handled[&format!("order.{order}")], [format!("order {order}")]);
    }
    broker.kill_server();
    let config = broker.path("server.toml");
    let checked = paquebot(["ledger", "check", "--json", "-c", config.to_str().unwrap()]);
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["lanes"], LANES_MAX, "{checked}");
}

#[test]
fn lanes_that_end_while_the_server_is_away_are_told_when_it_is_back() {
    let mut broker = broker();
    broker.start_server();
    broker.start_client();
    for order in 0..LANES_MAX {
        pass_on(&broker, &format!("order.{order}"), "handled");
    }
    broker.kill_server();
    for order in 10..10 + LANES_MAX {
        assert_eq!(broker.post(&format!("order.{order}"), "stored").status, 202);
    }
    let refused = broker.post("order.99", "no lane is empty");
    assert_eq!(refused.status, 429, "{}", refused.text());
    broker.kill_client();
    broker.start_client();
    assert_eq!(retired(&broker), 0, "nobody has heard of them");
    broker.start_server();
    broker.drain();
    until("it has heard of them", || retired(&broker) == LANES_MAX);
}

#[test]
fn a_spool_restored_from_before_a_retirement_takes_a_new_name_and_delivers_everything() {
    let mut broker = broker();
    broker.start_server();
    broker.start_client();
    pass_on(&broker, "order.0", "before the backup");
    broker.kill_server();
    assert_eq!(broker.post("order.0", "in the backup").status, 202);
    broker.kill_client();
    copy(&broker.path("client"), &broker.path("backup"));
    broker.start_server();
    broker.start_client();
    broker.drain();
    for order in 1..=LANES_MAX {
        pass_on(&broker, &format!("order.{order}"), "after the backup");
    }
    until("the lane of the first is retired", || retired(&broker) == 1);
    broker.kill_client();
    broker.kill_server();
    fs::remove_dir_all(broker.path("client")).unwrap();
    copy(&broker.path("backup"), &broker.path("client"));

    // It is opened more often than the ledger has seen, so that its openings alone tell nothing.
    for _ in 0..3 {
        broker.start_client();
        broker.kill_client();
    }
    broker.start_client();
    let spool = broker.client_status()["spool"].as_str().unwrap().to_owned();
    assert_eq!(broker.post("order.0", "after the restore").status, 202);
    broker.start_server();
    broker.drain();
    let data = &broker.handled("out.ndjson")["order.0"];
    let data: BTreeSet<&str> = data.iter().map(String::as_str).collect();
    assert_eq!(data, ["before the backup", "in the backup", "after the restore"].into());
    let refused = r#"paquebot_server_refused_total{reason="retired-lane"}"#;
    until("it is counted", || broker.metric(broker.server_admin_port, refused) == Some(1.0));
    let log = broker.server.as_ref().unwrap().log();
    assert!(log.contains("a lane came back that was retired"), "{log}");
    let log = broker.client.as_ref().unwrap().log();
    assert!(log.contains("the spool takes a new name"), "{log}");
    let renamed = broker.client_status();
    assert_eq!(renamed["lanes_retired"], 0, "the restored spool had retired none");
    assert_eq!(broker.post("order.0", "under the new name").status, 202);
    broker.drain();
    assert_ne!(broker.lines("out.ndjson").last().unwrap()["id"].as_str().unwrap()[..32], spool);
}
