//! A real server among peers that mean no good: each gets a refusal or a closed connection, is counted
//! and stands in the log; memory stays bounded, and an honest client goes on all the while (R5, R9).
//!
//! `protocol/tests/hostile_peers.rs` says anything to the law; this file does it to the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use common::hostile::{Peer, encoded, framed, hello, open, run, skip};
use common::http::Connection;
use common::{ALL_TO_FILE, Broker, until};
use paquebot_protocol::frame::PREAMBLE;
use paquebot_protocol::{Chain, Control, Lane};

const MIB: u64 = 1024 * 1024;

/// A server with an honest client that sends all the while, and waits for each packet to be handled.
struct Harbour {
    broker: Broker,
    done: Arc<AtomicBool>,
    honest: Option<JoinHandle<usize>>,
    resident_bytes: u64,
}

impl Harbour {
    fn start(server_keys: &str) -> Self {
        Self::start_with(server_keys, ALL_TO_FILE)
    }

    fn start_with(server_keys: &str, handlers: &str) -> Self {
        let mut broker = Broker::with("", server_keys, handlers);
        broker.start_server();
        broker.start_client();
        let done = Arc::new(AtomicBool::new(false));
        let (port, seen) = (broker.source_port, Arc::clone(&done));
        let honest = std::thread::spawn(move || {
            let mut connection = Connection::open(port);
            let mut handled = 0;
            while !seen.load(Ordering::Relaxed) {
                let data = handled.to_string();
                let reply = connection.post("honest?wait=handled", data.as_bytes(), &[]);
                assert_eq!(reply.status, 200, "not handled in time: {}", reply.text());
                handled += 1;
            }
            handled
        });
        until("the honest client is served", || broker.lines("out.ndjson").len() > 20);
        let resident_bytes = broker.server.as_ref().unwrap().resident_bytes();
        Self { broker, done, honest: Some(honest), resident_bytes }
    }

    fn port(&self) -> u16 {
        self.broker.server_port
    }

    /// How many peers were refused or thrown out for a reason.
    fn refused(&self, reason: &str) -> u64 {
        let series = format!("paquebot_server_refused_total{{reason=\"{reason}\"}}");
        self.broker.metric(self.broker.server_admin_port, &series).unwrap_or_default() as u64
    }

    /// Memory that the server has taken since before the peers came.
    fn grown_bytes(&self) -> u64 {
        let now = self.broker.server.as_ref().unwrap().resident_bytes();
        let grown = now.saturating_sub(self.resident_bytes);
        eprintln!("grown by {} kB", grown / 1000);
        grown
    }

    fn says(&self, what: &str) {
        self.broker.server_says(what);
    }

    /// The honest client was served to the end, in order, and each packet once.
    fn end(mut self) {
        let before = self.broker.lines("out.ndjson").len();
        until("the honest client goes on", || self.broker.lines("out.ndjson").len() > before + 20);
        self.done.store(true, Ordering::Relaxed);
        let handled = self.honest.take().unwrap().join().expect("an honest client");
        let expected: Vec<String> = (0..handled).map(|number| number.to_string()).collect();
        assert_eq!(self.broker.handled("out.ndjson")["honest"], expected);
        self.broker.stop_server();
    }
}

#[test]
fn noise_and_frames_that_are_none_end_their_connection_and_nothing_else() {
    let harbour = Harbour::start("");
    let greeting = |more: &[u8]| [PREAMBLE.as_slice(), &encoded(&hello(1)), more].concat();
    let mut damaged = encoded(&Control::Ping(1));
    *damaged.last_mut().unwrap() ^= 1;
    let long = u32::MAX;
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("noise", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "expected the preamble"),
        ("noise", (0..=255).rev().cycle().take(5_000).collect(), "expected the preamble"),
        ("frame", [PREAMBLE.as_slice(), &framed(long, b"")].concat(), "found one of 4294967295"),
        ("frame", [PREAMBLE.as_slice(), &damaged].concat(), "a body"),
        (
            "frame",
            [PREAMBLE.as_slice(), &framed(70_000, &[0; 70_000])].concat(),
            "found one of 70000",
        ),
        ("frame", greeting(&framed(1_200_000, b"")), "found one of 1200000"),
        ("frame", greeting(&framed(5, b"\x81\xa1x\xc0\xc0")), ""),
        ("violation", [PREAMBLE.as_slice(), &encoded(&skip(1, 1, 1))].concat(), "expected a hello"),
        ("violation", greeting(&encoded(&hello(1))), ""),
        ("violation", greeting(&encoded(&Control::Bye("x".into()))), "expected a hello"),
    ];
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, bytes, said) in &cases {
        for _ in 0..20 {
            let mut peer = Peer::connect(harbour.port());
            peer.send(bytes);
            let why = peer.until_ended();
            // Whoever sent more than was read may get a reset instead of the reason.
            assert!(why.is_empty() || why.contains(said), "{said}: {why}");
        }
        *expected.entry(reason).or_default() += 20;
        harbour.says(said);
    }
    for (reason, count) in expected {
        until(&format!("{count} for {reason}"), || harbour.refused(reason) == count);
    }
    assert!(harbour.grown_bytes() < 64 * MIB, "{} bytes", harbour.grown_bytes());
    harbour.end();
}

