//! Backlogs that are awkward to send: very many very small runs, a packet that the server never
//! takes, and a history that has parted in hundreds of lanes at once (R5, R7, R11).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;

use common::{ALL_TO_FILE, Broker, program};

#[test]
fn a_backlog_of_thousands_of_single_packet_commits_drains() {
    const PACKETS: usize = 10_000;
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();
    for number in 0..PACKETS {
        // One after another, so that each has a commit and a run of its own.
        assert_eq!(connection.post("a", number.to_string().as_bytes(), &[]).status, 202);
    }
    broker.start_server();
    broker.drain();
    let expected: Vec<String> = (0..PACKETS).map(|number| number.to_string()).collect();
    assert!(broker.handled("out.ndjson")["a"] == expected, "once, and in order");
    let connected = broker.server.as_ref().unwrap().log().matches(" connected ").count();
    assert_eq!(connected, 1, "it needs one connection for that");
}

#[test]
fn a_packet_that_the_server_never_takes_holds_up_nobody_and_waits_as_a_dead_letter() {
    let mut broker = Broker::with("", "max_packet_bytes = \"1 MiB\"", ALL_TO_FILE);
    let config = fs::read_to_string(broker.path("client.toml")).unwrap();
    let larger = config.replace("[client]\n", "[client]\nmax_packet_bytes = \"4 MiB\"\n");
    broker.write("client.toml", &larger);
    broker.start_client();
    broker.start_server();
    assert_eq!(broker.post("big", &"x".repeat(3 * 1024 * 1024)).status, 202);
    for number in 0..10 {
        let reply = broker.connect().post("small?wait=handled", number.to_string().as_bytes(), &[]);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    broker.drain();
    assert_eq!(broker.client_status()["dead_letters"], 1);
    let log = broker.client.as_ref().unwrap().log();
    assert!(log.contains("packets become dead letters of this client"), "{log}");
    assert_eq!(log.matches(" connected ").count(), 1, "{log}");

    // The server's owner allows more, and it is sent after all.
    broker.kill_server();
    let config = fs::read_to_string(broker.path("server.toml")).unwrap();
    broker.write("server.toml", &config.replace("\"1 MiB\"", "\"4 MiB\""));
    broker.start_server();
    let mut replay = program();
    let replay = replay.args(["dlq", "replay", "--all", "-c"]).arg(broker.path("client.toml"));
    assert!(replay.output().unwrap().status.success());
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["big"][0].len(), 3 * 1024 * 1024);
}

#[test]
fn a_history_that_parted_in_many_lanes_is_renamed_once() {
    const LANES: usize = 200;
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let post_all = |broker: &Broker, what: &str| {
        let mut connection = broker.connect();
        for lane in 0..LANES {
            let reply = connection.post(&format!("a.{lane}"), what.as_bytes(), &[]);
            assert_eq!(reply.status, 202);
        }
    };
    post_all(&broker, "first");
    broker.drain();
    broker.kill_client();
    common::copy(&broker.path("client"), &broker.path("backup"));
    broker.start_client();
    post_all(&broker, "second");
    broker.drain();
    broker.kill_client();
    broker.kill_server();

    // The restored spool is opened more often than the ledger knows, and uses numbers again: only the
    // chain of each lane shows that these are other packets.
    fs::remove_dir_all(broker.path("client")).unwrap();
    common::copy(&broker.path("backup"), &broker.path("client"));
    for _ in 0..2 {
        broker.start_client();
        broker.kill_client();
    }
    broker.start_client();
    post_all(&broker, "third");
    broker.start_server();
    broker.drain();
    let log = broker.client.as_ref().unwrap().log();
    assert_eq!(log.matches("the spool has a new name").count(), 1, "{log}");
    let handled = broker.handled("out.ndjson");
    assert_eq!(handled.len(), LANES);
    for (target, data) in handled {
        for what in ["first", "second", "third"] {
            assert!(data.iter().any(|data| data == what), "{target}: {what} is lost");
        }
    }
}

#[test]
fn what_is_urgent_overtakes_a_backlog_of_what_is_not() {
    let policies = "[[client.policy]]\ntargets = [\"alarm.>\"]\npriority = \"high\"\n\
                    [[client.policy]]\ntargets = [\"metrics.>\"]\npriority = \"low\"";
    let mut broker = Broker::with(policies, "", ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();
    let data = "x".repeat(16 * 1024);
    for at in 0..600 {
        let target = ["metrics.a", "metrics.b", "orders"][at % 3];
        assert_eq!(connection.post(target, data.as_bytes(), &[]).status, 202);
    }
    assert_eq!(connection.post("alarm.fire", b"!", &[]).status, 202);
    broker.start_server();
    broker.drain();
    let targets: Vec<String> = broker
        .lines("out.ndjson")
        .iter()
        .map(|line| line["target"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(targets.len(), 601);
    let alarm = targets.iter().position(|target| target == "alarm.fire").unwrap();
    assert!(alarm < 300, "the alarm came as number {alarm} of 601, and was stored last");
    let middle = |of: &str| {
        let places = targets.iter().enumerate().filter(|(_, target)| target.starts_with(of));
        let places: Vec<_> = places.map(|(place, _)| place).collect();
        places[places.len() / 2]
    };
    let (orders, metrics) = (middle("orders"), middle("metrics"));
    assert!(orders < metrics, "orders in the middle at {orders}, metrics at {metrics}");
}
