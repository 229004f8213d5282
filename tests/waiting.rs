//! Those who wait: for "handled", for a silent server, for room in a small memory. None is told
//! what is not so, and none waits for ever (R4, R9, R11).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::time::Instant;

use common::{ALL_TO_FILE, Broker, Process, until};

#[test]
fn nobody_hears_handled_of_a_dead_letter() {
    let some = ALL_TO_FILE.replace("\">\"", "\"orders.>\"");
    let mut broker = Broker::new(&some);
    broker.start_server();
    broker.start_client();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let mut connection = broker.connect();
            scope.spawn(move || {
                for _ in 0..50 {
                    let reply = connection.post("nobody?wait=handled", b"x", &[]);
                    assert_eq!(reply.status, 422, "{}", reply.text());
                }
            });
        }
    });
}

#[test]
fn a_server_that_is_silent_is_given_up_and_found_again() {
    let heartbeat = "ping = \"100 ms\"\nsilence = \"400 ms\"";
    let mut broker = Broker::with(heartbeat, "", ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    until("it is connected", || broker.client_status()["connection"]["state"] == "connected");
    let server = broker.server.as_ref().unwrap();
    server.signal(rustix::process::Signal::STOP);
    assert_eq!(broker.post("a", "stored meanwhile").status, 202);
    until("the client gives it up", || {
        broker.client_status()["connection"]["state"] != "connected"
    });
    let server = broker.server.as_ref().unwrap();
    server.signal(rustix::process::Signal::CONT);
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["a"], ["stored meanwhile"]);
}

#[test]
fn a_server_with_little_memory_takes_many_small_lanes() {
    const LANES: usize = 5_000;
    let mut broker = Broker::with("", "memory = \"1 MiB\"", ALL_TO_FILE);
    broker.start_client();
    for chunk in 0..LANES / 1_000 {
        let line = |lane: usize| format!("{{\"target\":\"a.{lane}\",\"data\":\"x\"}}\n");
        let lines: String = (chunk * 1_000..(chunk + 1) * 1_000).map(line).collect();
        assert_eq!(broker.connect().post_lines(&lines).status, 200);
    }
    assert_eq!(broker.backlog(), LANES as u64);
    broker.start_server();
    broker.drain();
    assert_eq!(broker.handled("out.ndjson").len(), LANES);
}

#[test]
fn whoever_waits_for_handled_is_answered_when_the_client_stops() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let mut connection = broker.connect();
    let waiting = std::thread::spawn(move || connection.post("a?wait=handled", b"x", &[]));
    until("it is stored", || broker.backlog() == 1);
    let began = Instant::now();
    assert_eq!(broker.client.take().map(Process::stop), Some(0));
    let reply = waiting.join().unwrap();
    assert_eq!((reply.status, &reply.json()["state"]), (202, &"stored".into()));
    assert!(began.elapsed().as_secs() < 5, "stopped after {:?}", began.elapsed());
}
