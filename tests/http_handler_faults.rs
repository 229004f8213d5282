//! The handler `http` when its destination is away, slow or hangs, and when its server is stopped or
//! killed: nothing is lost, nobody else is delayed, and what is known of failed attempts goes on (R5,
//! R9, R11).
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

use common::destination::{Answer, Destination};
use common::hook::{broker, dead_letters, handler_state, numbers, outcome, started, store};
use common::{Broker, Process, free_port, until};

#[test]
fn a_destination_that_is_away_is_shown_failing_told_once_and_found_again() {
    let port = free_port();
    let broker = started(port, "");
    store(&broker, "a", 3);
    store(&broker, "b", 3);
    until("it is tried often", || outcome(&broker, "retried") >= 8.0);
    assert_eq!(handler_state(&broker), "failing");
    let why = broker.server_status()["handlers"][0]["last_error"].to_string();
    assert!(why.contains("refused"), "{why}");
    let failing = "paquebot_handler_state{handler=\"hook\",state=\"failing\"}";
    assert_eq!(broker.metric(broker.server_admin_port, failing), Some(1.0));
    let destination = Destination::start_at(port);
    broker.drain();
    assert_eq!(handler_state(&broker), "ok");
    assert_eq!(broker.metric(broker.server_admin_port, failing), Some(0.0));
    let accepted = destination.accepted();
    assert_eq!((&accepted["a"], &accepted["b"]), (&numbers(3), &numbers(3)));
    let log = broker.server.as_ref().unwrap().log();
    let told = |what: &str| log.matches(what).count();
    assert_eq!((told("the handler fails"), told("the handler works again")), (1, 1), "{log}");
}

#[test]
fn a_slow_target_and_a_failing_one_do_not_delay_the_others() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.target() {
        "slow" => Answer::Never,
        "failing" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let broker = started(destination.port, "concurrency = 2");
    store(&broker, "slow", 3);
    store(&broker, "failing", 3);
    until("the slow one is waited for", || {
        destination.parcels().iter().any(|parcel| parcel.target() == "slow")
    });
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(broker.post("quick?wait=handled", "x").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    let parcels = destination.parcels();
    let slow = parcels.iter().filter(|parcel| parcel.target() == "slow").count();
    assert_eq!(slow, 1, "the slow one was not waited for");
    assert_eq!(handler_state(&broker), "failing");
}

#[test]
fn a_killed_server_repeats_little_loses_nothing_and_counts_on() {
    const PER_TARGET: usize = 300;
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.data.as_str() {
        "stuck" => Answer::Status(500),
        _ => Answer::After(Duration::from_millis(2), 200),
    });
    let mut broker = broker(destination.port, "");
    broker.start_client();
    for lane in 0..4 {
        store(&broker, &format!("t.{lane}"), PER_TARGET);
    }
    assert_eq!(broker.post("stuck", "stuck").status, 202);
    broker.start_server();
    let stuck = || {
        let parcels = destination.parcels().into_iter();
        parcels.filter(|parcel| parcel.data == "stuck").map(|parcel| parcel.attempt()).collect()
    };
    for kill in 1..=3 {
        until("more is handled", || destination.accepted().values().flatten().count() > kill * 200);
        until("the stuck one is tried again", || Vec::len(&stuck()) > 3 * kill);
        broker.kill_server();
        broker.start_server();
    }
    let attempts: Vec<u32> = stuck();
    let last = attempts.last().copied().unwrap();
    assert!(last > 9, "the count began anew: {attempts:?}");
    // An attempt that a kill cut off is not known to have failed, so its number may come twice.
    assert!(attempts.is_sorted(), "{attempts:?}");
    destination.answer(|_| Answer::Status(200));
    broker.drain();
    for lane in 0..4 {
        let data = &destination.accepted()[&format!("t.{lane}")];
        let distinct: BTreeSet<&String> = data.iter().collect();
        assert_eq!(distinct.len(), PER_TARGET, "something was lost");
        // Each time it goes on from the last record: repeats go back, nothing is passed over.
        let numbers: Vec<usize> = data.iter().map(|number| number.parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{numbers:?}");
    }
}

#[test]
fn a_long_round_is_recorded_and_acknowledged_while_it_goes_on() {
    const COUNT: u64 = 200;
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.data.as_str() {
        "150" => Answer::Never,
        _ => Answer::After(Duration::from_millis(10), 200),
    });
    // One round has all of them, and does not end: nobody gives up waiting.
    let mut broker = broker(destination.port, "timeout = \"5 min\"");
    broker.start_client();
    store(&broker, "a", 200);
    broker.start_server();
    until("a part of it is acknowledged", || broker.backlog() < COUNT);
    until("it hangs", || destination.parcels().iter().any(|parcel| parcel.data == "150"));
    broker.kill_server();
    let held = broker.backlog();
    assert!((51..COUNT).contains(&held), "{held}");
    destination.answer(|_| Answer::Status(200));
    broker.start_server();
    broker.drain();
    // What was acknowledged did not come again.
    let data = &destination.accepted()["a"];
    for number in 1..=COUNT {
        let times = data.iter().filter(|data| **data == number.to_string()).count();
        let fits = if number <= COUNT - held { times == 1 } else { (1..=2).contains(&times) };
        assert!(fits, "{number} came {times} times, {held} were held");
    }
}

