//! The life of one packet, from the event to the drop, stage by stage as the README's table has it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::{Broker, until};

const HANDLERS: &str = r#"
[[server.handler]]
name = "orders"
targets = ["orders.>"]
kind = "file"
path = "orders.ndjson"

[[server.handler]]
name = "rest"
targets = [">"]
kind = "discard"
"#;

#[test]
fn a_packet_is_stored_sent_routed_handled_acknowledged_and_dropped() {
    let mut broker = Broker::new(HANDLERS);

    // Event: a program posts what happened. The server is not even there.
    broker.start_client();
    let headers = [("content-type", "application/json"), ("paquebot-header-till", "7")];
    let reply = broker.connect().post("orders.eu", br#"{"item":"bread"}"#, &headers);

    // Store: the answer says so, and it is true: the client dies and the packet is there.
    assert_eq!(reply.status, 202, "{}", reply.text());
    let receipt = reply.json();
    assert_eq!(receipt["state"], "stored");
    assert_eq!((&receipt["target"], &receipt["number"]), (&"orders.eu".into(), &1.into()));
    let id = receipt["id"].as_str().unwrap().to_owned();
    broker.kill_client();
    broker.start_client();
    assert_eq!(broker.backlog(), 1, "stored means stored");

    // Send: the server comes up, and the client finds it by itself.
    broker.start_server();
    until("the client is connected", || {
        broker.client_status()["connection"]["state"] == "connected"
    });

    // Route and handle: the most specific pattern has it, and the file has its line.
    until("the packet is handled", || broker.lines("orders.ndjson").len() == 1);
    let line = broker.lines("orders.ndjson").remove(0);
    assert_eq!(line["id"], id.as_str(), "the id that it was born with");
    assert_eq!(line["client"], "till-1");
    assert_eq!(line["target"], "orders.eu");
    assert_eq!(line["number"], 1);
    assert_eq!(line["data"], r#"{"item":"bread"}"#);
    assert_eq!(line["content_type"], "application/json");
    assert_eq!(line["headers"]["till"], "7");
    let handled = r#"paquebot_server_packets_total{handler="orders",outcome="handled"}"#;
    let handled = || broker.metric(broker.server_admin_port, handled);
    until("it is counted as handled", || handled() == Some(1.0));

    // Ack and drop: the client lets go of it, and keeps the count.
    broker.drain();
    let dropped = r#"paquebot_client_packets_total{event="handled",target="orders.eu"}"#;
    let backlog = r#"paquebot_client_backlog_packets{target="orders.eu"}"#;
    assert_eq!(broker.metric(broker.client_admin_port, dropped), Some(1.0));
    assert_eq!(broker.metric(broker.client_admin_port, backlog), Some(0.0));

    // And it stays so: nothing comes back when both sides start again.
    broker.kill_client();
    broker.kill_server();
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("orders.eu", "second").json()["number"], 2);
    until("the next one is handled", || broker.lines("orders.ndjson").len() == 2);
    broker.drain();
    assert_eq!(broker.handled("orders.ndjson")["orders.eu"], [r#"{"item":"bread"}"#, "second"]);
}
