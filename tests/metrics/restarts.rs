//! Counters over restarts: after an ordered stop they go on exactly, after a SIGKILL none goes back.

use super::common::{Broker, free_port, http, until};
use super::{counters, of_client, of_server};

/// Handlers that reject, fail and take.
const HANDLERS: &str = r#"
[[server.handler]]
name = "no"
targets = ["no.*"]
kind = "exec"
command = ["sh", "-c", "exit 65"]
[[server.handler]]
name = "fails"
targets = ["fails.*"]
kind = "exec"
command = ["sh", "-c", "exit 1"]
retry = { initial = "20 ms", max = "50 ms" }
[[server.handler]]
name = "all"
targets = [">"]
kind = "discard"
"#;

fn event(event: &str, target: &str) -> String {
    format!("paquebot_client_packets_total{{event=\"{event}\",target=\"{target}\"}}")
}

fn of_source(outcome: &str) -> String {
    format!("paquebot_source_events_total{{source=\"picky\",outcome=\"{outcome}\"}}")
}

fn of_handler(handler: &str, outcome: &str) -> String {
    format!("paquebot_server_packets_total{{handler=\"{handler}\",outcome=\"{outcome}\"}}")
}

/// None of these counters has gone back or is gone.
fn none_went_back(before: &[(String, f64)], admin_port: u16) {
    let now = counters(admin_port);
    for (series, value) in before {
        let later = now.iter().find(|(name, _)| name == series);
        let later = later.unwrap_or_else(|| panic!("{series} is gone")).1;
        assert!(later >= *value, "{series} went back from {value} to {later}");
    }
}

#[test]
fn counters_go_on_exactly_over_stops_and_never_back_over_kills() {
    let picky = free_port();
    let keys = format!(
        "spool = {{ max_bytes = \"16 MiB\" }}\n[[client.source]]\nname = \"picky\"\nkind = \"http\"\n\
         listen = \"127.0.0.1:{picky}\"\nwhen = 'text != \"unwanted\"'\n[[client.policy]]\n\
         targets = [\"little\"]\nmax_bytes = \"64 KiB\""
    );
    let mut broker = Broker::with(&keys, "", HANDLERS);
    broker.start_server();
    broker.start_client();
    let mut door = http::Connection::open(picky);
    for round in 0..7 {
        assert_eq!(door.post("taken", round.to_string().as_bytes(), &[]).status, 202);
        assert_eq!(door.post("taken", b"unwanted", &[]).status, 200);
    }
    for _ in 0..3 {
        assert_eq!(door.post("$reserved", b"x", &[]).status, 400);
    }
    assert_eq!(broker.post("no.1", "x").status, 202);
    assert_eq!(broker.post("fails.1", "x").status, 202);
    // Nobody takes 100 kB where 64 KiB are allowed.
    assert_eq!(broker.post("little", &"x".repeat(100_000)).status, 429);
    until("all is shown", || {
        of_client(&broker, &of_source("filtered")) == 7.0
            && of_client(&broker, &of_source("error")) == 3.0
            && of_client(&broker, &event("sent", "taken")) == 7.0
            && of_client(&broker, &event("rejected", "little")) == 1.0
            && of_server(&broker, &of_handler("no", "rejected")) == 1.0
            && of_server(&broker, &of_handler("fails", "retried")) >= 3.0
    });
    assert_eq!(of_client(&broker, &of_source("sent")), 7.0, "in the commit of the packets");
    assert_eq!(of_server(&broker, &of_handler("no", "dead_lettered")), 1.0);

    // What was counted in the last moment is there, too, after an ordered stop.
    assert_eq!(door.post("taken", b"unwanted", &[]).status, 200);
    drop(door);
    let of_the_server = counters(broker.server_admin_port);
    broker.stop_client();
    broker.stop_server();
    broker.start_client();
    assert_eq!(of_client(&broker, &of_source("filtered")), 8.0);
    assert_eq!(of_client(&broker, &of_source("error")), 3.0);
    assert_eq!(of_client(&broker, &of_source("sent")), 7.0);
    assert_eq!(of_client(&broker, &event("rejected", "little")), 1.0);
    assert!(of_client(&broker, &event("sent", "taken")) >= 7.0);
    broker.start_server();
    none_went_back(&of_the_server, broker.server_admin_port);
    assert_eq!(of_server(&broker, &of_handler("no", "rejected")), 1.0);

    let mut door = http::Connection::open(picky);
    for _ in 0..20 {
        assert_eq!(door.post("taken", b"more", &[]).status, 202);
        assert_eq!(door.post("taken", b"unwanted", &[]).status, 200);
    }
    until("they are handled", || of_client(&broker, &event("handled", "taken")) == 27.0);
    let sent = of_client(&broker, &of_source("sent"));
    assert_eq!(sent, 27.0);
    let (client, server) = (counters(broker.client_admin_port), counters(broker.server_admin_port));
    drop(door);
    broker.kill_client();
    broker.kill_server();
    broker.start_server();
    broker.start_client();
    none_went_back(&client, broker.client_admin_port);
    none_went_back(&server, broker.server_admin_port);
    assert_eq!(of_client(&broker, &of_source("sent")), 27.0, "not one is lost");
}

#[test]
fn connections_that_are_refused_are_counted_over_restarts() {
    let mut broker = Broker::new(super::common::ALL_TO_FILE);
    broker.start_server();
    let noise = "paquebot_server_refused_total{reason=\"noise\"}";
    for _ in 0..3 {
        use std::io::{Read, Write};
        let mut peer = std::net::TcpStream::connect(("127.0.0.1", broker.server_port)).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
        let _end = peer.read_to_end(&mut Vec::new());
    }
    until("they are shown", || of_server(&broker, noise) == 3.0);
    broker.kill_server();
    broker.start_server();
    assert_eq!(of_server(&broker, noise), 3.0);
}
