//! Handlers are paused and resumed by hand: one that is paused gets no packet, over restarts, too, and
//! no other one is touched; one that is resumed has its packets without anybody sending anything new.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::process::Output;
use std::time::{Duration, Instant};

use common::destination::{Answer, Destination};
use common::hook::{numbers, started, store};
use common::http::{self, Connection};
use common::{Broker, program, until};
use serde_json::{Value, json};

const TWO: &str = "[[server.handler]]\nname = \"orders\"\ntargets = [\"orders.>\"]\nkind = \"file\"\n\
    path = \"orders.ndjson\"\n\
    [[server.handler]]\nname = \"rest\"\ntargets = [\">\"]\nkind = \"file\"\npath = \"rest.ndjson\"\n";

fn handlers(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = program();
    command.arg("handlers").args(arguments).arg("-c").arg(broker.path("server.toml"));
    command.output().unwrap()
}

fn done(broker: &Broker, arguments: &[&str]) -> String {
    let output = handlers(broker, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn listed(broker: &Broker) -> Vec<Value> {
    let found: Value = serde_json::from_str(&done(broker, &["list", "--json"])).unwrap();
    found["handlers"].as_array().unwrap().clone()
}

fn state(broker: &Broker, handler: &str, state: &str) -> f64 {
    let series = format!("paquebot_handler_state{{handler=\"{handler}\",state=\"{state}\"}}");
    broker.metric(broker.server_admin_port, &series).unwrap()
}

fn started_two() -> Broker {
    let mut broker = Broker::new(TWO);
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("orders.a?wait=handled", "1").status, 200);
    broker
}

#[test]
fn a_paused_handler_gets_nothing_over_restarts_and_no_other_waits() {
    let mut broker = started_two();
    done(&broker, &["pause", "orders"]);
    for (target, data) in [("orders.a", "2"), ("orders.b", "1"), ("other", "1")] {
        assert_eq!(broker.post(target, data).status, 202);
    }
    until("the other's is handled", || broker.lines("rest.ndjson").len() == 1);
    until("both lanes wait", || listed(&broker)[0]["waiting_lanes"] == 2);
    let before = listed(&broker);
    assert_eq!((&before[0]["state"], &before[1]["state"]), (&json!("paused"), &json!("ok")));
    assert_eq!((&before[0]["kind"], &before[0]["targets"]), (&json!("file"), &json!(["orders.>"])));
    let by = before[0]["paused_by"].as_str().unwrap();
    assert!(by.starts_with("paquebot handlers pause"), "{by}");
    assert_eq!(broker.server_status()["handlers"][0], before[0]);
    for (name, value) in [("ok", 0.0), ("failing", 0.0), ("paused", 1.0)] {
        assert_eq!(state(&broker, "orders", name), value, "{name}");
    }
    broker.server_says("the handler is paused by hand");
    broker.server_says(by);
    let mut command = program();
    let status = command.args(["status", "-c"]).arg(broker.path("server.toml")).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("paused since") && status.contains(by), "{status}");
    // Paused once more it is paused since then.
    done(&broker, &["pause", "orders"]);
    for kill in [false, true] {
        if kill {
            broker.kill_server();
        } else {
            broker.stop_server();
        }
        broker.start_server();
        broker.server_says("paused by hand, as before the start");
        assert_eq!(broker.post("other?wait=handled", "more").status, 200);
        until("both lanes wait", || listed(&broker)[0]["waiting_lanes"] == 2);
        let now = listed(&broker);
        assert_eq!((&now[0]["since"], &now[0]["state"]), (&before[0]["since"], &json!("paused")));
        assert_eq!(broker.lines("orders.ndjson").len(), 1);
        until("the other's is dropped", || broker.backlog() == 2);
    }
    // The client has come again and again, over restarts, and said so once for each lane.
    let told = broker.client_log().matches("handler orders is paused").count();
    assert_eq!(told, 2);
    // Nothing new comes in: what waits is handled all the same, and soon.
    let resumed = Instant::now();
    done(&broker, &["resume", "orders"]);
    until("all is handled", || broker.backlog() == 0);
    let took = resumed.elapsed();
    assert!(took < Duration::from_secs(10), "resumed, and handled after {took:?}");
    assert_eq!(broker.handled("orders.ndjson")["orders.a"], ["1", "2"]);
    assert_eq!(listed(&broker)[0]["state"], "ok");
    assert_eq!((state(&broker, "orders", "ok"), state(&broker, "orders", "paused")), (1.0, 0.0));
    broker.client_says("the lane goes on");
    broker.server_says("the handler is resumed");
    broker.kill_server();
    broker.start_server();
    assert_eq!(listed(&broker)[0]["state"], "ok");
}

