//! For how long packets are kept, and what happens when there is no room: policies as the config says,
//! what is not sent is declared to the server, and every packet is accounted for on both sides (R8).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::{ALL_TO_FILE, Broker, until};

/// A total of the client for one target.
fn total(broker: &Broker, event: &str, target: &str) -> u64 {
    let series = format!("paquebot_client_packets_total{{event=\"{event}\",target=\"{target}\"}}");
    broker.metric(broker.client_admin_port, &series).map_or(0, |total| total as u64)
}

/// accepted = handled + dead-lettered + expired + evicted + purged + damaged + pending (R8).
fn is_balanced(broker: &Broker, target: &str) -> bool {
    let ended = ["handled", "dead_lettered", "expired", "evicted", "purged", "damaged"];
    let ended: u64 = ended.iter().map(|event| total(broker, event, target)).sum();
    let series = format!("paquebot_client_backlog_packets{{target=\"{target}\"}}");
    let pending = broker.metric(broker.client_admin_port, &series).unwrap_or(0.0) as u64;
    ended + pending == total(broker, "accepted", target)
}

#[test]
fn packets_that_outlive_their_time_are_not_sent_and_the_others_are() {
    let policy = "[[client.policy]]\ntargets = [\"reading.*\"]\nttl = \"1 s\"";
    let mut broker = Broker::with(policy, "", ALL_TO_FILE);
    broker.start_client();
    let mut door = broker.connect();
    for number in 0..5 {
        assert_eq!(broker.post("reading.1", &format!("old {number}")).status, 202);
        assert_eq!(broker.post("order", &format!("order {number}")).status, 202);
        let short = door.post("order", b"short", &[("paquebot-ttl", "500 ms")]);
        assert_eq!(short.status, 202, "{}", short.text());
    }
    until("they are over", || total(&broker, "expired", "reading.1") == 5);
    until("these too", || total(&broker, "expired", "order") == 5);
    assert_eq!(broker.post("reading.1", "fresh").status, 202);
    let long = door.post("order", b"long", &[("paquebot-ttl", "1 day")]);
    assert_eq!(long.status, 202);
    assert!(is_balanced(&broker, "order") && is_balanced(&broker, "reading.1"));
    broker.start_server();
    broker.drain();
    let handled = broker.handled("out.ndjson");
    assert_eq!(handled["order"], ["order 0", "order 1", "order 2", "order 3", "order 4", "long"]);
    assert_eq!(handled["reading.1"].last().unwrap(), "fresh");
    until("all is accounted for", || total(&broker, "handled", "order") == 6);
    assert!(is_balanced(&broker, "order") && is_balanced(&broker, "reading.1"));
    let bad = door.post("order", b"x", &[("paquebot-ttl", "soon")]);
    assert_eq!(bad.status, 400, "{}", bad.text());
}

#[test]
fn a_full_spool_lets_the_oldest_go_where_the_config_says_so() {
    let keys = "[client.spool]\nmax_bytes = \"16 MiB\"\n[[client.policy]]\n\
                targets = [\"video.>\"]\nwhen_full = \"drop-oldest\"";
    let mut broker = Broker::with(keys, "", ALL_TO_FILE);
    broker.start_client();
    let data = "x".repeat(60_000);
    for number in 0..40 {
        assert_eq!(broker.post("order", &format!("{number} {data}")).status, 202);
    }
    for number in 0..600 {
        let reply = broker.post("video.1", &format!("{number} {data}"));
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    assert!(total(&broker, "evicted", "video.1") > 300);
    assert!(is_balanced(&broker, "video.1"));
    assert!(broker.bytes_of("client") <= 17 << 20);
    broker.start_server();
    broker.drain();
    let handled = broker.handled("out.ndjson");
    assert_eq!(handled["order"].len(), 40, "nobody else's packets go");
    let video = &handled["video.1"];
    assert!(video.last().unwrap().starts_with("599 "), "the newest stay");
    until("all is accounted for", || {
        total(&broker, "handled", "video.1") == video.len() as u64
            && is_balanced(&broker, "video.1")
    });
    assert_eq!(total(&broker, "evicted", "video.1") + video.len() as u64, 600);
}
