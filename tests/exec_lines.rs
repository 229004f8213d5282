//! The handler `exec` with one program that is fed lines: what it is given, what its answers mean, and
//! what becomes of its packets when it ends, hangs or talks nonsense (R4, R5).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::hook::{
    await_outcomes, dead_letters, handler_state, living, numbers, outcome, script, started_script,
    store, written,
};
use common::until;
use serde_json::Value;

const LINES: &str = "mode = \"lines\"";

/// A script that notes its own number, then takes line by line with `$id` and `$data` set.
fn each(commands: &str) -> String {
    format!(
        "echo $$ >> started\nwhile read -r line; do\n\
         id=${{line#*\\\"id\\\":\\\"}}; id=${{id%%\\\"*}}\n\
         data=${{line#*\\\"data\\\":\\\"}}; data=${{data%%\\\"*}}\n{commands}\ndone\necho end >> ended\n"
    )
}

const HANDLED: &str = "echo \"{\\\"id\\\":\\\"$id\\\",\\\"outcome\\\":\\\"handled\\\"}\"";

#[test]
fn one_program_is_given_all_packets_as_the_lines_that_a_file_would_have() {
    let broker = started_script(&each(&format!("echo \"$line\" >> seen\n{HANDLED}")), LINES);
    let headers = [("content-type", "text/plain"), ("paquebot-header-shop", "north")];
    let reply = broker.connect().post("orders.a?wait=handled", b"17", &headers);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let id = reply.json()["id"].clone();
    store(&broker, "b", 20);
    broker.drain();
    let lines: Vec<Value> =
        written(&broker, "seen").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["id"], id);
    for (key, value) in [
        ("client", "till-1"),
        ("target", "orders.a"),
        ("content_type", "text/plain"),
        ("data", "17"),
    ] {
        assert_eq!(lines[0][key], value, "{key}");
    }
    assert_eq!(lines[0]["headers"]["shop"], "north");
    let data: Vec<_> = lines[1..].iter().map(|line| line["data"].as_str().unwrap()).collect();
    assert_eq!(data, numbers(20));
    assert_eq!(written(&broker, "started").len(), 1);
    await_outcomes(&broker, [("handled", 21.0)]);
}

#[test]
fn it_may_ask_for_a_packet_again_and_reject_one_with_a_reason() {
    let answers = "if [ $data = 2 ]; then\n\
         echo \"{\\\"id\\\":\\\"$id\\\",\\\"outcome\\\":\\\"rejected\\\",\
         \\\"reason\\\":\\\"no\\\\u0007such\\\"}\"\n\
         elif [ $data = 3 ] && [ ! -e again ]; then touch again\n\
         echo \"{\\\"id\\\":\\\"$id\\\",\\\"outcome\\\":\\\"retry\\\",\\\"reason\\\":\\\"later\\\"}\"\nelse\n";
    let mut broker = script(&each(&format!("echo $data >> seen\n{answers}{HANDLED}\nfi")), LINES);
    broker.start_client();
    store(&broker, "a", 4);
    broker.start_server();
    broker.drain();
    assert_eq!(written(&broker, "seen"), ["1", "2", "3", "3", "4"]);
    let why = &broker.server_status()["handlers"][0]["last_error"];
    assert_eq!(why, "later");
    await_outcomes(&broker, [("handled", 3.0), ("rejected", 1.0), ("retried", 1.0)]);
    assert_eq!(written(&broker, "started").len(), 1);
    let letters = dead_letters(&mut broker);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.id.number.0, letter.reason.as_str()), (2, "no such"));
}

#[test]
fn it_may_answer_in_any_order_over_targets() {
    // It waits for packets of two targets, and answers the later one first.
    let keep = format!(
        "if [ -z \"$kept\" ]; then kept=$id\nelse {HANDLED}; id=$kept; {HANDLED}; kept=; fi"
    );
    let broker = started_script(&each(&keep), LINES);
    std::thread::scope(|scope| {
        let post = |target| broker.post(target, "x").status;
        let first = scope.spawn(move || post("a?wait=handled&timeout=50s"));
        let second = scope.spawn(move || post("b?wait=handled&timeout=50s"));
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
    });
    assert_eq!(outcome(&broker, "retried"), 0.0);
}

