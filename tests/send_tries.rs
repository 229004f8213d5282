//! `send` when things go wrong: no try stores a packet twice, whoever gives up is told how to go on,
//! and an event that the source does not want is no failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{ALL_TO_FILE, Broker, program, until};

fn send(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = program();
    command.arg("send").args(arguments).arg("-c").arg(broker.path("client.toml"));
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The word after an option in what was said.
fn option<'s>(said: &'s str, name: &str) -> &'s str {
    let rest = said.split_once(name).unwrap_or_else(|| panic!("no {name} in {said}")).1;
    rest.trim_start().split([' ', ':', '\n']).next().unwrap()
}

/// A client whose spool is full and lets senders wait, and how many packets it holds.
fn full() -> (Broker, usize) {
    let keys = "[client.spool]\nmax_bytes = \"16 MiB\"\nwhen_full = \"block\"";
    let mut broker = Broker::with(keys, "", ALL_TO_FILE);
    broker.start_client();
    broker.write("large", &"x".repeat(256 * 1024));
    let data = std::fs::read(broker.path("large")).unwrap();
    let mut connection = broker.connect();
    let stored = (0..64).take_while(|_| connection.post("a?timeout=0s", &data, &[]).status == 202);
    let stored = stored.count();
    (broker, stored)
}

/// A way to the source on which the first `lost` answers are lost, and how many requests came.
fn lossy(broker: &Broker, lost: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (port, came) = (broker.source_port, Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&came);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let is_lost = counter.fetch_add(1, Ordering::SeqCst) < lost;
            let (below, above) =
                (stream.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            thread::spawn(move || pass_on(below, above, is_lost));
        }
    });
    (address, came)
}

/// Passes a request on, and its answer unless that is lost. Either side may be gone meanwhile.
fn pass_on(mut below: TcpStream, mut above: TcpStream, is_lost: bool) {
    let (mut from, mut to) = (below.try_clone().unwrap(), above.try_clone().unwrap());
    thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    if is_lost {
        drop(above.read(&mut [0; 1024]));
    } else {
        drop(std::io::copy(&mut above, &mut below));
    }
    drop((below.shutdown(Shutdown::Both), above.shutdown(Shutdown::Both)));
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_nothing_is_stored_twice() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let (door, came) = lossy(&broker, 2);
    let done = send(&broker, &["a", "one", "--client", &door]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stdout).trim().ends_with("-1-1"), "{}", text(&done.stdout));
    assert_eq!(came.load(Ordering::SeqCst), 3);

    broker.write("lines", "two\nthree\nfour\n");
    let lines = format!("@{}", broker.path("lines").display());
    let (door, came) = lossy(&broker, 1);
    let done = send(&broker, &["a", &lines, "--lines", "--client", &door]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout).lines().count(), 3);
    assert!(came.load(Ordering::SeqCst) >= 2);
    assert_eq!(broker.backlog(), 4);
    broker.start_server();
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["a"], ["one", "two", "three", "four"]);
}

#[test]
fn who_gives_up_is_told_the_key_and_repeats_with_it() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let (door, _) = lossy(&broker, usize::MAX);
    // Each door has keys of its own: whoever repeats does so at the same one.
    let source = format!("http://127.0.0.1:{}", broker.source_port);
    let done = send(&broker, &["a", "x", "--timeout", "500ms", "--client", &door]);
    let said = text(&done.stderr);
    assert_eq!((done.status.code(), done.stdout.len()), (Some(75), 0), "{said}");
    assert!(said.contains("whether it is stored is not known"), "{said}");
    let key = option(&said, "--idempotency-key");
    let repeated = send(&broker, &["a", "x", "--idempotency-key", key, "--client", &source]);
    assert_eq!(repeated.status.code(), Some(0), "{}", text(&repeated.stderr));
    let again = send(&broker, &["a", "x", "--idempotency-key", key, "--client", &source]);
    assert_eq!(again.stdout, repeated.stdout);
    let other = send(&broker, &["a", "y", "--idempotency-key", key, "--client", &source]);
    assert_eq!(other.status.code(), Some(65), "{}", text(&other.stderr));

    // Lines are known by the key and their number, however they are gathered into requests.
    broker.write("lines", "1\n2\n3\n4\n");
    let lines = format!("@{}", broker.path("lines").display());
    let (door, _) = lossy(&broker, usize::MAX);
    let done = send(&broker, &["b", &lines, "--lines", "--timeout", "500ms", "--client", &door]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(75), "{said}");
    let (from, key) = (option(&said, "--from-line"), option(&said, "--idempotency-key"));
    let go_on = [
        "b",
        &lines,
        "--lines",
        "--from-line",
        from,
        "--idempotency-key",
        key,
        "--client",
        &source,
    ];
    for _ in 0..2 {
        let done = send(&broker, &go_on);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    }
    let third = send(
        &broker,
        &[
            "b",
            &lines,
            "--lines",
            "--from-line",
            "3",
            "--idempotency-key",
            key,
            "--client",
            &source,
        ],
    );
    assert_eq!(text(&third.stdout).lines().count(), 2);
    broker.start_server();
    broker.drain();
    let handled = broker.handled("out.ndjson");
    assert_eq!(
        (&handled["a"][..], &handled["b"][..]),
        (&["x".into()][..], &["1", "2", "3", "4"].map(String::from)[..])
    );
}

