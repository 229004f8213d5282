//! The handler `file` in real processes: many lanes in one file that is rotated, while the server is
//! killed; a ledger that goes back in time; and somebody else who cuts, renames or removes the file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::time::Duration;

use common::{ALL_TO_FILE, Broker, copy, until};
use serde_json::Value;

const LANES: u64 = 50;
const ROUNDS: u64 = 40;

#[test]
fn many_lanes_in_one_rotated_file_are_there_once_and_in_order_however_often_the_server_is_killed() {
    let handler = format!("{ALL_TO_FILE}rotate = {{ size = \"24 KiB\", compress = true }}\n");
    let mut broker = Broker::new(&handler);
    broker.start_server();
    broker.start_client();
    let mut connection = broker.connect();
    for round in 0..ROUNDS {
        let line = |lane| format!("{{\"target\":\"lane.{lane}\",\"data\":\"{round}\"}}\n");
        let lines: String = (0..LANES).map(line).collect();
        let reply = connection.post_lines(&lines);
        assert_eq!(reply.status, 200, "{}", reply.text());
        if round % 4 == 3 {
            std::thread::sleep(Duration::from_millis(round * 7 % 50));
            broker.kill_server();
            broker.start_server();
        }
    }
    broker.drain();
    // What compresses gets the time to do so.
    let plain = |name: &String| !name.ends_with(".gz");
    until("rotated files are compressed", || !rotated(&broker).iter().any(plain));

    let names = rotated(&broker);
    assert!(names.len() > 5, "{names:?}");
    let lines = all_lines(&broker);
    let ids: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len(), "something is there twice");
    assert_eq!(lines.len() as u64, LANES * ROUNDS, "something is missing");
    let mut lanes: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for line in &lines {
        let (target, number) = (line["target"].as_str().unwrap(), line["number"].as_u64());
        lanes.entry(target).or_default().push(number.unwrap());
    }
    for (target, numbers) in lanes {
        assert_eq!(numbers, (1..=ROUNDS).collect::<Vec<_>>(), "{target}");
    }
}

#[test]
fn a_restored_ledger_cuts_nothing_and_a_new_file_is_begun() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    post(&broker, "before the copy");
    broker.drain();
    broker.kill_server();
    copy(&broker.path("server"), &broker.path("copy"));
    broker.start_server();
    // One record more, and the same opening: no count of openings would tell.
    post(&broker, "after the copy");
    broker.drain();
    broker.kill_server();
    fs::remove_dir_all(broker.path("server")).unwrap();
    copy(&broker.path("copy"), &broker.path("server"));
    broker.start_server();
    post(&broker, "after it was put back");
    broker.drain();

    assert!(log(&broker).contains("is set aside whole and a new one is begun"), "{}", log(&broker));
    let aside = files(&broker, "out.ndjson.before-");
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(data(&broker, &aside[0]), ["before the copy", "after the copy"]);
    assert_eq!(data(&broker, "out.ndjson"), ["after it was put back"]);
    assert_eq!(files(&broker, "out.ndjson.quarantine").len(), 0, "nothing was cut");

    // From then on all is in step again.
    broker.kill_server();
    broker.start_server();
    post(&broker, "later");
    broker.drain();
    assert_eq!(data(&broker, "out.ndjson"), ["after it was put back", "later"]);
    assert_eq!(files(&broker, "out.ndjson.before-").len(), 1);
}

#[test]
fn a_file_that_someone_cuts_is_reported_and_goes_on_at_its_end() {
    for down in [false, true] {
        let mut broker = Broker::new(ALL_TO_FILE);
        broker.start_server();
        broker.start_client();
        post(&broker, "first");
        post(&broker, "second");
        broker.drain();
        if down {
            broker.kill_server();
        }
        let text = fs::read_to_string(broker.path("out.ndjson")).unwrap();
        let first = text.find('\n').unwrap() as u64 + 1;
        let cut = |bytes| {
            let file = fs::OpenOptions::new().write(true).open(broker.path("out.ndjson"));
            file.unwrap().set_len(bytes).unwrap();
        };
        // In the middle of the second line: the rest of it must not spoil the next one.
        cut(first + 9);
        if down {
            broker.start_server();
        }
        post(&broker, "third");
        broker.drain();
        assert!(log(&broker).contains("the file is shorter than recorded"), "{}", log(&broker));
        let text = fs::read_to_string(broker.path("out.ndjson")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "a line, a half, and a line: {text:?}");
        assert!(lines[0].contains("first") && lines[2].contains("third"), "{text:?}");
        assert!(!text.contains('\0'), "the file was extended");
    }
}

