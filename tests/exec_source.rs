//! The source `exec`, with a real process and real children: lines and whole outputs, exit codes, runs
//! that take long or fail, and what is left of a child when its source stops: nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;
use std::path::Path;

use common::{ALL_TO_FILE, Broker, until};

/// A broker whose client runs a script of the shell, with further keys for the source.
fn broker(script: &str, keys: &str) -> Broker {
    let source = format!(
        "[[client.source]]\nname = \"run\"\nkind = \"exec\"\ntarget = \"run.out\"\n\
         command = [\"sh\", \"-c\", '''{script}''']\n{keys}\n"
    );
    Broker::with(&format!("max_packet_bytes = \"64 KiB\"\n{source}"), "", ALL_TO_FILE)
}

/// Writes the script, which may name the directory of the broker, and starts both.
fn start(broker: &mut Broker, script: &str) {
    broker.write("script", &script.replace("DIR", broker.dir.path().to_str().unwrap()));
    broker.start_server();
    broker.start_client();
}

/// A broker whose client runs the script that [`start`] writes.
fn scripted(keys: &str) -> Broker {
    let broker = broker("", keys);
    let config = fs::read_to_string(broker.path("client.toml")).unwrap();
    let script = broker.path("script");
    let command = format!("command = [\"sh\", \"{}\"]", script.display());
    broker.write("client.toml", &config.replace("command = [\"sh\", \"-c\", '''''']", &command));
    broker
}

fn handled(broker: &Broker) -> Vec<String> {
    broker.handled("out.ndjson").remove("run.out").unwrap_or_default()
}

fn await_handled(broker: &Broker, count: usize) -> Vec<String> {
    until(&format!("{count} packets are handled"), || handled(broker).len() >= count);
    handled(broker)
}

fn log(broker: &Broker) -> String {
    broker.client.as_ref().unwrap().log()
}

/// Whether a process runs; one that has ended and was not asked for does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

fn error_count(broker: &Broker) -> Option<f64> {
    let name = "paquebot_source_events_total";
    let one = format!("{name}{{source=\"run\",outcome=\"error\"}}");
    let other = format!("{name}{{outcome=\"error\",source=\"run\"}}");
    let port = broker.client_admin_port;
    broker.metric(port, &one).or_else(|| broker.metric(port, &other))
}

#[test]
fn each_line_is_a_packet_and_what_ends_is_started_again() {
    let mut broker = scripted("restart = \"100 ms\"\nwhen = 'line != \"skip\"'");
    // The third run goes on for ever.
    start(
        &mut broker,
        "cd DIR; echo >> runs; n=$(wc -l < runs)\n\
         printf 'run %s\\nskip\\n\\303\\244 no end' $n; [ $n -lt 3 ] || { echo; sleep 1000; }",
    );
    let found = await_handled(&broker, 6);
    let expected: Vec<_> =
        (1..=3).flat_map(|n| [format!("run {n}"), "\u{e4} no end".to_owned()]).collect();
    assert_eq!(found, expected);
    assert_eq!(broker.client.take().unwrap().stop(), 0);
    assert_eq!(handled(&broker), expected);
}

#[test]
fn a_whole_output_is_a_packet_with_the_exit_code() {
    let keys = "every = \"100 ms\"\npacket = \"output\"\nwhen = 'exit_code != 0'\n\
                headers = { code = \"{{ exit_code }}\", n = \"{{ json.n }}\", size = \"{{ size }}\" }";
    let mut broker = scripted(keys);
    start(
        &mut broker,
        "cd DIR; echo >> runs; n=$(wc -l < runs)\n\
         echo; echo \"{\\\"n\\\": $n}\"; echo alas >&2\n\
         case $n in 1) exit 0;; 2) exit 3;; *) kill -9 $$;; esac",
    );
    let found = await_handled(&broker, 2);
    assert_eq!(found[..2], ["\n{\"n\": 2}\n", "\n{\"n\": 3}\n"]);
    let lines = broker.lines("out.ndjson");
    let header = |at: usize, name: &str| lines[at]["headers"][name].as_str().unwrap().to_owned();
    assert_eq!([header(0, "code"), header(1, "code")], ["3", "137"]);
    assert_eq!([header(0, "n"), header(0, "size")], ["2", "10"]);
    assert!(log(&broker).contains("a command has failed: alas"), "{}", log(&broker));
    // A failure every 100 ms is not a line in the log every 100 ms.
    await_handled(&broker, 6);
    assert_eq!(log(&broker).matches("a command has failed").count(), 1);
}

