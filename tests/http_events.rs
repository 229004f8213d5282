//! The source `http`, where a request says or is asked for more: keys under which it may be repeated,
//! CloudEvents, and conditions and headers of the config.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::http::Reply;
use common::{ALL_TO_FILE, Broker, until};
use serde_json::{Value, json};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");

fn assert_problem(reply: &Reply, code: &str, detail: &str) {
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:paquebot:problem:{code}"), "{problem}");
    let found = problem["detail"].as_str().unwrap();
    assert!(found.contains(detail), "expected {detail:?} in {found:?}");
}

/// A broker whose source has `keys` beside its own.
fn with_source(keys: &str) -> Broker {
    let broker = Broker::new(ALL_TO_FILE);
    broker.edit("client.toml", "kind = \"http\"", &format!("kind = \"http\"\n{keys}"));
    broker
}

/// The lines of the output, once so many packets are handled.
fn lines(broker: &mut Broker, count: usize) -> Vec<Value> {
    broker.start_server();
    broker.drain();
    let lines = broker.lines("out.ndjson");
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[test]
fn a_key_that_is_repeated_gets_the_first_answer_and_stores_nothing_again() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let post = |broker: &Broker, target: &str, data: &str, key: &str| {
        broker.connect().post(target, data.as_bytes(), &[("idempotency-key", key)])
    };
    let first = post(&broker, "a", "x", "k1");
    assert_eq!(first.status, 202);
    let again = post(&broker, "a", "x", "k1");
    assert_eq!((again.status, again.json()), (202, first.json()));
    let other = post(&broker, "a", "x", "k2");
    assert_ne!(other.json()["id"], first.json()["id"], "another key is another packet");

    let id = first.json()["id"].as_str().unwrap().to_owned();
    let reply = post(&broker, "a", "y", "k1");
    assert_eq!(reply.status, 422);
    assert_problem(&reply, "idempotency-mismatch", &id);
    let reply = post(&broker, "b", "x", "k1");
    assert_eq!(reply.status, 422, "for another target it is something else, too");
    let reply = post(&broker, "a", "x", "");
    assert_eq!(reply.status, 400);
    assert_problem(&reply, "bad-request", "idempotency key: expected 1 to 1024 bytes, found 0");

    // It is as durable as the packet, and outlives it.
    broker.kill_client();
    broker.start_client();
    assert_eq!(post(&broker, "a", "x", "k1").json(), first.json());
    lines(&mut broker, 2);
    assert_eq!(post(&broker, "a", "x", "k1").json(), first.json());
    broker.kill_client();
    broker.start_client();
    assert_eq!(post(&broker, "a", "x", "k1").json(), first.json(), "after it was handled, too");
    let waits = post(&broker, "a?wait=handled&timeout=1s", "x", "k1");
    assert_eq!((waits.status, &waits.json()["id"]), (200, &first.json()["id"]), "it was handled");
    broker.drain();
    assert_eq!(broker.lines("out.ndjson").len(), 2);
}

#[test]
fn sources_do_not_share_their_keys() {
    let mut broker = Broker::new(ALL_TO_FILE);
    let other = common::free_port();
    let config = std::fs::read_to_string(broker.path("client.toml")).unwrap();
    let source = format!(
        "[[client.source]]\nname = \"other\"\nkind = \"http\"\nlisten = \"127.0.0.1:{other}\"\n"
    );
    broker.write("client.toml", &format!("{config}\n{source}"));
    broker.start_client();
    let key = [("idempotency-key", "k")];
    assert_eq!(broker.connect().post("a", b"one", &key).status, 202);
    let mut connection = common::http::Connection::open(other);
    assert_eq!(connection.post("a", b"two", &key).status, 202);
    lines(&mut broker, 2);
}

#[test]
fn a_batch_has_a_key_for_each_line_and_keeps_their_order() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let line = |data: &str, key: Option<&str>| {
        let mut line = json!({"target": "a", "data": data});
        if let Some(key) = key {
            line["idempotency_key"] = key.into();
        }
        format!("{line}\n")
    };
    let text = [
        line("1", None),
        line("2", Some("two")),
        line("3", None),
        line("2", Some("two")),
        line("other", Some("two")),
        line("4", Some("four")),
    ];
    let answers = |text: &[String]| -> Vec<Value> {
        let reply = broker.connect().post_lines(&text.concat());
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = answers(&text);
    assert_eq!(first[1], first[3], "the same key in one batch");
    assert_eq!(first[4]["type"], "urn:paquebot:problem:idempotency-mismatch");
    assert_eq!(first[4]["status"], 422);
    let numbers = |answers: &[Value]| -> Vec<Option<u64>> {
        answers.iter().map(|answer| answer["number"].as_u64()).collect()
    };
    assert_eq!(numbers(&first), [Some(1), Some(2), Some(3), Some(2), None, Some(4)]);
    // Who did not hear the answer sends everything again: what has a key is not there twice.
    assert_eq!(numbers(&answers(&text)), [Some(5), Some(2), Some(6), Some(2), None, Some(4)]);
    let stored = lines(&mut broker, 6);
    let data: Vec<_> = stored.iter().map(|line| line["data"].as_str().unwrap()).collect();
    assert_eq!(data, ["1", "2", "3", "4", "1", "3"]);
}

