//! Dead letters by the commands and over HTTP: they are listed, shown, tried again and removed; what is
//! handled after all is gone with its effect, whenever the server is killed, and what is not stays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeMap;
use std::process::Output;

use common::destination::{Answer, Destination};
use common::hook::{numbers, started, store};
use common::http::{self, Connection, Reply};
use common::{Broker, program, until};
use serde_json::{Value, json};

fn dlq(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = program();
    command.arg("dlq").args(arguments).arg("-c").arg(broker.path("server.toml"));
    command.output().unwrap()
}

/// What a command says in JSON, and how it ends.
fn asked(broker: &Broker, arguments: &[&str]) -> (Value, i32) {
    let output = dlq(broker, &[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let found = serde_json::from_slice(&output.stdout);
    let found = found.unwrap_or_else(|error| panic!("{error}: {said}"));
    (found, output.status.code().unwrap())
}

fn letters(broker: &Broker) -> Vec<Value> {
    let (found, code) = asked(broker, &["list", "--limit", "100000"]);
    assert_eq!((code, &found["next"]), (0, &Value::Null));
    found["dead_letters"].as_array().unwrap().clone()
}

/// The letter of the `nth` packet to a target: which target's come first is not known.
fn nth(letters: &[Value], target: &str, nth: usize) -> Value {
    let mut of = letters.iter().filter(|letter| letter["target"] == target);
    of.nth(nth - 1).unwrap().clone()
}

fn get(broker: &Broker, path: &str) -> Reply {
    http::get(broker.server_admin_port, path)
}

fn gauge(broker: &Broker, handler: &str) -> f64 {
    let series = format!("paquebot_server_dead_letters{{handler=\"{handler}\"}}");
    broker.metric(broker.server_admin_port, &series).unwrap()
}

/// A broker whose destination rejects everything, and nine dead letters of three targets.
fn with_letters(destination: &Destination) -> Broker {
    destination.answer(|_| Answer::With(422, "", "no such article"));
    let broker = started(destination.port, "");
    for target in ["a.x", "a.y", "b"] {
        store(&broker, target, 3);
    }
    broker.drain();
    assert_eq!(letters(&broker).len(), 9);
    broker
}

#[test]
fn they_are_listed_filtered_and_shown_with_all_that_is_known() {
    let destination = Destination::start();
    let broker = with_letters(&destination);
    let headers = [("content-type", "text/plain"), ("paquebot-header-shop", "north")];
    broker.connect().post("c", b"\xff\xfe", &headers);
    broker.drain();
    let count = |path: &str| {
        let found = get(&broker, &format!("/v1/dead-letters?{path}")).json();
        found["dead_letters"].as_array().unwrap().len()
    };
    assert_eq!(count(""), 10);
    assert_eq!(count("target=a.*"), 6);
    assert_eq!(count("target=a.*&handler=hook&client=till-1"), 6);
    assert_eq!((count("handler=other"), count("client=other")), (0, 0));
    assert_eq!((count("since=1%20h"), count("until=1%20h")), (10, 0));
    assert_eq!((count("since=2000-01-01T00:00:00Z"), count("until=2000-01-01T00:00:00Z")), (10, 0));
    let (mut pages, mut after, mut seen) = (0, String::new(), Vec::new());
    loop {
        let page = get(&broker, &format!("/v1/dead-letters?limit=4{after}")).json();
        seen.extend(page["dead_letters"].as_array().unwrap().clone());
        pages += 1;
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!((pages, seen.len()), (3, 10));
    let letter = &seen[9];
    for (key, value) in [
        ("client", "till-1"),
        ("target", "c"),
        ("handler", "hook"),
        ("reason", "answer 422: no such article"),
    ] {
        assert_eq!(letter[key], value, "{letter}");
    }
    assert_eq!(letter["attempts"], 1);
    assert!(letter["first_attempt"].as_str().unwrap().ends_with('Z'));
    let id = letter["id"].as_str().unwrap();
    let full = get(&broker, &format!("/v1/dead-letters/{id}")).json();
    assert_eq!((&full["data_base64"], &full["data"]), (&json!("//4="), &Value::Null));
    assert_eq!(full["headers"]["shop"], "north");
    assert_eq!((&full["content_type"], &full["id"]), (&json!("text/plain"), &json!(id)));
    let first = seen[0]["id"].as_str().unwrap();
    assert_eq!(asked(&broker, &["show", first]).0["data"], "1");
    let shown = String::from_utf8(dlq(&broker, &["show", id]).stdout).unwrap();
    assert!(shown.contains("shop: north") && shown.contains("base64: //4="), "{shown}");
    let listed = String::from_utf8(dlq(&broker, &["list", "--target", "c"]).stdout).unwrap();
    assert!(listed.contains(id) && listed.contains("no such article"), "{listed}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let destination = Destination::start();
    let broker = with_letters(&destination);
    let nobody = format!("{}-1-1", "0".repeat(32));
    for (path, status, code) in [
        ("/v1/dead-letters?limit=0", 400, "bad-request"),
        ("/v1/dead-letters?colour=red", 400, "bad-request"),
        ("/v1/dead-letters?since=yesterday", 400, "bad-request"),
        ("/v1/dead-letters?target=a..b", 400, "bad-request"),
        ("/v1/dead-letters/nonsense", 400, "bad-request"),
        (&format!("/v1/dead-letters/{nobody}"), 404, "not-found"),
    ] {
        let reply = get(&broker, path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(reply.json()["type"], format!("urn:paquebot:problem:{code}"), "{path}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    let mut connection = Connection::open(broker.server_admin_port);
    let headers = [("content-type", "application/json")];
    let replay = connection.request("POST", "/v1/dead-letters/replay", b"{}", &headers);
    assert_eq!(replay.status, 400, "{}", replay.text());
    let page = [("content-type", "application/json"), ("origin", "http://evil.example")];
    let all = b"{\"all\": true}";
    let refused = connection.request("POST", "/v1/dead-letters/discard", all, &page);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(letters(&broker).len(), 9);
    for (arguments, code) in [
        (vec!["replay"], 64),
        (vec!["discard"], 64),
        (vec!["replay", "nonsense"], 64),
        (vec!["list", "--since", "yesterday"], 64),
        (vec!["replay", &nobody], 65),
        (vec!["discard", &nobody], 65),
        (vec!["show", &nobody], 65),
    ] {
        let output = dlq(&broker, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
    let mut broker = broker;
    broker.stop_server();
    assert_eq!(dlq(&broker, &["list"]).status.code(), Some(69));
}

#[test]
fn they_are_tried_again_in_order_with_their_ids_and_go_when_they_are_handled() {
    let destination = Destination::start();
    let mut broker = with_letters(&destination);
    assert_eq!(gauge(&broker, "hook"), 9.0);
    let before = letters(&broker);
    // One by its id, then some, then all: the second of "b" is still not wanted.
    destination.answer(|parcel| match (parcel.target(), parcel.data.as_str()) {
        ("b", "2") => Answer::With(400, "", "not that one"),
        _ => Answer::Status(200),
    });
    let sent = destination.parcels().len();
    let one = nth(&before, "a.y", 2);
    let one = one["id"].as_str().unwrap();
    let (found, code) = asked(&broker, &["replay", one]);
    assert_eq!((code, &found["handled"], &found["still_dead"]), (0, &json!(1), &json!(0)));
    let parcel = &destination.parcels()[sent];
    assert_eq!((parcel.header("paquebot-id"), parcel.attempt()), (one, 2));
    assert_eq!(parcel.header("paquebot-client"), "till-1");
    let (found, code) = asked(&broker, &["replay", "--target", "a.x", "--limit", "2"]);
    assert_eq!((code, &found["replayed"], &found["handled"]), (0, &json!(2), &json!(2)));
    let (found, code) = asked(&broker, &["replay", "--all"]);
    assert_eq!((code, &found["replayed"], &found["handled"]), (65, &json!(6), &json!(5)));
    assert_eq!((&found["rejected"], &found["still_dead"]), (&json!(1), &json!(1)));
    assert_eq!(found["problems"][0]["reason"], "answer 400: not that one");
    let accepted = destination.accepted();
    assert_eq!(accepted["a.x"], numbers(3));
    assert_eq!(accepted["b"], ["1", "3"]);
    let left = letters(&broker);
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0]["attempts"], &left[0]["handler"]), (&json!(2), &json!("hook")));
    assert_eq!(left[0]["reason"], "answer 400: not that one");
    let was = nth(&before, "b", 2);
    assert_eq!((&left[0]["first_attempt"], &left[0]["id"]), (&was["first_attempt"], &was["id"]));
    assert!(left[0]["last_attempt"].as_str() > was["last_attempt"].as_str());
    // The lanes go on where they were, and totals are true, over a restart, too.
    assert_eq!(broker.post("b?wait=handled", "4").status, 200);
    for _ in 0..2 {
        assert_eq!(gauge(&broker, "hook"), 1.0);
        let status = broker.server_status();
        assert_eq!(status["dead_letters"], 1);
        assert_eq!(status["dead_letters_gone"]["replayed"], 8);
        for (outcome, packets) in [("handled", 9.0), ("dead_lettered", 9.0)] {
            until(outcome, || common::hook::outcome(&broker, outcome) == packets);
        }
        assert_eq!(letters(&broker).len(), 1);
        broker.stop_server();
        broker.start_server();
    }
}

#[test]
fn what_fails_stays_and_what_is_behind_it_is_left_for_another_time() {
    let destination = Destination::start();
    let mut broker = with_letters(&destination);
    destination.answer(|parcel| match (parcel.target(), parcel.data.as_str()) {
        ("a.x", "2") => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let (found, code) = asked(&broker, &["replay", "--handler", "hook"]);
    let counts = ["replayed", "handled", "failed", "left", "rejected", "still_dead"];
    let counts = counts.map(|key| found[key].as_u64().unwrap());
    assert_eq!((code, counts), (75, [8, 7, 1, 1, 0, 2]), "{found}");
    let left = letters(&broker);
    let facts: Vec<_> = left.iter().map(|l| (l["attempts"].clone(), l["reason"].clone())).collect();
    let expected =
        [(json!(2), json!("answer 500")), (json!(1), json!("answer 422: no such article"))];
    assert_eq!(facts, expected);
    assert_eq!(destination.accepted()["a.x"], ["1"]);
    // Nobody is there at all: after some targets nobody is asked any more.
    for target in 0..40 {
        destination.answer(|_| Answer::Status(422));
        store(&broker, &format!("many.{target}"), 1);
    }
    broker.drain();
    destination.answer(|_| Answer::HangUp);
    let sent = destination.parcels().len();
    let (found, code) = asked(&broker, &["replay", "--target", "many.*"]);
    assert_eq!((code, &found["handled"], &found["still_dead"]), (75, &json!(0), &json!(40)));
    assert!(found["failed"].as_u64().unwrap() < 40, "{found}");
    assert!(destination.parcels().len() - sent < 80);
    // And it is not remembered against anybody.
    destination.answer(|_| Answer::Status(200));
    broker.stop_server();
    broker.start_server();
    let (found, code) = asked(&broker, &["replay", "--all"]);
    assert_eq!((code, &found["handled"], &found["still_dead"]), (0, &json!(42), &json!(0)));
    assert_eq!(destination.accepted()["a.x"], numbers(3));
    assert_eq!(gauge(&broker, "hook"), 0.0);
}

#[test]
fn what_is_discarded_is_gone_for_good() {
    let destination = Destination::start();
    let mut broker = with_letters(&destination);
    let first = nth(&letters(&broker), "a.x", 1)["id"].as_str().unwrap().to_owned();
    let mut connection = Connection::open(broker.server_admin_port);
    let deleted = connection.request("DELETE", &format!("/v1/dead-letters/{first}"), b"", &[]);
    assert_eq!((deleted.status, deleted.json()["discarded"].as_u64()), (200, Some(1)));
    let again = connection.request("DELETE", &format!("/v1/dead-letters/{first}"), b"", &[]);
    assert_eq!(again.status, 404);
    assert_eq!(asked(&broker, &["discard", "--target", "a.*"]).0["discarded"], 5);
    let second = letters(&broker)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(asked(&broker, &["discard", &second]).0["discarded"], 1);
    broker.kill_server();
    broker.start_server();
    assert_eq!(letters(&broker).len(), 2);
    let refused = dlq(&broker, &["discard", "--all"]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{why}");
    assert!(why.contains("expected --yes"), "nobody can be asked: {why}");
    assert_eq!(letters(&broker).len(), 2);
    let said = dlq(&broker, &["discard", "--all", "--yes"]);
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "2 discarded\n");
    assert_eq!(letters(&broker), Vec::<Value>::new());
    assert_eq!(broker.server_status()["dead_letters_gone"]["discarded"], 9);
}

const ORDERS_TO_FILE: &str = "[[server.handler]]\nname = \"out\"\ntargets = [\"orders.>\"]\n\
    kind = \"file\"\npath = \"out.ndjson\"\n";

const NOBODY: &str =
    "[[server.handler]]\nname = \"none\"\ntargets = [\"none\"]\nkind = \"discard\"\n";

#[test]
fn thousands_go_to_a_file_exactly_once_though_the_server_is_killed_on_the_way() {
    const LETTERS: usize = 10_000;
    let mut broker = Broker::new(NOBODY);
    broker.start_server();
    broker.start_client();
    for target in 0..4 {
        store(&broker, &format!("orders.{target}"), LETTERS / 4);
    }
    broker.drain();
    assert_eq!(gauge(&broker, "_unknown"), 10_000.0);
    // Now somebody takes them, beside what comes from the client.
    broker.stop_server();
    broker.edit("server.toml", NOBODY, ORDERS_TO_FILE);
    let mut kills = 0;
    loop {
        broker.start_server();
        let left = broker.server_status()["dead_letters"].as_u64().unwrap();
        let lines = broker.lines("out.ndjson").len();
        if kills == 4 {
            break;
        }
        let mut command = program();
        command.args(["dead-letters", "replay", "--all", "-c"]).arg(broker.path("server.toml"));
        let mut replay = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let more = lines + 300;
        until("some are written", || broker.lines("out.ndjson").len() > more || left == 0);
        assert_eq!(broker.post("orders.0", &format!("live {kills}")).status, 202);
        if kills == 2 {
            // An ordered stop does not wait for thousands.
            broker.stop_server();
        } else {
            broker.kill_server();
        }
        assert_ne!(replay.wait().unwrap().code(), Some(0));
        kills += 1;
    }
    let left = broker.server_status()["dead_letters"].as_u64().unwrap();
    assert!(left > 0, "nothing was left: the kills came too late to prove anything");
    let said = dlq(&broker, &["replay", "--handler", "_unknown"]);
    let expected = format!("{left} replayed: {left} handled, 0 still dead\n");
    assert_eq!(String::from_utf8(said.stdout).unwrap(), expected);
    broker.drain();
    let mut of: BTreeMap<String, Vec<String>> = broker.handled("out.ndjson");
    let of_live = of.get_mut("orders.0").unwrap();
    of_live.retain(|data| !data.starts_with("live"));
    for (target, data) in of {
        assert_eq!(data, numbers(LETTERS / 4), "{target}: lost, twice or out of order");
    }
    let live = broker.lines("out.ndjson").len() - LETTERS;
    assert_eq!(live, 4, "what is live goes on");
    assert_eq!((letters(&broker).len(), gauge(&broker, "_unknown")), (0, 0.0));
    assert_eq!(broker.server_status()["dead_letters_gone"]["replayed"], 10_000);
}

#[test]
fn a_target_that_still_nobody_takes_stays_and_says_so() {
    let mut broker = Broker::new(NOBODY);
    broker.start_server();
    broker.start_client();
    store(&broker, "orders.a", 3);
    broker.drain();
    let (found, code) = asked(&broker, &["replay", "--all"]);
    assert_eq!((code, &found["replayed"], &found["still_dead"]), (65, &json!(3), &json!(3)));
    let left = letters(&broker);
    assert_eq!((left.len(), &left[0]["attempts"]), (3, &json!(2)));
    assert_eq!(left[0]["reason"], "no handler takes target orders.a");
    assert_eq!(gauge(&broker, "_unknown"), 3.0);
    // It was dead once.
    let dead = "paquebot_server_packets_total{handler=\"_unknown\",outcome=\"dead_lettered\"}";
    assert_eq!(broker.metric(broker.server_admin_port, dead), Some(3.0));
}
