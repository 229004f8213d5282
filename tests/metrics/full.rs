//! A spool that fills and is full is seen, in time and everywhere; and how long packets take.

use std::fs;

use super::common::{ALL_TO_FILE, Broker, http, program, until};
use super::{of_client, of_server};

const RATIO: &str = "paquebot_client_spool_fill_ratio";
const LEFT: &str = "paquebot_client_spool_seconds_left";

fn ready(broker: &Broker) -> (u16, String) {
    let reply = http::get(broker.client_admin_port, "/readyz");
    (reply.status, reply.text())
}

fn status_in_words(broker: &Broker) -> String {
    let config = broker.path("client.toml");
    let output = program().args(["status", "-c"]).arg(config).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_spool_of_large_packets_that_is_full_is_seen_although_its_files_are_not() {
    let mut broker = Broker::with("spool = { max_bytes = \"16 MiB\" }", "", ALL_TO_FILE);
    broker.start_client();
    assert_eq!(of_client(&broker, RATIO), 0.0);
    assert_eq!(of_client(&broker, LEFT), f64::INFINITY);
    let large = "x".repeat(900_000);
    assert_eq!(broker.post("video", &large).status, 202);
    until("it is seen to fill", || of_client(&broker, LEFT).is_finite());
    let left = of_client(&broker, LEFT);
    assert!(left > 0.0, "{left}");
    let ratio = of_client(&broker, RATIO);
    assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    assert_eq!(ready(&broker).0, 200);

    let refused =
        (0..40).map(|_| broker.post("video", &large).status).find(|status| *status != 202);
    assert_eq!(refused, Some(429));
    assert_eq!(ready(&broker), (503, "{\"ready\":false,\"reasons\":[\"spool-full\"]}".to_owned()));
    until("the gauges say so", || {
        of_client(&broker, RATIO) == 1.0 && of_client(&broker, LEFT) == 0.0
    });
    let files = of_client(&broker, "paquebot_client_spool_file_bytes");
    assert!(files / of_client(&broker, "paquebot_client_spool_max_bytes") < 0.9, "{files}");
    let full = broker.client_status()["full"].clone();
    assert_eq!(full["reason"], "spool-full", "{full}");
    assert!(full["refused_packets"].as_u64().unwrap() >= 1, "{full}");
    let words = status_in_words(&broker);
    assert!(
        words.contains("full        since") && words.contains("client.spool.max_bytes"),
        "{words}"
    );
    broker.client_says("the spool is full");
    for _ in 0..5 {
        assert_eq!(broker.post("video", &large).status, 429);
    }

    broker.start_server();
    broker.drain();
    until("it has room again", || ready(&broker).0 == 200);
    broker.client_says("the spool has room again");
    assert!(broker.client_status()["full"].is_null());
    until("the gauges say so", || of_client(&broker, LEFT) == f64::INFINITY);
    assert_eq!(of_client(&broker, RATIO), 0.0);
    assert_eq!(
        broker.client_log().matches("the spool is full").count(),
        1,
        "once, and not at each"
    );
    assert_eq!(broker.post("video", &large).status, 202);
}

#[test]
fn one_target_that_has_used_up_its_share_is_seen_and_the_client_is_ready() {
    let keys = "[[client.policy]]\ntargets = [\"little\"]\nmax_bytes = \"64 KiB\"";
    let mut broker = Broker::with(keys, "", ALL_TO_FILE);
    broker.start_client();
    assert_eq!(broker.post("little", &"x".repeat(40_000)).status, 202);
    assert_eq!(broker.post("little", &"x".repeat(40_000)).status, 429);
    assert_eq!(broker.client_status()["full"]["reason"], "target-full");
    assert!(status_in_words(&broker).contains("target little has used up its share"));
    assert_eq!(ready(&broker).0, 200);
    assert_eq!(broker.post("other", &"x".repeat(40_000)).status, 202);
    broker.client_says("target little has used up its share");
    broker.start_server();
    broker.drain();
    until("that is over", || broker.client_status()["full"].is_null());
}

#[test]
fn evictions_are_logged_with_how_many_and_not_one_by_one() {
    let keys = "spool = { max_bytes = \"16 MiB\", when_full = \"drop-oldest\" }";
    let mut broker = Broker::with(keys, "", ALL_TO_FILE);
    broker.start_client();
    let large = "x".repeat(900_000);
    for number in 0..60 {
        let reply = broker.post(&format!("video.{}", number % 3), &large);
        assert_eq!(reply.status, 202, "{number}: {}", reply.text());
    }
    let evicted: f64 = (0..3)
        .map(|at| {
            format!("paquebot_client_packets_total{{event=\"evicted\",target=\"video.{at}\"}}")
        })
        .map(|series| of_client(&broker, &series))
        .sum();
    assert!(evicted > 40.0, "{evicted}");
    broker.client_says("packets will not be sent: they are declared gone");
    let lines = broker.client_log().matches("declared gone").count();
    assert!(lines <= 2, "{lines} lines for {evicted} packets");
    assert_eq!(ready(&broker).0, 200);
}

#[test]
fn how_long_packets_wait_and_how_long_they_took_is_seen() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let age = "paquebot_client_oldest_packet_age_seconds{target=\"slow\"}";
    assert_eq!(broker.post("slow", "first").status, 202);
    until("its age is seen", || {
        broker.metric(broker.client_admin_port, age).is_some_and(|s| s > 1.0)
    });
    assert_eq!(broker.post("slow", "second").status, 202);
    broker.kill_client();
    broker.start_client();
    until("it is known after a crash", || {
        broker.metric(broker.client_admin_port, age).is_some_and(|seconds| seconds > 1.0)
    });
    broker.start_server();
    broker.drain();
    until("nothing waits any more", || of_client(&broker, age) == 0.0);
    let delivery = |what: &str| of_server(&broker, &format!("paquebot_delivery_seconds{what}"));
    assert_eq!(delivery("_count{handler=\"all\"}"), 2.0);
    assert_eq!(delivery("_bucket{handler=\"all\",le=\"+Inf\"}"), 2.0);
    assert!(delivery("_bucket{handler=\"all\",le=\"1\"}") <= 1.0, "the first one took longer");
    assert!(delivery("_sum{handler=\"all\"}") > 1.0);
    assert!(fs::metadata(broker.path("out.ndjson")).unwrap().len() > 0);
}
