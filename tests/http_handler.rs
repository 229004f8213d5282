//! The handler `http`: every packet reaches its destination with its id, in order per target; what
//! fails is tried again in its place, and what is rejected takes only itself out (R4, R5).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::time::Duration;

use common::destination::{Answer, Destination, Parcel};
use common::hook::{
    await_outcomes, broker, dead_letters, handler_state, numbers, outcome, started, store,
};

#[test]
fn all_that_is_known_of_a_packet_is_said() {
    let destination = Destination::start();
    let keys = "headers = { Authorization = \"Bearer ${TOKEN:-secret}\" }";
    let broker = started(destination.port, keys);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", traceparent),
        ("paquebot-header-shop", "north"),
    ];
    let reply = broker.connect().post("orders.a?wait=handled", b"{\"total\": 17}", &headers);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let parcels = destination.parcels();
    let [parcel] = parcels.as_slice() else { panic!("{parcels:?}") };
    assert_eq!(parcel.line, "POST /in?x=1 HTTP/1.1");
    assert_eq!(parcel.data, "{\"total\": 17}");
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("host", format!("127.0.0.1:{}", destination.port).as_str()),
        ("content-type", "application/json"),
        ("authorization", "Bearer secret"),
        ("idempotency-key", &id),
        ("paquebot-id", &id),
        ("paquebot-client", "till-1"),
        ("paquebot-target", "orders.a"),
        ("paquebot-number", "1"),
        ("paquebot-attempt", "1"),
        ("paquebot-header-shop", "north"),
        ("traceparent", traceparent),
    ] {
        assert_eq!(parcel.header(name), value, "{name}");
    }
    let created = parcel.header("paquebot-created");
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    await_outcomes(&broker, [("handled", 1.0)]);
    assert_eq!(handler_state(&broker), "ok");
}

#[test]
fn each_target_is_served_in_order_one_by_one_and_several_at_once() {
    let destination = Destination::start();
    destination.answer(|_| Answer::After(Duration::from_millis(2), 204));
    let broker = started(destination.port, "concurrency = 4");
    std::thread::scope(|scope| {
        for lane in 0..10 {
            let broker = &broker;
            scope.spawn(move || store(broker, &format!("t.{lane}"), 60));
        }
    });
    broker.drain();
    let accepted = destination.accepted();
    assert_eq!(accepted.len(), 10);
    for (target, data) in accepted {
        assert_eq!(data, numbers(60), "{target}");
    }
    let (of_a_target, of_all) = destination.most_at_once();
    assert_eq!(of_a_target, 1, "two packets of one target were under way at once");
    assert!((2..=4).contains(&of_all), "{of_all} at once");
}

#[test]
fn what_fails_is_tried_again_after_what_was_handled_and_before_what_follows() {
    let destination = Destination::start();
    destination.answer(|parcel| match (parcel.data.as_str(), parcel.attempt()) {
        ("3", 1) => Answer::Status(500),
        ("3", 2) => Answer::HangUp,
        ("5", 1) => Answer::Status(404),
        _ => Answer::Status(200),
    });
    let mut broker = broker(destination.port, "");
    broker.start_client();
    store(&broker, "a", 7);
    broker.start_server();
    broker.drain();
    let parcels = destination.parcels();
    let tried: Vec<_> =
        parcels.iter().map(|parcel| (parcel.data.as_str(), parcel.attempt())).collect();
    let expected = [
        ("1", 1),
        ("2", 1),
        ("3", 1),
        ("3", 2),
        ("3", 3),
        ("4", 1),
        ("5", 1),
        ("5", 2),
        ("6", 1),
        ("7", 1),
    ];
    assert_eq!(tried, expected);
    await_outcomes(&broker, [("handled", 7.0), ("retried", 3.0)]);
}

#[test]
fn a_poison_packet_takes_only_itself_out() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.data.as_str() {
        "4" => Answer::With(422, "", "no such article"),
        _ => Answer::Status(200),
    });
    let mut broker = broker(destination.port, "");
    broker.start_client();
    store(&broker, "a", 9);
    broker.start_server();
    broker.drain();
    let all_but_one: Vec<_> = numbers(9).into_iter().filter(|number| number != "4").collect();
    assert_eq!(destination.accepted()["a"], all_but_one);
    assert_eq!(destination.parcels().len(), 9, "something was sent twice");
    await_outcomes(&broker, [("handled", 8.0), ("rejected", 1.0), ("dead_lettered", 1.0)]);
    assert_eq!(outcome(&broker, "retried"), 0.0);
    assert_eq!(handler_state(&broker), "ok");
    let letters = dead_letters(&mut broker);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.id.number.0, letter.handler.as_str()), (4, "hook"));
    assert_eq!(letter.reason, "answer 422: no such article");
    assert_eq!(letter.attempts, 1);
}

#[test]
fn whoever_waits_for_a_rejected_packet_hears_so() {
    let destination = Destination::start();
    destination.answer(|_| Answer::Status(418));
    let broker = started(destination.port, "rejected_statuses = [418]");
    assert_eq!(broker.post("a?wait=handled", "tea").status, 422);
}

#[test]
fn a_redirect_is_not_followed_and_the_packet_is_tried_again() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.attempt() {
        1 => Answer::With(307, "location: /elsewhere\r\n", ""),
        _ => Answer::Status(200),
    });
    let broker = started(destination.port, "");
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    let parcels = destination.parcels();
    assert!(parcels.iter().all(|parcel| parcel.line.starts_with("POST /in?x=1 ")), "{parcels:?}");
    assert_eq!(parcels.iter().map(Parcel::attempt).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.attempt() {
        1 => Answer::Never,
        _ => Answer::Status(200),
    });
    let broker = started(destination.port, "timeout = \"200 ms\"");
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    let attempts: Vec<_> = destination.parcels().iter().map(Parcel::attempt).collect();
    assert_eq!(attempts, [1, 2]);
    let why = broker.server_status()["handlers"][0]["last_error"].to_string();
    assert!(why.contains("no answer within 200 ms"), "{why}");
}

#[test]
fn a_destination_that_asks_for_patience_gets_it() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.attempt() {
        1 => Answer::With(503, "retry-after: 2\r\n", ""),
        _ => Answer::Status(200),
    });
    let broker = started(destination.port, "");
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    let parcels = destination.parcels();
    let [first, second] = parcels.as_slice() else { panic!("{parcels:?}") };
    let waited = second.at.duration_since(first.at);
    assert!(waited >= Duration::from_secs(2), "came again after {waited:?}");
}
