//! The source `tail`, with a real process and real files: each line once and in order, through kills,
//! rotation by rename and by cutting, restarts, and long lines; what `when` and templates make of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use common::{ALL_TO_FILE, Broker, until};

/// A broker whose client follows `logs/*.log`, with further keys for the source.
fn broker(keys: &str) -> Broker {
    let source = format!(
        "[[client.source]]\nname = \"logs\"\nkind = \"tail\"\npaths = [\"logs/*.log\"]\n{keys}\n"
    );
    let broker = Broker::with(&source, "", ALL_TO_FILE);
    fs::create_dir(broker.path("logs")).unwrap();
    broker
}

/// A log that somebody writes.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn new(broker: &Broker, name: &str) -> Self {
        let path = broker.path(&format!("logs/{name}"));
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        Self { path, file }
    }

    fn write(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    /// As logrotate does: renamed, and a new one in its place.
    fn rotate(&mut self, name: &str) {
        fs::rename(&self.path, self.path.with_file_name(name)).unwrap();
        self.file = OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
    }
}

/// What was handled for a target.
fn handled(broker: &Broker, target: &str) -> Vec<String> {
    broker.handled("out.ndjson").remove(target).unwrap_or_default()
}

fn await_handled(broker: &Broker, target: &str, count: usize) -> Vec<String> {
    until(&format!("{count} packets to {target} are handled"), || {
        handled(broker, target).len() >= count
    });
    handled(broker, target)
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

#[test]
fn lines_arrive_once_and_in_order_through_kills_and_rotation() {
    let mut broker = broker("target = \"logs.app\"\nstart_at = \"beginning\"");
    let mut log = Log::new(&broker, "app.log");
    broker.start_server();
    broker.start_client();
    until("it follows the file", || {
        broker.client.as_ref().unwrap().log().contains("follows a file")
    });
    let mut written = 0;
    for round in 0..6 {
        for _ in 0..400 {
            log.write(&format!("line {written}\n"));
            written += 1;
        }
        if round % 2 == 0 {
            log.rotate(&format!("app.log.{round}"));
        }
        // Some of it is stored, some is not.
        await_handled(&broker, "logs.app", written / 2);
        broker.kill_client();
        for _ in 0..100 {
            log.write(&format!("line {written}\n"));
            written += 1;
        }
        if round == 3 {
            log.rotate("app.log.while-nobody-looked");
            log.write(&format!("line {written}\n"));
            written += 1;
            log.rotate("app.log-and-once-more");
        }
        broker.start_client();
    }
    assert_eq!(await_handled(&broker, "logs.app", written), numbers(0..written));
}

#[test]
fn what_was_there_before_the_first_start_is_left_unless_asked_for() {
    let mut broker = broker("target = \"logs.app\"");
    let mut log = Log::new(&broker, "app.log");
    log.write("old\n");
    broker.start_server();
    broker.start_client();
    until("it follows the file", || {
        broker.client.as_ref().unwrap().log().contains("follows a file")
    });
    log.write("new\n");
    assert_eq!(await_handled(&broker, "logs.app", 1), ["new"]);
    assert_eq!(broker.client.take().unwrap().stop(), 0);
    log.write("while it was away\n");
    let mut other = Log::new(&broker, "other.log");
    other.write("of another file\n");
    broker.start_client();
    let mut found = await_handled(&broker, "logs.app", 3);
    found.sort();
    assert_eq!(found, ["new", "of another file", "while it was away"]);
}

#[test]
fn a_file_that_is_cut_is_read_from_its_beginning() {
    let mut broker = broker("target = \"logs.app\"\nstart_at = \"beginning\"");
    let mut log = Log::new(&broker, "app.log");
    log.write("line 0\nline 1\nline 2\n");
    broker.start_server();
    broker.start_client();
    await_handled(&broker, "logs.app", 3);
    log.file.set_len(0).unwrap();
    log.write("line 3\n");
    assert_eq!(await_handled(&broker, "logs.app", 4), numbers(0..4));
}

#[test]
fn a_line_is_an_event_when_it_has_ended_and_the_condition_holds() {
    let keys = "start_at = \"beginning\"\nwhen = 'json.level == \"error\" && json.code >= 500'\n\
                target = \"logs.{{ json.app }}\"\nmax_line_bytes = \"64 B\"\n\
                headers = { file = \"{{ path }}\" }\ncontent_type = \"application/json\"";
    let mut broker = broker(keys);
    let mut log = Log::new(&broker, "app.log");
    log.write("{\"level\": \"info\", \"app\": \"shop\", \"code\": 501}\n");
    log.write("{\"level\": \"error\", \"app\": \"shop\", \"code\": 500}\n");
    log.write("{\"level\": \"error\", \"app\": \"shop\"}\n");
    log.write("no json\n");
    log.write("{\"level\": \"error\", \"app\": \"sh");
    broker.start_server();
    broker.start_client();
    // `when` fails for two: they are sent, but one of them has no app to be addressed to.
    let found = await_handled(&broker, "logs.shop", 2);
    assert_eq!(found[0], "{\"level\": \"error\", \"app\": \"shop\", \"code\": 500}");
    assert_eq!(found[1], "{\"level\": \"error\", \"app\": \"shop\"}");
    assert_eq!(await_handled(&broker, "unroutable.logs", 1), ["no json"]);
    log.write("op\", \"code\": 999}\n");
    let found = await_handled(&broker, "logs.shop", 3);
    assert_eq!(found[2], "{\"level\": \"error\", \"app\": \"shop\", \"code\": 999}");
    let first = &broker.lines("out.ndjson")[0];
    assert_eq!(first["content_type"], "application/json");
    assert!(first["headers"]["file"].as_str().unwrap().ends_with("logs/app.log"), "{first}");
    let series = "paquebot_source_events_total{outcome=\"filtered\",source=\"logs\"}";
    let other = "paquebot_source_events_total{source=\"logs\",outcome=\"filtered\"}";
    let port = broker.client_admin_port;
    until("it is counted", || {
        broker.metric(port, series).or_else(|| broker.metric(port, other)) == Some(1.0)
    });
}

#[test]
fn long_lines_are_split_or_cut() {
    for (long_line, expected) in [
        ("split", vec!["0123456789", "abcdefghij", "xyz", "short"]),
        ("truncate", vec!["0123456789", "short"]),
    ] {
        let keys = format!(
            "target = \"logs.app\"\nstart_at = \"beginning\"\nmax_line_bytes = \"10 B\"\n\
             long_line = \"{long_line}\""
        );
        let mut broker = broker(&keys);
        Log::new(&broker, "app.log").write("0123456789abcdefghijxyz\r\nshort\r\n");
        broker.start_server();
        broker.start_client();
        assert_eq!(await_handled(&broker, "logs.app", expected.len()), expected, "{long_line}");
    }
}

#[test]
fn while_the_spool_is_full_the_files_wait() {
    let keys = "target = \"logs.app\"\nstart_at = \"beginning\"";
    let source = format!(
        "[client.spool]\nmax_bytes = \"16 MiB\"\n[[client.source]]\nname = \"logs\"\n\
         kind = \"tail\"\npaths = [\"logs/*.log\"]\n{keys}\n"
    );
    let mut broker = Broker::with(&source, "", ALL_TO_FILE);
    fs::create_dir(broker.path("logs")).unwrap();
    let mut log = Log::new(&broker, "app.log");
    let long = "x".repeat(1_000);
    for number in 0..40_000 {
        log.write(&format!("{number} {long}\n"));
    }
    broker.start_client();
    until("it says that packets wait", || {
        broker.client.as_ref().unwrap().log().contains("packets wait for room")
    });
    broker.start_server();
    let found = await_handled(&broker, "logs.app", 40_000);
    let order: Vec<_> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(order.iter().enumerate().all(|(at, number)| number.parse() == Ok(at)));
    assert_eq!(found.len(), 40_000);
}

#[test]
fn thousands_of_files_are_followed() {
    let mut broker = broker("target = \"logs.app\"\nstart_at = \"beginning\"");
    for number in 0..3_000 {
        Log::new(&broker, &format!("{number}.log")).write(&format!("line {number}\n"));
    }
    broker.start_server();
    broker.start_client();
    let mut found = await_handled(&broker, "logs.app", 3_000);
    found.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(found, numbers(0..3_000));
}