#[test]
fn ten_thousand_that_say_nothing_or_half_a_hello_are_gone_after_ten_seconds() {
    // As most systems have it: the server raises its own.
    set_open_files(Some(1_024));
    let harbour = Harbour::start("");
    let hard = set_open_files(None);
    let most = 10_000;
    if hard < most + 500 {
        eprintln!("this test needs {most} open files, the hard limit is {hard}");
        harbour.says("may not open as many files as server.max_connections needs");
    }
    let most = most.min(hard.saturating_sub(500));
    let half = [PREAMBLE.as_slice(), &framed(60_000, &[0; 60_000])[..30_000]].concat();
    let peers: Vec<Peer> = (0..most)
        .map(|at| {
            let mut peer = Peer::connect(harbour.port());
            if at % 8 == 0 {
                peer.send(&half);
            }
            peer
        })
        .collect();
    let grown = harbour.grown_bytes();
    assert!(grown < 128 * MIB, "{grown} bytes for {most} connections");
    until("all are gone", || harbour.refused("no-hello") == most);
    for mut peer in peers {
        assert_eq!(peer.until_ended(), "no hello came in time");
    }
    harbour.says("no hello came in time");
    harbour.end();
}

#[test]
fn whoever_comes_when_all_seats_are_taken_is_turned_away_and_who_has_one_keeps_it() {
    let harbour = Harbour::start("max_connections = 50");
    let peers: Vec<Peer> = (0..200).map(|_| Peer::connect(harbour.port())).collect();
    until("151 are turned away", || harbour.refused("connections") == 151);
    harbour.says("refused: no more connections are allowed");
    peers.into_iter().for_each(Peer::hang_up);
    harbour.end();
}

#[test]
fn a_peer_that_asks_and_does_not_listen_is_thrown_out() {
    let harbour = Harbour::start("");
    let peers: Vec<_> = (0..3)
        .map(|at| {
            let port = harbour.port();
            std::thread::spawn(move || Peer::welcomed(port, 100 + at).flood(&pings_of(port), 5_000))
        })
        .collect();
    for peer in peers {
        assert!(peer.join().unwrap(), "the server takes all that is asked of it");
    }
    until("all are counted", || harbour.refused("slow-reader") == 3);
    harbour.says("expected the peer to read");
    assert!(harbour.grown_bytes() < 96 * MIB, "{} bytes", harbour.grown_bytes());
    harbour.end();
}

/// A hundred kilobytes of pings.
fn pings_of(port: u16) -> Vec<u8> {
    let number = u64::from(port) << 40;
    (0..4_000).flat_map(|at| encoded(&Control::Ping(number + at))).collect()
}

#[test]
fn a_flood_of_lanes_ends_at_the_limit() {
    let harbour = Harbour::start("");
    let mut peer = Peer::welcomed(harbour.port(), 200);
    let mut ear = peer.ear();
    let heard = std::thread::spawn(move || ear.until_ended());
    for batch in 0..102 {
        let lanes = (1..=1_000).map(|at| open(batch * 1_000 + at)).collect();
        peer.say(&Control::OpenLane(lanes));
    }
    let why = heard.join().unwrap();
    assert!(why.is_empty() || why.contains("lanes"), "{why}");
    until("it is counted", || harbour.refused("violation") == 1);
    harbour.says("100000");
    assert!(harbour.grown_bytes() < 128 * MIB, "{} bytes", harbour.grown_bytes());
    harbour.end();
}

#[test]
fn a_flood_of_spool_ids_takes_no_memory_and_ends_at_the_limit() {
    let harbour = Harbour::start("");
    let (port, threads) = (harbour.port(), 16);
    // As many as one client may have, and some more.
    let flood = |thread: u128| {
        (0..640).filter(|at| !Peer::tries(port, 1_000_000 * (thread + 1) + at)).count() as u64
    };
    let refused: u64 = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..threads).map(|at| scope.spawn(move || flood(at))).collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    assert_eq!(refused, 240, "of 16 times 640, beyond 10,000");
    until("they are counted", || harbour.refused("spools") == refused);
    harbour.says("expected at most 10000 spools of client mallory, found one more");
    assert!(harbour.grown_bytes() < 64 * MIB, "{} bytes", harbour.grown_bytes());
    harbour.end();
}