#[test]
fn cloud_events_are_recognised_in_both_modes() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let binary = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "17"),
        ("ce-source", "/till/7"),
        ("ce-type", "sale"),
        ("ce-subject", "K%C3%A4se"),
    ];
    let first = broker.connect().post("ce", b"ten", &binary);
    assert_eq!(first.status, 202, "{}", first.text());
    let again = broker.connect().post("ce", b"ten", &binary);
    assert_eq!(again.json(), first.json(), "source and id are its key");

    let post =
        |event: &Value| broker.connect().post("ce", event.to_string().as_bytes(), &[STRUCTURED]);
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "s", "type": "t"});
    let mut of_json = event("1");
    of_json["data"] = json!({"k": [1, 2]});
    of_json["priority"] = 3.into();
    of_json["subject"] = Value::Null;
    assert_eq!(post(&of_json).status, 202);
    assert_eq!(post(&of_json).json()["number"], 2, "the same event again");
    let mut of_text = event("2");
    of_text["datacontenttype"] = "text/plain".into();
    of_text["data"] = "plain".into();
    assert_eq!(post(&of_text).status, 202);
    let mut of_bytes = event("3");
    of_bytes["datacontenttype"] = "application/x-bytes".into();
    of_bytes["data_base64"] = "AP8=".into();
    assert_eq!(post(&of_bytes).status, 202);
    assert_eq!(post(&event("4")).status, 202, "an event may have no data");

    let lines = lines(&mut broker, 5);
    let of = |at: usize| (&lines[at]["content_type"], &lines[at]["data"]);
    assert_eq!(of(0), (&"text/plain".into(), &"ten".into()));
    assert_eq!(
        lines[0]["headers"],
        json!({"ce-specversion": "1.0", "ce-id": "17", "ce-source": "/till/7", "ce-type": "sale",
               "ce-subject": "Käse"})
    );
    assert_eq!(of(1), (&"application/json".into(), &"{\"k\":[1,2]}".into()));
    assert_eq!(
        lines[1]["headers"],
        json!({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t",
               "ce-priority": "3"})
    );
    assert_eq!(of(2), (&"text/plain".into(), &"plain".into()));
    assert_eq!(lines[3]["content_type"], "application/x-bytes");
    assert_eq!(lines[3]["data_base64"], "AP8=");
    assert_eq!(of(4), (&Value::Null, &"".into()));
}

#[test]
fn what_is_wrong_with_a_cloud_event_is_said() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let wrong = |event: &str, detail: &str| {
        let reply = broker.connect().post("ce", event.as_bytes(), &[STRUCTURED]);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_problem(&reply, "bad-request", detail);
    };
    wrong("no json", "expected a JSON object");
    wrong("[1]", "expected a JSON object");
    wrong(r#"{"specversion":"1.0","source":"s","type":"t"}"#, "attribute `id`, found none");
    wrong(r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "1.0, found \"0.3\"");
    let with =
        |more: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{more}}}"#);
    wrong(&with(r#""data":1,"data_base64":"AA==""#), "found both");
    wrong(&with(r#""data_base64":"%""#), "data_base64: ");
    wrong(&with(r#""Upper":"x""#), "a-z and 0-9, found \"Upper\"");
    wrong(&with(r#""extension":{}"#), "`extension`: expected a text");
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s")];
    let reply = broker.connect().post("ce", b"x", &headers);
    assert_problem(&reply, "bad-request", "attribute `type`, found none");
    assert_eq!(broker.backlog(), 0);
}

#[test]
fn only_the_predetermined_event_becomes_a_packet_and_headers_are_added() {
    let mut broker = with_source(
        "when = 'json.amount > 10 && target.startsWith(\"sales\")'\n\
         on_error = \"drop\"\n\
         content_type = \"application/json\"\n\
         headers = { till = \"7\", amount = \"{{ json.amount }}\" }",
    );
    broker.start_client();
    let post = |target: &str, data: &str| {
        broker.connect().post(target, data.as_bytes(), &[("paquebot-header-till", "8")])
    };
    let reply = post("sales.eu", r#"{"amount": 11}"#);
    assert_eq!((reply.status, &reply.json()["state"]), (202, &"stored".into()));
    for (target, data) in [("sales.eu", r#"{"amount": 9}"#), ("other", r#"{"amount": 11}"#)] {
        let reply = post(target, data);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json(), json!({"target": target, "state": "filtered"}));
    }
    assert_eq!(post("sales.eu", "no json").json()["state"], "filtered", "an error drops it");
    let batch = "{\"target\":\"sales.eu\",\"json\":{\"amount\":12}}\n\
                 {\"target\":\"sales.eu\",\"json\":{\"amount\":1}}\n";
    let reply = broker.connect().post_lines(batch);
    let states: Vec<Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&"stored".into(), &"filtered".into()));
    until("events are counted", || {
        let count = |outcome: &str| {
            let series =
                format!("paquebot_source_events_total{{source=\"local\",outcome=\"{outcome}\"}}");
            broker.metric(broker.client_admin_port, &series)
        };
        (count("sent"), count("filtered"), count("error")) == (Some(2.0), Some(4.0), Some(1.0))
    });
    let lines = lines(&mut broker, 2);
    assert_eq!(
        lines[0]["headers"],
        json!({"till": "7", "amount": "11"}),
        "the config's word counts"
    );
    assert_eq!(lines[0]["content_type"], "application/json");
    assert_eq!(lines[1]["headers"]["amount"], "12");
}
