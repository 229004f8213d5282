//! An outage: what is stored while the server is away is all handled when it comes, once, in order
//! per target, and the client's disk is given back (R1, R4, R5, R9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::time::Instant;

use common::{ALL_TO_FILE, Broker};

const TARGETS: usize = 50;
const PER_TARGET: usize = 2_000;
const CONNECTIONS: usize = 50;

#[test]
fn a_hundred_thousand_packets_outlive_an_outage_and_a_killed_client() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for at in 0..CONNECTIONS {
            let mut connection = broker.connect();
            scope.spawn(move || {
                for number in 0..TARGETS * PER_TARGET / CONNECTIONS {
                    let target = format!("orders.{at}");
                    let reply = connection.post(&target, number.to_string().as_bytes(), &[]);
                    assert_eq!(reply.status, 202, "{}", reply.text());
                }
            });
        }
    });
    eprintln!("posted in {:?}", began.elapsed());

    broker.kill_client();
    broker.start_client();
    assert_eq!(broker.backlog(), (TARGETS * PER_TARGET) as u64);
    let began = Instant::now();
    broker.start_server();
    broker.drain();
    eprintln!("drained in {:?}", began.elapsed());

    let handled = broker.handled("out.ndjson");
    assert_eq!(handled.len(), TARGETS);
    let expected: Vec<String> = (0..PER_TARGET).map(|number| number.to_string()).collect();
    for (target, data) in handled {
        assert!(data == expected, "{target}: not each packet once and in order");
    }
    for at in 0..TARGETS {
        let backlog = format!("paquebot_client_backlog_packets{{target=\"orders.{at}\"}}");
        assert_eq!(broker.metric(broker.client_admin_port, &backlog), Some(0.0));
    }
    let drained = Instant::now();
    common::until("the disk is given back", || broker.bytes_of("client") < 16 * 1024 * 1024);
    assert!(drained.elapsed().as_secs() < 5, "given back after {:?}", drained.elapsed());
}