#[test]
fn what_is_under_way_ends_and_what_waits_behind_it_does_not_begin() {
    let destination = Destination::start();
    destination.answer(|_| Answer::After(Duration::from_millis(100), 200));
    let broker = started(destination.port, "");
    store(&broker, "a", 50);
    until("it begins", || destination.parcels().len() >= 2);
    done(&broker, &["pause", "hook"]);
    // One may be on its way.
    let begun = destination.parcels().len() + 1;
    until("it is put off", || listed(&broker)[0]["waiting_lanes"] == 1);
    std::thread::sleep(Duration::from_millis(500));
    assert!(destination.parcels().len() <= begun, "{} began", destination.parcels().len());
    destination.answer(|_| Answer::Status(200));
    done(&broker, &["resume", "hook"]);
    broker.drain();
    assert_eq!(destination.accepted()["a"], numbers(50));
    assert_eq!(destination.parcels().len(), 50, "something was sent twice");
}

#[test]
fn a_paused_handler_gets_no_dead_letters_either() {
    let destination = Destination::start();
    destination.answer(|_| Answer::Status(422));
    let broker = started(destination.port, "");
    store(&broker, "a", 2);
    broker.drain();
    destination.answer(|_| Answer::Status(200));
    done(&broker, &["pause", "hook"]);
    let replay = || {
        let mut command = program();
        command.args(["dlq", "replay", "--all", "-c"]).arg(broker.path("server.toml"));
        command.output().unwrap()
    };
    let left = replay();
    assert_eq!(left.status.code(), Some(75));
    let said = String::from_utf8(left.stderr).unwrap();
    assert!(said.contains("handler hook is paused") && said.contains("2 of them"), "{said}");
    assert_eq!(destination.parcels().len(), 2);
    done(&broker, &["resume", "hook"]);
    let said = String::from_utf8(replay().stdout).unwrap();
    assert_eq!(said, "2 replayed: 2 handled, 0 still dead\n");
    assert_eq!(destination.accepted()["a"], numbers(2));
}

#[test]
fn over_http_too_and_whoever_is_not_there_is_said() {
    let mut broker = started_two();
    let mut connection = Connection::open(broker.server_admin_port);
    let paused = connection.request("POST", "/v1/handlers/orders/pause", b"", &[]);
    assert_eq!((paused.status, &paused.json()["state"]), (200, &json!("paused")));
    assert_eq!(http::get(broker.server_admin_port, "/v1/handlers").json()["handlers"][0], {
        paused.json()
    });
    let resumed = connection.request("POST", "/v1/handlers/orders/resume", b"", &[]);
    assert_eq!((resumed.status, &resumed.json()["state"]), (200, &json!("ok")));
    let nobody = connection.request("POST", "/v1/handlers/nobody/pause", b"", &[]);
    assert_eq!(nobody.status, 404);
    let detail = nobody.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail, "expected one of the handlers orders, rest, found nobody");
    let page = [("origin", "http://evil.example")];
    let refused = connection.request("POST", "/v1/handlers/orders/pause", b"", &page);
    assert_eq!(refused.status, 403);
    assert_eq!(listed(&broker)[0]["state"], "ok");
    let output = handlers(&broker, &["pause", "nobody"]);
    assert_eq!(output.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&output.stderr).contains("orders, rest"));
    assert_eq!(handlers(&broker, &["pause"]).status.code(), Some(64));
    // A pause of one that is not in the config any more is kept, and said.
    done(&broker, &["pause", "orders"]);
    broker.stop_server();
    broker.edit("server.toml", "name = \"orders\"", "name = \"invoices\"");
    broker.start_server();
    broker.server_says("is not in the config; the pause is kept");
    assert_eq!(listed(&broker)[0]["state"], "ok");
    broker.stop_server();
    assert_eq!(handlers(&broker, &["list"]).status.code(), Some(69));
    broker.edit("server.toml", "name = \"invoices\"", "name = \"orders\"");
    broker.start_server();
    assert_eq!(listed(&broker)[0]["state"], "paused");
}
