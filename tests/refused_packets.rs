//! Packets that their server can never take: they become dead letters of their client, the lane goes on
//! in order, and nobody else's waits (R5, R8). They are listed, shown, traced, replayed and discarded
//! there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;
use std::process::Output;

use common::http;
use common::{ALL_TO_FILE, Broker, program, until};
use serde_json::{Value, json};

const KIB: usize = 1024;

fn run(broker: &Broker, config: &str, arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).arg("-c").arg(broker.path(config)).output().unwrap()
}

/// What a command about dead letters says in JSON, and how it ends.
fn dlq(broker: &Broker, config: &str, arguments: &[&str]) -> (Value, i32) {
    let output = run(broker, config, &[&["dlq"], arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = serde_json::from_slice(&output.stdout);
    let found = found.unwrap_or_else(|error| panic!("{error}: {said}"));
    (found, output.status.code().unwrap())
}

fn letters(broker: &Broker, config: &str) -> Vec<Value> {
    let (found, code) = dlq(broker, config, &["list"]);
    assert_eq!((code, &found["next"]), (0, &Value::Null), "{found}");
    found["dead_letters"].as_array().unwrap().clone()
}

fn counted(broker: &Broker, event: &str) -> f64 {
    let series = format!("paquebot_client_packets_total{{event=\"{event}\",target=\"orders\"}}");
    broker.metric(broker.client_admin_port, &series).unwrap_or_default()
}

/// The first bytes and the length of what was handled, in order.
fn handled(broker: &Broker, target: &str) -> Vec<(String, usize)> {
    let all = broker.handled("out.ndjson").remove(target).unwrap_or_default();
    all.iter().map(|data| (data.trim_end_matches('.').to_owned(), data.len())).collect()
}

fn big(name: &str, bytes: usize) -> String {
    let mut data = name.to_owned();
    data.extend(std::iter::repeat_n('.', bytes - name.len()));
    data
}

fn small(name: &str) -> (String, usize) {
    (name.to_owned(), name.len())
}

#[test]
fn a_packet_too_large_for_its_server_is_a_dead_letter_of_its_client_and_the_lane_goes_on() {
    let (client, server) = ("max_packet_bytes = \"1 MiB\"", "max_packet_bytes = \"64 KiB\"");
    let mut broker = Broker::with(client, server, ALL_TO_FILE);
    broker.start_client();
    let fits = big("fits", 64 * KIB);
    let too_big = big("too big", 100 * KIB);
    // The last one is longer than any frame that the server takes: the client sees that by itself.
    let far_too_big = big("far too big", 1024 * KIB);
    let mut ids = Vec::new();
    for data in ["1", &too_big, "2", &fits, &far_too_big, &too_big, "3"] {
        let reply = broker.post("orders", data);
        assert_eq!(reply.status, 202, "{}", reply.text());
        ids.push(reply.json()["id"].as_str().unwrap().to_owned());
    }
    broker.start_server();
    broker.drain();
    let (fit, expected) = (("fits".to_owned(), 64 * KIB), [small("1"), small("2")]);
    let expected = [&expected[..], &[fit.clone(), small("3")]].concat();
    assert_eq!(handled(&broker, "orders"), expected);
    broker.client_says("packets become dead letters of this client");
    broker.server_says("packets are longer than server.max_packet_bytes");
    // Who waits for one hears what became of it, and nobody else waits.
    let mut connection = broker.connect();
    let reply = connection.post("orders?wait=handled", too_big.as_bytes(), &[]);
    assert_eq!(
        (reply.status, &reply.json()["type"]),
        (422, &json!("urn:paquebot:problem:dead-lettered"))
    );
    ids.push(letters(&broker, "client.toml")[3]["id"].as_str().unwrap().to_owned());
    let reply = connection.post("orders?wait=handled", b"4", &[]);
    assert_eq!(reply.status, 200, "{}", reply.text());

    // They are there after a crash, and each says what it is.
    broker.kill_client();
    broker.start_client();
    broker.drain();
    // In the order in which they were found out: the client may be ahead of the server.
    let dead = BTreeSet::from([&ids[1], &ids[4], &ids[5], &ids[7]].map(String::as_str));
    let found = letters(&broker, "client.toml");
    assert_eq!(found.iter().map(|one| one["id"].as_str().unwrap()).collect::<BTreeSet<_>>(), dead);
    for letter in &found {
        assert_eq!((&letter["side"], &letter["client"]), (&json!("client"), &json!("till-1")));
        assert_eq!(letter["target"], "orders");
        assert!(letter["reason"].as_str().unwrap().contains("can never take it"), "{letter}");
    }
    let listed = run(&broker, "client.toml", &["dlq", "list", "--limit", "1"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let first = found[0]["id"].as_str().unwrap();
    assert!(listed.contains(&format!("\nclient  {first}  till-1  orders  -  ")), "{listed}");
    let (shown, code) = dlq(&broker, "client.toml", &["show", &ids[4]]);
    assert_eq!((code, shown["data"].as_str().unwrap()), (0, far_too_big.as_str()));
    let (_, code) = dlq_fails(&broker, &["show", &ids[0]]);
    assert_eq!(code, 65, "a packet that was handled is no dead letter");
    let traced = http::get(broker.client_admin_port, &format!("/v1/packets/{}", ids[1])).json();
    assert_eq!(
        (&traced["state"], &traced["client"]["state"]),
        (&json!("dead-letter"), &json!("dead-letter"))
    );
    let status = broker.client_status();
    assert_eq!((&status["dead_letters"], &status["pending_packets"]), (&json!(4), &json!(0)));
    assert_eq!((counted(&broker, "dead_lettered"), counted(&broker, "handled")), (4.0, 5.0));
    assert_eq!(counted(&broker, "accepted"), 9.0);

    // The server takes more now, and they are sent after all, once.
    broker.stop_server();
    broker.edit("server.toml", "64 KiB", "2 MiB");
    broker.start_server();
    let (replayed, code) = dlq(&broker, "client.toml", &["replay", &ids[4]]);
    assert_eq!((code, &replayed["stored"], &replayed["still_dead"]), (0, &json!(1), &json!(0)));
    let now = replayed["stored_as"][0]["now"].as_str().unwrap().to_owned();
    broker.drain();
    let lines = broker.lines("out.ndjson");
    let line = lines.iter().find(|line| line["id"] == now.as_str()).unwrap();
    assert_eq!(line["headers"]["paquebot-replayed-from"], ids[4].as_str());
    let (discarded, code) = dlq(&broker, "client.toml", &["discard", &ids[7]]);
    assert_eq!((code, &discarded["discarded"]), (0, &json!(1)));
    let (replayed, code) = dlq(&broker, "client.toml", &["replay", "--all"]);
    assert_eq!((code, &replayed["stored"], &replayed["replayed"]), (0, &json!(2), &json!(2)));
    broker.drain();
    let sent = |name: &str, bytes: usize| (name.to_owned(), bytes * KIB);
    let again = [sent("far too big", 1024), sent("too big", 100), sent("too big", 100)];
    assert_eq!(handled(&broker, "orders"), [&expected[..], &[small("4")], &again].concat());
    assert_eq!(letters(&broker, "client.toml"), [] as [Value; 0]);
    assert_eq!((counted(&broker, "dead_lettered"), counted(&broker, "handled")), (4.0, 8.0));
}

fn dlq_fails(broker: &Broker, arguments: &[&str]) -> (String, i32) {
    let output = run(broker, "client.toml", &[&["dlq"], arguments].concat());
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code().unwrap())
}

#[test]
fn a_process_with_both_parts_shows_the_dead_letters_of_both() {
    let some = ALL_TO_FILE.replace("\">\"", "\"orders.>\"");
    let mut broker = Broker::with("", "max_packet_bytes = \"64 KiB\"", &some);
    let server = std::fs::read_to_string(broker.path("server.toml")).unwrap();
    let client = format!(
        "[client]\nid = \"both\"\ndata_dir = \"client\"\nservers = [\"127.0.0.1:{}\"]\n\
         [[client.source]]\nname = \"local\"\nkind = \"http\"\nlisten = \"127.0.0.1:{}\"\n",
        broker.server_port, broker.source_port
    );
    broker.write("server.toml", &format!("{client}{server}"));
    broker.start_server();
    for _ in 0..3 {
        assert_eq!(broker.post("nobody", "x").status, 202);
        assert_eq!(broker.post("orders.big", &big("big", 80 * KIB)).status, 202);
    }
    until("all are dead letters", || letters(&broker, "server.toml").len() == 6);
    let sides = |found: &[Value]| -> Vec<String> {
        found.iter().map(|one| one["side"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["server", "server", "server", "client", "client", "client"];
    let all = letters(&broker, "server.toml");
    assert_eq!(sides(&all), expected);
    // Page by page it is the same.
    let (mut paged, mut after) = (Vec::new(), Value::Null);
    loop {
        let more = after.as_u64().map(|after| format!("&after={after}")).unwrap_or_default();
        let path = format!("/v1/dead-letters?limit=2{more}");
        let page = http::get(broker.server_admin_port, &path).json();
        paged.extend(page["dead_letters"].as_array().unwrap().clone());
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(paged, all);
    let (found, _) = dlq(&broker, "server.toml", &["list", "--target", "orders.>"]);
    assert_eq!(found["dead_letters"].as_array().unwrap().len(), 3);
    let (found, _) = dlq(&broker, "server.toml", &["discard", "--all", "--yes", "--limit", "5"]);
    assert_eq!(found["discarded"], 5);
    assert_eq!(sides(&letters(&broker, "server.toml")), ["client"]);
}