#[test]
fn a_run_that_takes_longer_than_its_period_is_not_started_twice() {
    let mut broker = scripted("every = \"100 ms\"");
    start(
        &mut broker,
        "cd DIR; mkdir lock || { echo twice; exit; }\n\
         sleep 0.35; rmdir lock; echo once",
    );
    let found = await_handled(&broker, 4);
    assert!(found.iter().all(|line| line == "once"), "{found:?}");
}

#[test]
fn nothing_is_left_running_when_the_source_stops() {
    for (trap, goodbye) in [("trap 'echo goodbye; exit' TERM", true), ("trap '' TERM", false)] {
        let mut broker = scripted("restart = \"100 ms\"");
        let script =
            format!("{trap}\nsleep 1000 & echo $!; echo $$; while :; do wait; sleep 1; done");
        start(&mut broker, &script);
        let pids = await_handled(&broker, 2);
        assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
        assert_eq!(broker.client.take().unwrap().stop(), 0);
        assert!(!pids.iter().any(|pid| runs(pid)), "{trap}: {pids:?}");
        // What it says when it is told to stop is stored.
        broker.start_client();
        let found = await_handled(&broker, 4);
        assert_eq!(found.contains(&"goodbye".to_owned()), goodbye, "{found:?}");
    }
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let mut broker = scripted("every = \"1 h\"");
    // Both hold the pipe; the second has left the group and is not ours any more.
    start(&mut broker, "sleep 1000 & echo $!; setsid sleep 20 & echo $!; echo ended");
    let found = await_handled(&broker, 3);
    assert_eq!(found[2], "ended");
    until("what it left is gone", || !runs(&found[0]));
    assert!(runs(&found[1]));
    assert_eq!(broker.client.take().unwrap().stop(), 0);
    let pid = rustix::process::Pid::from_raw(found[1].parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn an_output_that_is_too_long_is_an_error_and_no_packet() {
    let mut broker = scripted("every = \"100 ms\"\npacket = \"output\"");
    start(
        &mut broker,
        "cd DIR; echo >> runs; n=$(wc -l < runs)\n\
         if [ $n -eq 1 ]; then head -c 65537 /dev/zero; else head -c 65536 /dev/zero; fi; touch ended",
    );
    let found = await_handled(&broker, 1);
    assert_eq!(found[0].len(), 65_536);
    until("it is counted", || error_count(&broker) == Some(1.0));
    let said = "expected at most 65536 bytes, found 65537: not sent";
    assert!(log(&broker).contains(said), "{}", log(&broker));
}

#[test]
fn a_command_that_cannot_run_is_tried_again() {
    let mut broker = broker("", "every = \"100 ms\"");
    let config = fs::read_to_string(broker.path("client.toml")).unwrap();
    // With a '/' in its name it stands beside the config.
    broker.write("client.toml", &config.replace("\"sh\", \"-c\", ''''''", "\"./late\", 'a b'"));
    broker.start_server();
    broker.start_client();
    until("it complains", || log(&broker).contains("late") && log(&broker).contains("cannot run"));
    broker.write("late.new", "#!/bin/sh\necho \"<$1>\"\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(broker.path("late.new"), executable).unwrap();
    fs::rename(broker.path("late.new"), broker.path("late")).unwrap();
    assert_eq!(await_handled(&broker, 1)[0], "<a b>");
}

#[test]
fn while_the_spool_is_full_the_command_waits() {
    let mut broker = scripted("restart = \"1 h\"");
    let config = fs::read_to_string(broker.path("client.toml")).unwrap();
    let spool = "[client.spool]\nmax_bytes = \"16 MiB\"\n[[client.source]]\nname = \"run\"";
    broker.write("client.toml", &config.replacen("[[client.source]]\nname = \"run\"", spool, 1));
    let long = "x".repeat(1_000);
    broker.write("script", &format!("seq -f '%.0f {long}' 0 39999"));
    broker.start_client();
    until("it says that packets wait", || log(&broker).contains("packets wait for room"));
    broker.start_server();
    let found = await_handled(&broker, 40_000);
    let order = found.iter().map(|line| line.split(' ').next().unwrap());
    assert!(order.enumerate().all(|(at, number)| number.parse() == Ok(at)));
    assert_eq!(found.len(), 40_000);
}
