//! A spool that exists twice, or goes back in time: it takes a new name, both sides say so, and
//! nothing is lost (R7). And a target that nobody takes.
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

use common::{ALL_TO_FILE, Broker, copy, until};

#[test]
fn a_restored_spool_that_stored_other_packets_is_renamed_and_loses_nothing() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("a", "before the backup").status, 202);
    broker.drain();
    broker.kill_client();
    copy(&broker.path("client"), &broker.path("backup"));
    broker.start_client();
    assert_eq!(broker.post("a", "after the backup").status, 202);
    broker.drain();
    let spool = broker.client_status()["spool"].as_str().unwrap().to_owned();
    broker.kill_client();
    fs::remove_dir_all(broker.path("client")).unwrap();
    copy(&broker.path("backup"), &broker.path("client"));

    // The ledger has seen number 2; the restored spool is about to use it for another packet.
    broker.start_client();
    assert_eq!(broker.post("a", "after the restore").status, 202);
    broker.drain();
    let data = &broker.handled("out.ndjson")["a"];
    let data: BTreeSet<&str> = data.iter().map(String::as_str).collect();
    assert_eq!(data, ["before the backup", "after the backup", "after the restore"].into());
    let log = broker.client.as_ref().unwrap().log();
    assert!(log.contains("the spool takes a new name"), "{log}");
    assert_ne!(broker.lines("out.ndjson").last().unwrap()["id"].as_str().unwrap()[..32], spool);
}

#[test]
fn two_machines_with_one_cloned_spool_both_deliver_everything() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("a", "original").status, 202);
    broker.drain();
    broker.kill_client();
    let twin = Broker::new("");
    copy(&broker.path("client"), &twin.path("client"));
    let mut twin = Broker { server_port: broker.server_port, ..twin };
    let config = fs::read_to_string(broker.path("client.toml")).unwrap();
    let config = config
        .replace(&broker.source_port.to_string(), &twin.source_port.to_string())
        .replace(&broker.client_admin_port.to_string(), &twin.client_admin_port.to_string());
    twin.write("client.toml", &config);
    broker.start_client();
    twin.start_client();
    for number in 0..20 {
        assert_eq!(broker.post("a", &format!("left {number}")).status, 202);
        assert_eq!(twin.post("a", &format!("right {number}")).status, 202);
    }
    broker.drain();
    twin.drain();
    let handled = &broker.handled("out.ndjson")["a"];
    let distinct: BTreeSet<&String> = handled.iter().collect();
    for number in 0..20 {
        for side in ["left", "right"] {
            assert!(distinct.contains(&format!("{side} {number}")), "{side} {number} is lost");
        }
    }
}

#[test]
fn a_target_that_nobody_takes_is_a_dead_letter_or_held_as_the_config_says() {
    let some = ALL_TO_FILE.replace("\">\"", "\"orders.>\"");
    let mut broker = Broker::new(&some);
    broker.start_server();
    broker.start_client();
    let reply = broker.connect().post("other?wait=handled", b"x", &[]);
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert_eq!(reply.json()["type"], "urn:paquebot:problem:dead-lettered");
    until("it is kept", || broker.server_status()["dead_letters"] == 1);
    let dead = r#"paquebot_client_packets_total{event="dead_lettered",target="other"}"#;
    until("the client counts it", || broker.metric(broker.client_admin_port, dead) == Some(1.0));

    let mut broker = Broker::with("", "unknown_target = \"hold\"", &some);
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("other", "held").status, 202);
    assert_eq!(broker.connect().post("orders.1?wait=handled", b"x", &[]).status, 200);
    until("it alone is held at the client, in nobody's way", || broker.backlog() == 1);
    broker.kill_server();
    let config = fs::read_to_string(broker.path("server.toml")).unwrap();
    broker.write("server.toml", &config.replace("\"orders.>\"", "\">\""));
    broker.start_server();
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["other"], ["held"]);
}