#[test]
fn a_file_that_someone_renames_or_removes_goes_on_as_a_new_one() {
    for down in [false, true] {
        let mut broker = Broker::new(ALL_TO_FILE);
        broker.start_server();
        broker.start_client();
        post(&broker, "first");
        broker.drain();
        if down {
            broker.kill_server();
        }
        fs::rename(broker.path("out.ndjson"), broker.path("moved.ndjson")).unwrap();
        if down {
            broker.start_server();
        }
        post(&broker, "second");
        broker.drain();
        assert_eq!(data(&broker, "moved.ndjson"), ["first"]);
        assert_eq!(data(&broker, "out.ndjson"), ["second"]);
        assert!(log(&broker).contains("someone else renamed or removed the file"));
        fs::remove_file(broker.path("out.ndjson")).unwrap();
        post(&broker, "third");
        broker.drain();
        assert_eq!(data(&broker, "out.ndjson"), ["third"]);
    }
}

#[test]
fn what_someone_adds_is_kept_apart_and_a_foreign_file_is_gone_on_with() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.write("out.ndjson", "not ours\n");
    broker.start_server();
    broker.start_client();
    post(&broker, "first");
    broker.drain();
    let text = fs::read_to_string(broker.path("out.ndjson")).unwrap();
    broker.write("out.ndjson", &format!("{text}added by someone\n"));
    post(&broker, "second");
    broker.drain();
    let ours = fs::read_to_string(broker.path("out.ndjson")).unwrap();
    assert!(ours.starts_with("not ours\n") && ours.lines().count() == 3, "{ours}");
    let apart = files(&broker, "out.ndjson.quarantine-");
    assert_eq!(fs::read_to_string(broker.path(&apart[0])).unwrap(), "added by someone\n");
}

#[test]
fn a_file_is_rotated_by_its_age_even_when_nothing_comes_and_the_oldest_go() {
    let handler = format!("{ALL_TO_FILE}rotate = {{ every = \"1 s\", keep = 2 }}\n");
    let mut broker = Broker::new(&handler);
    broker.start_server();
    broker.start_client();
    for round in 1..=3 {
        post(&broker, &round.to_string());
        broker.drain();
        until("the file is rotated", || data(&broker, "out.ndjson").is_empty());
    }
    until("the oldest is removed", || rotated(&broker).len() == 2);
    let left: Vec<_> = rotated(&broker).iter().flat_map(|name| data(&broker, name)).collect();
    assert_eq!(left, ["2", "3"]);
}

fn post(broker: &Broker, data: &str) {
    assert_eq!(broker.post("a", data).status, 202);
}

fn log(broker: &Broker) -> String {
    broker.server.as_ref().unwrap().log()
}

/// The names of files that begin like this, sorted.
fn files(broker: &Broker, begin: &str) -> Vec<String> {
    let entries = fs::read_dir(broker.dir.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(begin)).collect();
    names.sort();
    names
}

fn rotated(broker: &Broker) -> Vec<String> {
    files(broker, "out.ndjson.2")
}

fn data(broker: &Broker, name: &str) -> Vec<String> {
    broker.lines(name).iter().map(|line| line["data"].as_str().unwrap().to_owned()).collect()
}

/// The lines of all files, in the order in which they were written.
fn all_lines(broker: &Broker) -> Vec<Value> {
    let mut lines = Vec::new();
    for name in rotated(broker) {
        let mut text = String::new();
        let file = fs::File::open(broker.path(&name)).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    lines.extend(broker.lines("out.ndjson"));
    lines
}