#[test]
fn who_waits_for_room_in_vain_hears_it_in_time_and_nothing_is_stored_later() {
    let (mut broker, stored) = full();
    let large = format!("@{}", broker.path("large").display());
    let began = Instant::now();
    let done = send(&broker, &["a", &large, "--timeout", "300 ms"]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(75), "{said}");
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
    assert!(said.contains("none came in time"), "{said}");
    let key = option(&said, "--idempotency-key").to_owned();
    broker.start_server();
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["a"].len(), stored, "it heard an error");
    let repeat = ["a", &large, "--idempotency-key", &key, "--wait", "handled"];
    for _ in 0..2 {
        let done = send(&broker, &repeat);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    }
    assert_eq!(broker.handled("out.ndjson")["a"].len(), stored + 1);
}

#[test]
fn who_waited_for_handled_in_vain_waits_on_with_the_key() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let done = send(&broker, &["a", "x", "--wait", "handled", "--timeout", "100 ms"]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(75), "{said}");
    let key = option(&said, "--idempotency-key").to_owned();
    broker.start_server();
    let waited = send(&broker, &["a", "x", "--wait", "handled", "--idempotency-key", &key]);
    assert_eq!(waited.status.code(), Some(0), "{}", text(&waited.stderr));
    assert_eq!(waited.stdout, done.stdout, "the same packet");
    assert_eq!(broker.handled("out.ndjson")["a"], ["x"]);
}

#[test]
fn a_client_that_is_started_again_meanwhile_is_waited_for() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    let config = broker.path("client.toml");
    let waiting = thread::spawn(move || {
        let mut command = program();
        command.args(["send", "a", "x", "--wait", "handled", "-c"]).arg(config);
        command.output().unwrap()
    });
    until("it is stored", || broker.backlog() == 1);
    broker.kill_client();
    broker.start_client();
    broker.start_server();
    let done = waiting.join().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(broker.handled("out.ndjson")["a"], ["x"]);
    broker.stop_client();
    let began = Instant::now();
    assert_eq!(
        send(&broker, &["a", "x"]).status.code(),
        Some(69),
        "nobody was there to begin with"
    );
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}

#[test]
fn an_event_that_is_not_wanted_is_told_and_is_no_failure() {
    let mut broker = Broker::new(ALL_TO_FILE);
    let wants = "kind = \"http\"\nwhen = 'text == \"wanted\"'";
    broker.edit("client.toml", "kind = \"http\"", wants);
    broker.start_client();
    let door = format!("http://127.0.0.1:{}", broker.source_port);
    let done = send(&broker, &["a", "other", "--client", &door]);
    assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(0), ""));
    assert!(text(&done.stderr).starts_with("filtered: "), "{}", text(&done.stderr));
    let done = send(&broker, &["a", "other", "--json", "--client", &door]);
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told, serde_json::json!({"target": "a", "state": "filtered"}));
    let done = send(&broker, &["a", "wanted", "--json", "--client", &door]);
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&told["state"], &told["number"]), (&"stored".into(), &1.into()));
    broker.write("lines", "wanted\nother\nwanted\nother\n");
    let lines = format!("@{}", broker.path("lines").display());
    let done = send(&broker, &["a", &lines, "--lines", "--client", &door]);
    assert_eq!((done.status.code(), text(&done.stdout).lines().count()), (Some(0), 2));
    assert!(text(&done.stderr).contains("filtered: 2 lines"), "{}", text(&done.stderr));
    assert_eq!(broker.backlog(), 3);
}
