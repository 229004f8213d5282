//! A target that no handler takes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;

use common::{ALL_TO_FILE, Broker, until};

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
    broker.write(
        "server.toml",
        &config.replace("\"orders.>\"", "\">\"").replace("unknown_target = \"hold\"", ""),
    );
    broker.start_server();
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["other"], ["held"]);
}
