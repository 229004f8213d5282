//! The fleet: what clients tell of themselves is seen at the server, also while they are away, and also
//! after the server has begun anew.

use serde_json::Value;

use super::common::{Broker, http, program, until};
use super::of_server;

/// A handler that takes nothing, and one that takes the rest.
const HANDLERS: &str = r#"
[[server.handler]]
name = "fails"
targets = ["stuck"]
kind = "exec"
command = ["sh", "-c", "exit 1"]
[[server.handler]]
name = "all"
targets = [">"]
kind = "discard"
"#;

fn clients(broker: &Broker) -> Vec<Value> {
    let answer = http::get(broker.server_admin_port, "/v1/clients").json();
    answer["clients"].as_array().unwrap().clone()
}

fn backlog(client: &Value) -> u64 {
    client["backlog"]["packets"].as_u64().unwrap_or_default()
}

fn gauge(broker: &Broker, of: &str) -> f64 {
    of_server(broker, &format!("paquebot_server_client_{of}{{client=\"till-1\"}}"))
}

#[test]
fn a_client_is_known_with_what_waits_there_while_it_is_away_and_after_a_restart() {
    let mut broker = Broker::new(HANDLERS);
    broker.start_server();
    assert_eq!(clients(&broker), [] as [Value; 0]);
    broker.start_client();
    for number in 0..5 {
        assert_eq!(broker.post("stuck", &format!("{number}")).status, 202);
        assert_eq!(broker.post("fine", &format!("{number}")).status, 202);
    }
    until("what waits is told", || clients(&broker).first().is_some_and(|one| backlog(one) == 5));
    let known = clients(&broker)[0].clone();
    assert_eq!((known["id"].as_str(), known["connected"].as_bool()), (Some("till-1"), Some(true)));
    assert_eq!(known["spool"].as_str(), Some(broker.spool().as_str()));
    let lane = &known["backlog"]["lanes"][0];
    assert_eq!((lane["target"].as_str(), lane["packets"].as_u64()), (Some("stuck"), Some(5)));
    assert!(known["disk"]["spool_max_bytes"].as_u64().unwrap() > 0, "{known}");
    assert!(known["disk"]["available_bytes"].as_u64().unwrap() > 0, "{known}");
    let skew = known["clock_skew_seconds"].as_f64().unwrap();
    assert!(skew <= 0.0 && skew > -10.0, "one machine has one clock: {skew}");
    assert_eq!(gauge(&broker, "backlog_packets"), 5.0);
    assert_eq!(gauge(&broker, "last_seen_seconds"), 0.0);
    until("ages go on", || gauge(&broker, "oldest_packet_age_seconds") > 1.0);

    broker.kill_client();
    until("it is away", || clients(&broker)[0]["connected"] == false);
    until("since when is seen", || gauge(&broker, "last_seen_seconds") > 0.2);
    assert_eq!(gauge(&broker, "backlog_packets"), 5.0, "what is known of it stays");
    broker.stop_server();
    broker.start_server();
    let away = clients(&broker)[0].clone();
    assert_eq!((away["connected"].as_bool(), backlog(&away)), (Some(false), 5));
    assert_eq!(away["backlog"]["lanes"][0]["target"], "stuck");
    let age = |client: &Value| client["backlog"]["oldest_packet_age_seconds"].as_f64().unwrap();
    assert!(age(&away) > age(&known), "it waits on");
    assert!(gauge(&broker, "last_seen_seconds") > 0.2);
    let config = broker.path("server.toml");
    let words = program().args(["status", "--fleet", "-c"]).arg(&config).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.starts_with("till-1  away since ") && words.contains("waiting: 5"), "{words}");
    let one = http::get(broker.server_admin_port, "/v1/clients?client=till-1").json();
    assert_eq!(one["clients"].as_array().unwrap().len(), 1);
    assert_eq!(http::get(broker.server_admin_port, "/v1/clients?limit=0").status, 400);

    broker.start_client();
    until("it is back", || clients(&broker)[0]["connected"] == true);
    assert_eq!(clients(&broker).len(), 1);
}
