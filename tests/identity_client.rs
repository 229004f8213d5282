//! Who a client is: a spool or a name that two machines have, a name that changes, and a backlog that
//! another client took over (R7).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;

use common::{ALL_TO_FILE, Broker, copy, program};

const TWO_AT_ONCE: &str = "two spools of one client id are on the air at once";

/// Both machines send twenty packets each, at the same time.
fn both_send(left: &Broker, right: &Broker) {
    for number in 0..20 {
        assert_eq!(left.post("a", &format!("left {number}")).status, 202);
        assert_eq!(right.post("a", &format!("right {number}")).status, 202);
    }
    left.drain();
    right.drain();
}

/// Each packet of each machine was handled, at first in the order in which it was posted.
fn both_are_handled(broker: &Broker) {
    let handled = &broker.handled("out.ndjson")["a"];
    for side in ["left", "right"] {
        let mut seen = BTreeSet::new();
        let ours = handled.iter().filter(|data| data.starts_with(side));
        let first: Vec<_> = ours.filter(|data| seen.insert(*data)).cloned().collect();
        let posted: Vec<_> = (0..20).map(|number| format!("{side} {number}")).collect();
        assert_eq!(first, posted);
    }
}

#[test]
fn two_machines_with_one_cloned_spool_both_deliver_everything() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("a", "original").status, 202);
    broker.drain();
    let spool = broker.spool();
    broker.kill_client();
    let mut twin = broker.twin();
    copy(&broker.path("client"), &twin.path("client"));
    broker.start_client();
    twin.start_client();
    both_send(&broker, &twin);
    both_are_handled(&broker);
    let spools = [broker.spool(), twin.spool()];
    assert_ne!(spools[0], spools[1]);
    assert!(spools.contains(&spool), "one of them keeps the name: {spools:?}");
    let renamed = if spools[0] == spool { &twin } else { &broker };
    renamed.client_says("the spool takes a new name");
    broker.server_says("this spool takes the place of one that is on record");
    broker.server_says(TWO_AT_ONCE);
}

#[test]
fn two_machines_with_one_client_id_both_deliver_everything_once() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    broker.server_says("connected");
    assert!(!broker.server_log().contains(TWO_AT_ONCE));
    let mut twin = broker.twin();
    twin.start_client();
    both_send(&broker, &twin);
    both_are_handled(&broker);
    assert_eq!(broker.lines("out.ndjson").len(), 40, "each of them once");
    broker.server_says(TWO_AT_ONCE);
    let log = broker.server_log();
    let told = log.lines().find(|line| line.contains(TWO_AT_ONCE)).unwrap();
    assert!(told.contains("WARN") && told.contains("till-1"), "{told}");
    for machine in [&broker, &twin] {
        assert!(told.contains(&machine.spool()), "{told}");
        assert!(
            !machine.client_log().contains("takes a new name"),
            "they are two spools from birth"
        );
    }
    // One of them alone is as any other client.
    let before = log.matches(TWO_AT_ONCE).count();
    twin.stop_client();
    broker.server_says("disconnected");
    broker.stop_client();
    broker.start_client();
    assert_eq!(broker.connect().post("a?wait=handled", b"alone", &[]).status, 200);
    assert_eq!(broker.server_log().matches(TWO_AT_ONCE).count(), before);
}

#[test]
fn a_renamed_client_keeps_its_spool_and_both_sides_say_so() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("a", "under the first name").status, 202);
    broker.drain();
    let spool = broker.spool();
    broker.stop_server();
    assert_eq!(broker.post("a", "held").status, 202);
    broker.stop_client();
    broker.edit("client.toml", "till-1", "till-2");
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("a", "under the second name").status, 202);
    broker.drain();
    assert_eq!(broker.spool(), spool);
    let lines = broker.lines("out.ndjson");
    let known: Vec<_> = lines
        .iter()
        .map(|line| (line["client"].as_str().unwrap(), line["number"].as_u64().unwrap()))
        .collect();
    assert_eq!(known, [("till-1", 1), ("till-2", 2), ("till-2", 3)], "by the name it comes under");
    let renamed = "the client was renamed";
    for log in [broker.client_log(), broker.server_log()] {
        let told: Vec<_> = log.lines().filter(|line| line.contains(renamed)).collect();
        assert_eq!(told.len(), 1, "{log}");
        assert!(told[0].contains("till-1") && told[0].contains("till-2"), "{}", told[0]);
        assert!(told[0].contains(&spool), "{}", told[0]);
    }
    // The server was told once; the spool keeps the name that it was made with.
    broker.stop_client();
    broker.start_client();
    broker.server_says("opened=3");
    assert_eq!(broker.server_log().matches(renamed).count(), 1);
    assert_eq!(broker.client_log().matches(renamed).count(), 2);
}

#[test]
fn an_adopted_backlog_and_its_old_client_are_on_the_air_at_once() {
    let mut old = Broker::new(ALL_TO_FILE);
    old.start_client();
    for number in 0..10 {
        assert_eq!(old.post("a", &format!("packet {number}")).status, 202);
    }
    old.stop_client();
    let mut new = old.twin();
    new.edit("client.toml", "till-1", "till-2");
    let mut adopt = program();
    adopt.args(["spool", "adopt"]).arg(old.path("client")).arg("-c").arg(new.path("client.toml"));
    let adopted = adopt.output().unwrap();
    assert_eq!(adopted.status.code(), Some(0), "{}", String::from_utf8_lossy(&adopted.stderr));
    old.start_server();
    new.start_client();
    old.start_client();
    new.drain();
    old.drain();
    let mut ids = BTreeSet::new();
    for (machine, client, former) in [(&old, "till-1", false), (&new, "till-2", true)] {
        let lines = old.lines("out.ndjson");
        let ours: Vec<_> = lines.iter().filter(|line| line["client"] == client).collect();
        let data: Vec<_> = ours.iter().map(|line| line["data"].as_str().unwrap()).collect();
        let posted: Vec<_> = (0..10).map(|number| format!("packet {number}")).collect();
        assert_eq!(data, posted, "all of them, once from each, in order");
        for line in ours {
            let id = line["id"].as_str().unwrap();
            assert!(id.starts_with(&machine.spool()));
            assert_eq!(line["headers"]["paquebot-adopted-from"].is_string(), former, "{line}");
            ids.insert(if former {
                line["headers"]["paquebot-adopted-from"].as_str().unwrap().to_owned()
            } else {
                id.to_owned()
            });
        }
    }
    assert_eq!(ids.len(), 10, "the header tells which packets are the same");
    let told = format!(
        "packets of this spool were adopted elsewhere and come twice: by spool {}",
        new.spool()
    );
    old.client_says(&told);
    assert!(!new.client_log().contains("adopted elsewhere"));
    assert!(!old.server_log().contains("takes the place"), "nobody needs another name");
}