#[test]
fn a_packet_that_is_given_up_tells_its_attempts_and_its_first_one_across_restarts() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.data.as_str() {
        "doomed" => Answer::With(503, "", "come back never"),
        _ => Answer::Status(200),
    });
    let retry = "retry = { initial = \"10 ms\", max = \"50 ms\", give_up_after = \"3 s\" }";
    let mut broker = started(destination.port, retry);
    assert_eq!(broker.post("a", "doomed").status, 202);
    assert_eq!(broker.post("a", "after it").status, 202);
    until("it was tried", || destination.parcels().len() >= 2);
    let before_kill = paquebot_actors::clock::wall_ms();
    broker.kill_server();
    broker.start_server();
    broker.drain();
    assert_eq!(destination.accepted()["a"], ["after it"]);
    let letters = dead_letters(&mut broker);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    let tried = destination.parcels().iter().filter(|parcel| parcel.data == "doomed").count();
    assert!(tried - 1 <= letter.attempts as usize && letter.attempts as usize <= tried);
    assert!(letter.first_attempt_ms <= before_kill, "the first attempt was forgotten");
    let lasted = letter.last_attempt_ms - letter.first_attempt_ms;
    assert!((3_000..10_000).contains(&lasted), "given up after {lasted} ms");
    let attempts = letter.attempts;
    let reason =
        format!("gave up after {attempts} attempts in 3 s: last answer 503: come back never");
    assert_eq!(letter.reason, reason);
}

#[test]
fn a_server_with_a_destination_that_hangs_stops_soon_and_nothing_is_lost() {
    let destination = Destination::start();
    destination.answer(|parcel| match parcel.data.as_str() {
        "3" => Answer::Never,
        _ => Answer::Status(200),
    });
    let mut broker = started(destination.port, "");
    store(&broker, "a", 5);
    until("it hangs", || destination.parcels().len() == 3);
    let began = Instant::now();
    assert_eq!(broker.server.take().map(Process::stop), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "stopped after {:?}", began.elapsed());
    destination.answer(|_| Answer::Status(200));
    broker.start_server();
    broker.drain();
    assert_eq!(destination.accepted()["a"], numbers(5), "each once: the first two were recorded");
}

#[test]
fn a_destination_that_hangs_leaves_room_for_the_packets_of_other_handlers() {
    const LANES: usize = 200;
    let destination = Destination::start();
    destination.answer(|_| Answer::Never);
    let handlers = format!(
        "[[server.handler]]\nname = \"hook\"\ntargets = [\"hook.>\"]\nkind = \"http\"\n\
         url = \"http://127.0.0.1:{}\"\ntimeout = \"12 s\"\n\
         retry = {{ initial = \"10 ms\", max = \"50 ms\" }}\n\
         [[server.handler]]\nname = \"rest\"\ntargets = [\">\"]\nkind = \"file\"\n\
         path = \"out.ndjson\"\n",
        destination.port
    );
    let mut broker = Broker::with("", "memory = \"1 MiB\"", &handlers);
    broker.start_client();
    let data = "x".repeat(20_000);
    let line = |lane| format!("{{\"target\":\"hook.{lane}\",\"data\":\"{data}\"}}\n");
    let lines: String = (0..LANES).map(line).collect();
    assert_eq!(broker.connect().post_lines(&lines).status, 200);
    broker.start_server();
    until("it hangs", || destination.parcels().len() == 8);
    let began = Instant::now();
    assert_eq!(broker.post("quick?wait=handled", "x").status, 200);
    assert!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
    assert_eq!(destination.parcels().len(), 8, "it did not hang any more");
    destination.answer(|_| Answer::Status(200));
    broker.drain();
    assert_eq!(destination.accepted().len(), LANES);
}
