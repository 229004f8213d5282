//! The handler `exec` with a process per packet: what a program is told and how its end counts, in order
//! per target (R4, R5); one that hangs or leaves others behind is killed whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::time::{Duration, Instant};

use common::hook::{
    await_outcomes, broker_of, dead_letters, handler_state, living, numbers, outcome, script,
    started_script, store, written,
};
use common::until;

#[test]
fn a_program_is_given_the_data_and_told_the_facts() {
    let broker = started_script(
        "cat > data\nenv | grep -E '^(PAQUEBOT_[A-Z]|TRACEPARENT)' | sort > facts\npwd > folder\n",
        "",
    );
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", traceparent),
        ("paquebot-header-shop-name", "north of here"),
    ];
    let reply = broker.connect().post("orders.a?wait=handled", b"{\"total\": 17}", &headers);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(written(&broker, "data"), ["{\"total\": 17}"]);
    let folder = std::fs::canonicalize(broker.dir.path()).unwrap();
    assert_eq!(written(&broker, "folder"), [folder.to_str().unwrap()]);
    let mut facts = written(&broker, "facts");
    facts.retain(|fact| !fact.starts_with("PAQUEBOT_LOG="));
    let created = facts.remove(3);
    assert!(created.starts_with("PAQUEBOT_CREATED=20") && created.ends_with('Z'), "{facts:?}");
    let expected = [
        "PAQUEBOT_ATTEMPT=1".to_owned(),
        "PAQUEBOT_CLIENT=till-1".to_owned(),
        "PAQUEBOT_CONTENT_TYPE=application/json".to_owned(),
        "PAQUEBOT_HEADER_SHOP_NAME=north of here".to_owned(),
        "PAQUEBOT_NUMBER=1".to_owned(),
        format!("PAQUEBOT_PACKET_ID={id}"),
        "PAQUEBOT_TARGET=orders.a".to_owned(),
        format!("TRACEPARENT={traceparent}"),
    ];
    assert_eq!(facts, expected);
    // What one packet has and the next one has not is not left over.
    assert_eq!(broker.post("orders.a?wait=handled", "x").status, 200);
    let facts = written(&broker, "facts").join("\n");
    assert!(!facts.contains("HEADER") && !facts.contains("CONTENT_TYPE"), "{facts}");
    await_outcomes(&broker, [("handled", 2.0)]);
}

#[test]
fn a_program_that_does_not_read_its_data_is_fine() {
    let broker = started_script("exit 0\n", "");
    let data = "x".repeat(900_000);
    for _ in 0..5 {
        assert_eq!(broker.post("a?wait=handled", &data).status, 200);
    }
    assert_eq!(outcome(&broker, "retried"), 0.0);
}

#[test]
fn each_target_is_served_in_order_one_by_one_and_several_at_once() {
    let broker = started_script(
        "echo begin $PAQUEBOT_TARGET `cat` >> seen\nsleep 0.01\necho end $PAQUEBOT_TARGET >> seen\n",
        "concurrency = 3",
    );
    std::thread::scope(|scope| {
        for lane in 0..6 {
            let broker = &broker;
            scope.spawn(move || store(broker, &format!("t.{lane}"), 8));
        }
    });
    broker.drain();
    let (mut running, mut most) = (Vec::new(), 0);
    let mut data: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for line in written(&broker, "seen") {
        let words: Vec<&str> = line.split(' ').collect();
        let target = words[1].to_owned();
        if words[0] == "begin" {
            assert!(!running.contains(&target), "two of {target} at once");
            data.entry(target.clone()).or_default().push(words[2].to_owned());
            running.push(target);
            most = most.max(running.len());
        } else {
            running.retain(|of| *of != target);
        }
    }
    assert!((2..=3).contains(&most), "{most} at once");
    assert_eq!(data.len(), 6);
    assert!(data.values().all(|data| *data == numbers(8)), "{data:?}");
}

