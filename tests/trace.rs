//! "Where is packet X?": `paquebot trace` and `GET /v1/packets/{id}`, asked of both sides through a
//! packet's whole life.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::destination::{Answer, Destination};
use common::hook;
use common::{ALL_TO_FILE, Broker, program, until};
use serde_json::Value;

/// What a side says of a packet; how the command ended.
fn trace(broker: &Broker, config: &str, id: &str) -> (Value, Option<i32>) {
    let config = broker.path(config);
    let asked = program().args(["trace", id, "--json", "-c"]).arg(config).output().unwrap();
    let found = serde_json::from_slice(&asked.stdout).unwrap_or_default();
    (found, asked.status.code())
}

fn at_client(broker: &Broker, id: &str) -> Value {
    trace(broker, "client.toml", id).0
}

fn at_server(broker: &Broker, id: &str) -> Value {
    trace(broker, "server.toml", id).0
}

fn stored(broker: &Broker, target: &str, data: &str) -> String {
    let reply = broker.post(target, data);
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_packet_is_found_at_each_station_of_its_life() {
    let destination = Destination::start();
    destination.answer(|_| Answer::Status(503));
    let mut broker = hook::broker(destination.port, "");
    broker.start_client();
    let first = stored(&broker, "orders.eu", "one");
    let second = stored(&broker, "orders.eu", "three");

    let found = at_client(&broker, &second);
    assert_eq!((&found["state"], &found["id"]), (&"stored".into(), &second.clone().into()));
    let client = &found["client"];
    assert_eq!((&client["target"], &client["size"]), (&"orders.eu".into(), &5.into()));
    assert_eq!((&client["packets_before"], &found["server"]), (&1.into(), &Value::Null));
    assert_ne!(client["connection"]["state"], "connected");

    broker.start_server();
    until("its lane is paused", || at_client(&broker, &first)["state"] == "paused");
    let pause = &at_client(&broker, &first)["client"]["pause"];
    assert!(pause["reason"].as_str().unwrap().contains("503"), "{pause}");
    assert!(pause["times"].as_u64().unwrap() > 0 && pause["next_try"].is_string(), "{pause}");
    let mut waiting = Value::Null;
    until("attempts are on record", || {
        waiting = at_server(&broker, &first);
        waiting["server"]["attempts"].as_u64() > Some(1)
    });
    assert_eq!(
        (&waiting["state"], &waiting["server"]["client"]),
        (&"waiting".into(), &"till-1".into())
    );
    let (pause, handler) = (&waiting["server"]["pause"], &waiting["server"]["handler"]);
    assert_eq!((handler, &waiting["server"]["target"]), (&"hook".into(), &"orders.eu".into()));
    assert!(pause["reason"].as_str().unwrap().contains("503"), "{waiting}");
    assert!(pause["times"].as_u64().unwrap() > 1 && pause["next_try"].is_string(), "{waiting}");
    let behind = at_server(&broker, &second);
    assert!(behind["server"]["means"].as_str().unwrap().contains("not come to it yet"), "{behind}");

    destination.answer(|_| Answer::Status(200));
    broker.drain();
    until("it is handled", || at_server(&broker, &second)["state"] == "handled");
    let check = |broker: &Broker| {
        for id in [&first, &second] {
            let handled = at_server(broker, id);
            assert_eq!(handled["state"], "handled", "{handled}");
            assert_eq!(handled["server"]["handler"], "hook");
            let at = handled["server"]["at"].as_str().unwrap();
            assert_eq!((at.len(), at.get(19..20)), (24, Some(".")), "{handled}");
            assert_eq!(at_client(broker, id)["state"], "handled");
        }
    };
    check(&broker);
    broker.stop_server();
    broker.stop_client();
    broker.start_server();
    broker.start_client();
    check(&broker);
}

#[test]
fn dead_letters_and_expired_packets_are_told_with_the_reason() {
    let destination = Destination::start();
    destination.answer(|_| Answer::With(422, "", "no such article"));
    let mut broker = hook::broker(destination.port, "");
    broker.start_client();
    let short = [("paquebot-ttl", "1 s")];
    let reply = broker.connect().post("seldom", b"x", &short);
    let gone = reply.json()["id"].as_str().unwrap().to_owned();
    let dead = stored(&broker, "orders", "x");
    until("it has expired", || at_client(&broker, &gone)["state"] == "expired");
    let found = at_client(&broker, &gone);
    assert_eq!(found["client"]["reason"], "its time to live is over");

    broker.start_server();
    broker.drain();
    until("the server has heard", || at_server(&broker, &gone)["state"] == "skipped");
    let found = at_server(&broker, &dead);
    assert_eq!(found["state"], "dead-letter");
    let reason = found["server"]["reason"].as_str().unwrap();
    assert!(reason.contains("422"), "{found}");
    assert_eq!(found["server"]["attempts"], 1);
    assert_eq!(at_client(&broker, &gone)["state"], "expired", "all of its lane did");
    assert_eq!(at_client(&broker, &dead)["state"], "dead-lettered");
    // Where some ended so and some otherwise, the client says that it cannot tell.
    destination.answer(|_| Answer::Status(200));
    let handled = stored(&broker, "orders", "y");
    broker.drain();
    let found = at_client(&broker, &handled);
    assert_eq!(found["state"], "done");
    let means = found["client"]["means"].as_str().unwrap();
    assert!(means.contains("cannot tell how: in its lane 1 dead-lettered"), "{means}");

    // A dead letter that is handled after all says so.
    let mut replay = program();
    replay.args(["dlq", "replay", &dead, "-c"]).arg(broker.path("server.toml"));
    assert!(replay.output().unwrap().status.success());
    let check = |broker: &Broker| {
        let found = at_server(broker, &dead);
        let means = found["server"]["means"].as_str().unwrap();
        assert_eq!(
            (&found["state"], &found["server"]["handler"]),
            (&"handled".into(), &"hook".into())
        );
        assert!(means.contains("was a dead letter, was replayed"), "{found}");
    };
    check(&broker);
    broker.kill_server();
    broker.start_server();
    check(&broker);
}

#[test]
fn what_was_never_seen_is_said_to_be_so() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let id = stored(&broker, "a", "x");
    broker.drain();
    let next = format!("{}-2", id.rsplit_once('-').unwrap().0);
    let foreign = format!("{}-1-1", "f".repeat(32));
    for config in ["client.toml", "server.toml"] {
        for unknown in [&foreign, &next] {
            let (found, code) = trace(&broker, config, unknown);
            let expected = ("unknown", Some(65));
            assert_eq!((found["state"].as_str().unwrap(), code), expected, "{config} {unknown}");
        }
        let (_, code) = trace(&broker, config, "nonsense");
        assert_eq!(code, Some(64));
    }
    let path = |id: &str| format!("/v1/packets/{id}");
    let reply = common::http::get(broker.client_admin_port, &path("nonsense"));
    assert_eq!(reply.status, 400, "{}", reply.text());
    let reply = common::http::get(broker.server_admin_port, &path(&id));
    assert_eq!((reply.status, &reply.json()["state"]), (200, &"handled".into()));
    let reply = common::http::get(broker.server_admin_port, &path(&foreign));
    assert_eq!(reply.status, 404);
}

#[test]
fn people_are_told_in_words() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let id = stored(&broker, "a", "x");
    broker.drain();
    let asked = program().args(["trace", &id, "-c"]).arg(broker.path("server.toml")).output();
    let said = String::from_utf8(asked.unwrap().stdout).unwrap();
    assert!(said.starts_with(&format!("{id}: handled   (asked ")), "{said}");
    for fact in ["its handler has taken it", "client            till-1", "handler           all"] {
        assert!(said.contains(fact), "{fact:?} in\n{said}");
    }
}