#[test]
fn when_it_ends_it_is_started_again_and_what_was_open_comes_again() {
    let text = each(&format!(
        "if [ $data = 3 ] && [ ! -e died ]; then touch died; echo out of ink >&2; exit 7; fi\n\
         echo $data >> seen\n{HANDLED}"
    ));
    let broker = started_script(&text, LINES);
    store(&broker, "a", 6);
    broker.drain();
    assert_eq!(written(&broker, "seen"), numbers(6));
    assert_eq!(written(&broker, "started").len(), 2);
    let why = &broker.server_status()["handlers"][0]["last_error"];
    assert_eq!(why, "the program has ended: exit code 7: out of ink");
    assert_eq!(handler_state(&broker), "ok");
}

#[test]
fn answers_that_it_gave_before_it_ended_count() {
    let broker = started_script(&each(&format!("echo $data >> seen\n{HANDLED}\nexit 0")), LINES);
    store(&broker, "a", 5);
    broker.drain();
    // What it had read and not answered comes again; what it had answered does not.
    assert_eq!(written(&broker, "seen"), numbers(5));
}

#[test]
fn one_that_does_not_answer_is_killed_with_all_that_it_has_started() {
    let text = each(&format!(
        "if [ ! -e silent ]; then touch silent; trap '' TERM; sleep 1000 & echo $! >> hanging\n\
         echo $$ >> hanging; wait; fi\n{HANDLED}"
    ));
    let broker = started_script(&text, &format!("{LINES}\ntimeout = \"500 ms\""));
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    assert_eq!(written(&broker, "hanging").len(), 2);
    until("they are gone", || living(&broker, "hanging").is_empty());
    assert_eq!(written(&broker, "started").len(), 2);
    let why = broker.server_status()["handlers"][0]["last_error"].to_string();
    assert!(why.contains("no answer for packet") && why.contains("within 500 ms"), "{why}");
}

#[test]
fn one_that_does_not_read_is_killed_too() {
    let text = "echo $$ >> started\n[ -e once ] || { touch once; exec sleep 1000; }\n".to_owned();
    let text = text + &each(HANDLED);
    let broker = started_script(&text, &format!("{LINES}\ntimeout = \"500 ms\""));
    // More than any pipe holds.
    assert_eq!(broker.post("a?wait=handled", &"x".repeat(900_000)).status, 200);
}

#[test]
fn lines_that_are_no_answers_are_ignored_and_seldom_logged() {
    let long = "head -c 100000 /dev/zero | tr '\\0' x; echo";
    let noise = "echo hello; echo '{\"id\":\"x\",\"outcome\":\"handled\"}'; echo '{\"id\":1}'";
    let broker = started_script(&each(&format!("{noise}\n{long}\n{HANDLED}\n{HANDLED}")), LINES);
    store(&broker, "a", 30);
    broker.drain();
    await_outcomes(&broker, [("handled", 30.0)]);
    assert_eq!((outcome(&broker, "retried"), written(&broker, "started").len()), (0.0, 1));
    let log = broker.server_log();
    assert!(log.contains("the program says a line that is no answer"), "{log}");
    assert!(log.matches("it is ignored").count() < 6, "{log}");
}

#[test]
fn a_killed_server_ends_its_program_and_loses_nothing() {
    let mut broker = script(&each(&format!("echo $data >> seen\n{HANDLED}")), LINES);
    broker.start_client();
    store(&broker, "a", 400);
    broker.start_server();
    for kill in 1..=2 {
        until("more is handled", || written(&broker, "seen").len() > kill * 50);
        broker.kill_server();
        broker.start_server();
    }
    broker.drain();
    let seen: Vec<usize> =
        written(&broker, "seen").iter().map(|data| data.parse().unwrap()).collect();
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 400);
    assert!(seen.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{seen:?}");
    until("only the last one runs", || living(&broker, "started").len() == 1);
}

#[test]
fn a_server_that_stops_lets_its_program_end() {
    let mut broker = started_script(&each(HANDLED), LINES);
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    broker.stop_server();
    assert_eq!(written(&broker, "ended"), ["end"]);
    assert!(living(&broker, "started").is_empty());
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_program_that_will_not_end() {
    let text = each(HANDLED) + "trap '' TERM\nsleep 1000 & echo $! >> started\nwait\n";
    let mut broker = started_script(&text, LINES);
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    let began = Instant::now();
    broker.stop_server();
    assert!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
    until("nothing runs", || living(&broker, "started").is_empty());
}