#[test]
fn a_program_that_fails_is_asked_again_and_what_it_said_is_shown() {
    let broker = started_script(
        "echo $PAQUEBOT_ATTEMPT >> tried\n[ -e paper ] && exit 0\n\
         echo warming up >&2; echo >&2; printf 'out of\\tpaper' >&2\nexit 3\n",
        "",
    );
    store(&broker, "a", 1);
    until("it was tried often", || written(&broker, "tried").len() >= 4);
    assert_eq!(handler_state(&broker), "failing");
    let why = &broker.server_status()["handlers"][0]["last_error"];
    assert_eq!(why, "exit code 3: out of paper");
    broker.server_says("exit code 3: out of paper");
    broker.write("paper", "");
    broker.drain();
    assert_eq!(handler_state(&broker), "ok");
    let tried = written(&broker, "tried");
    assert_eq!(tried, numbers(tried.len()));
    await_outcomes(&broker, [("handled", 1.0), ("retried", (tried.len() - 1) as f64)]);
}

#[test]
fn a_program_that_is_not_there_is_a_failure_until_it_is() {
    let mut broker = broker_of("kind = 'exec'\ncommand = ['./later', 'x']");
    broker.start_server();
    broker.start_client();
    store(&broker, "a", 1);
    until("it fails", || handler_state(&broker) == "failing");
    let why = broker.server_status()["handlers"][0]["last_error"].to_string();
    let path = broker.path("later");
    assert!(why.contains(&format!("starting {} failed: No such file", path.display())), "{why}");
    // Whole at once: nobody may start half a script.
    broker.write("later.new", "#!/bin/sh\necho $1 > seen\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(broker.path("later.new"), executable).unwrap();
    std::fs::rename(broker.path("later.new"), path).unwrap();
    broker.drain();
    assert_eq!(written(&broker, "seen"), ["x"]);
}

#[test]
fn a_rejected_packet_takes_only_itself_out_and_its_reason_is_the_last_line() {
    let text = "[ `cat` = 4 ] || exit 0\necho looking >&2\necho no such article >&2\nexit 65\n";
    let mut broker = script(text, "");
    broker.start_client();
    store(&broker, "a", 6);
    broker.start_server();
    broker.drain();
    assert_eq!(broker.post("b?wait=handled", "4").status, 422);
    await_outcomes(&broker, [("handled", 5.0), ("rejected", 2.0), ("dead_lettered", 2.0)]);
    assert_eq!(outcome(&broker, "retried"), 0.0);
    assert_eq!(handler_state(&broker), "ok");
    let letters = dead_letters(&mut broker);
    assert_eq!((letters[0].id.number.0, letters[0].handler.as_str()), (4, "hook"));
    assert_eq!(letters[0].reason, "no such article");
    assert_eq!(letters[0].attempts, 1);
}

#[test]
fn a_program_that_hangs_is_killed_with_all_that_it_has_started() {
    let broker = started_script(
        "[ $PAQUEBOT_ATTEMPT = 2 ] && exit 0\ntrap '' TERM\n\
         (trap '' TERM; sleep 1000) &\necho $! >> hanging\necho $$ >> hanging\n\
         echo waiting for godot >&2\nwait\n",
        "timeout = \"500 ms\"",
    );
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    assert_eq!(written(&broker, "hanging").len(), 2);
    until("they are gone", || living(&broker, "hanging").is_empty());
    let why = &broker.server_status()["handlers"][0]["last_error"];
    assert_eq!(why, "not done within 500 ms, and killed: waiting for godot");
}

#[test]
fn what_a_failed_program_has_started_is_killed_and_after_success_it_is_left_alone() {
    // Both hold the program's output open, which nobody waits for.
    let broker = started_script(
        "sleep 1000 &\nif [ $PAQUEBOT_ATTEMPT = 1 ]; then echo $! > bad; exit 1; fi\necho $! > good\n",
        "",
    );
    let began = Instant::now();
    assert_eq!(broker.post("a?wait=handled", "x").status, 200);
    assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
    assert!(living(&broker, "bad").is_empty());
    let left = living(&broker, "good");
    assert_eq!(left.len(), 1);
    let number = rustix::process::Pid::from_raw(left[0].parse().unwrap()).unwrap();
    rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_slow_target_and_a_failing_one_do_not_delay_the_others() {
    let broker = started_script(
        "case $PAQUEBOT_TARGET in\nslow) echo >> slow; exec sleep 1000;;\nfailing) exit 1;;\nesac\n",
        "concurrency = 2",
    );
    store(&broker, "slow", 3);
    store(&broker, "failing", 3);
    until("the slow one is waited for", || !written(&broker, "slow").is_empty());
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(broker.post("quick?wait=handled", "x").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    assert_eq!(written(&broker, "slow").len(), 1, "the slow one was not waited for");
    assert_eq!(handler_state(&broker), "failing");
}

#[test]
fn a_killed_server_loses_nothing_and_counts_on() {
    const COUNT: usize = 60;
    let text = "data=`cat`\necho $data $PAQUEBOT_ATTEMPT >> $PAQUEBOT_TARGET\n\
                [ $data = stuck ] && [ ! -e free ] && exit 1\nexit 0\n";
    let mut broker = script(text, "");
    broker.start_client();
    store(&broker, "t", COUNT);
    assert_eq!(broker.post("stuck", "stuck").status, 202);
    broker.start_server();
    for kill in 1..=2 {
        until("more is handled", || written(&broker, "t").len() > kill * 15);
        until("the stuck one is tried again", || written(&broker, "stuck").len() > 3 * kill);
        broker.kill_server();
        broker.start_server();
    }
    broker.write("free", "");
    broker.drain();
    let first_word = |line: &String| line.split(' ').next().unwrap().to_owned();
    let seen: Vec<usize> =
        written(&broker, "t").iter().map(|line| first_word(line).parse().unwrap()).collect();
    assert_eq!(seen.last(), Some(&COUNT));
    // Each time it goes on from the last record: repeats go back, nothing is passed over.
    assert!(seen.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{seen:?}");
    let tried = written(&broker, "stuck");
    let attempts: Vec<u32> =
        tried.iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(attempts.last().is_some_and(|last| *last > 6), "the count began anew: {attempts:?}");
    assert!(attempts.is_sorted(), "{attempts:?}");
}

#[test]
fn a_packet_that_is_given_up_becomes_a_dead_letter_with_the_last_words() {
    let retry = "retry = { initial = \"10 ms\", max = \"50 ms\", give_up_after = \"1 s\" }";
    let mut broker = started_script("echo `cat` said no >&2\nexit 75\n", retry);
    store(&broker, "a", 1);
    broker.drain();
    let letters = dead_letters(&mut broker);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    let said =
        format!("gave up after {} attempts in 1 s: last exit code 75: 1 said no", letter.attempts);
    assert!(letter.attempts > 1, "{letter:?}");
    assert_eq!(letter.reason, said);
}

#[test]
fn a_server_with_a_program_that_hangs_stops_soon_and_leaves_nothing_running() {
    let text = "echo $$ >> hanging\n[ -e free ] && exit 0\ntrap '' TERM\nsleep 1000 &\n\
                echo $! >> hanging\nwait\n";
    let mut broker = started_script(text, "timeout = \"10 min\"");
    store(&broker, "a", 2);
    until("it hangs", || written(&broker, "hanging").len() == 2);
    let began = Instant::now();
    broker.stop_server();
    assert!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
    until("nothing runs", || living(&broker, "hanging").is_empty());
    broker.write("free", "");
    broker.start_server();
    broker.drain();
    await_outcomes(&broker, [("handled", 2.0)]);
}