#[test]
fn a_flood_of_skips_is_bounded_however_much_each_covers() {
    let harbour = Harbour::start("");
    // One that covers nearly all numbers there are, and one that goes beyond them.
    let mut peer = Peer::welcomed(harbour.port(), 300);
    peer.say(&Control::OpenLane(vec![open(1)]));
    assert!(matches!(peer.hear(), Some(Control::LaneOpened(_))));
    peer.say(&skip(1, 1, u64::MAX / 4));
    peer.say(&skip(1, u64::MAX / 4 + 1, u64::MAX));
    peer.say(&skip(1, 5, 4));
    peer.until_ended();
    until("it is counted", || harbour.refused("violation") == 1);
    // As many as there is time for, without listening.
    let mut peer = Peer::welcomed(harbour.port(), 301);
    peer.say(&Control::OpenLane(vec![open(1)]));
    assert!(matches!(peer.hear(), Some(Control::LaneOpened(_))));
    let skips: Vec<u8> = (1..=400_000).flat_map(|at| encoded(&skip(1, at, at))).collect();
    let thrown_out = peer.flood(&skips, 1);
    assert!(harbour.grown_bytes() < 128 * MIB, "{} bytes", harbour.grown_bytes());
    let mut acked = 0;
    while acked < 400_000
        && let Some(control) = peer.hear()
    {
        if let Control::Ack(acks) = control {
            acked = acks.iter().map(|ack| ack.through.0).max().unwrap_or(acked);
        }
    }
    let ended = thrown_out || acked < 400_000;
    if ended {
        until("it is counted", || harbour.refused("violation") == 2);
    }
    peer.hang_up();
    harbour.end();
}

#[test]
fn a_flood_of_half_frames_has_its_share_of_the_memory_and_no_more() {
    set_open_files(None);
    let harbour = Harbour::start("memory = \"64 MiB\"");
    // Whole but for its last bytes: nothing of it can be handed on.
    let (frame, _) = run(1, Chain(1), 1, 1, 1_000_000);
    let half = &frame[..frame.len() - 1_000];
    let most = 400;
    let mut peers = Vec::new();
    for at in 0..most {
        let mut peer = Peer::welcomed(harbour.port(), 5_000 + at);
        peer.send_what_is_taken(half);
        peers.push(peer);
    }
    // A quarter of the memory, and 64 KiB for each; without a limit it would be 400 MB.
    let grown = harbour.grown_bytes();
    assert!(grown < 128 * MIB, "{grown} bytes for {most} half frames");
    // Whoever keeps a place for nothing loses it, while others wait for one.
    until("some are thrown out", || harbour.refused("slow-frame") > 0);
    peers.into_iter().for_each(Peer::hang_up);
    harbour.end();
}

#[test]
fn a_flood_of_dead_letters_ends_at_the_quota_of_whoever_sends_it() {
    let harbour = Harbour::start_with(
        "dead_letters = { max_bytes = \"4 MiB\" }",
        &ALL_TO_FILE.replace("\">\"", "\"honest\""),
    );
    let mut peer = Peer::welcomed(harbour.port(), 400);
    let lanes = [1_u64, 2, 3];
    peer.say(&Control::OpenLane(lanes.iter().map(|lane| open(*lane)).collect()));
    let mut opened = 0;
    while opened < lanes.len() {
        match peer.hear().expect("a server that answers") {
            Control::LaneOpened(answers) => opened += answers.len(),
            other => panic!("{other:?}"),
        }
    }
    let mut sent: Vec<(u64, u64, Chain)> = lanes
        .iter()
        .map(|lane| (*lane, 1, Chain::start(&open(*lane).target, Lane(*lane))))
        .collect();
    let (mut dead, mut paused) = (0, Vec::new());
    while paused.len() < lanes.len() {
        for (lane, next, chain) in &mut sent {
            if paused.contains(lane) {
                continue;
            }
            let (frame, after) = run(*lane, *chain, *next, 10, 10_000);
            peer.send(&frame);
            (*next, *chain) = (*next + 10, after);
        }
        // Each run is answered: it is dead and acked, or its lane is paused.
        let mut waits: Vec<u64> =
            lanes.iter().copied().filter(|lane| !paused.contains(lane)).collect();
        while !waits.is_empty() {
            match peer.hear().expect("a server that goes on") {
                Control::Dead(letters) => dead += letters.numbers.len(),
                Control::Ack(acks) => {
                    waits.retain(|lane| acks.iter().all(|ack| ack.lane.0 != *lane));
                }
                Control::Pause(pause) => {
                    assert!(pause.reason.contains("dead letters"), "{}", pause.reason);
                    waits.retain(|lane| *lane != pause.lane.0);
                    paused.push(pause.lane.0);
                }
                Control::Ping(number) => peer.say(&Control::Pong(number)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((300..430).contains(&dead), "{dead} dead letters of 10 kB in 4 MiB");
    let status = harbour.broker.server_status();
    assert!(status["dead_letters_bytes"].as_u64().unwrap() <= 4 * MIB, "{status}");
    assert!(harbour.grown_bytes() < 96 * MIB, "{} bytes", harbour.grown_bytes());
    // It comes again, and is paused again: nobody else's packets wait for that.
    peer.hang_up();
    harbour.end();
}

/// Sets the soft limit, or makes it the hard one, which it gives.
fn set_open_files(soft: Option<u64>) -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = soft.or(limit.maximum);
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
