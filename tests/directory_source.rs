//! The source `directory`, with a real process and real files: each file once, through kills between
//! storing and deleting; which files are taken, when, in which order, and what becomes of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use common::{ALL_TO_FILE, Broker, until};

/// A broker whose client takes the files of `in`, with further keys for the source.
fn broker(keys: &str) -> Broker {
    let source = format!(
        "[[client.source]]\nname = \"drop\"\nkind = \"directory\"\npath = \"in\"\n{keys}\n"
    );
    let broker = Broker::with(&source, "", ALL_TO_FILE);
    fs::create_dir(broker.path("in")).unwrap();
    broker
}

/// Puts a file there at once, as a careful writer does.
fn put(broker: &Broker, name: &str, content: &str) {
    let hidden = format!("in/.{name}");
    broker.write(&hidden, content);
    fs::rename(broker.path(&hidden), broker.path(&format!("in/{name}"))).unwrap();
}

/// The names of the files in a directory.
fn names(broker: &Broker, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(broker.path(directory)).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn handled(broker: &Broker, target: &str) -> Vec<String> {
    broker.handled("out.ndjson").remove(target).unwrap_or_default()
}

fn await_handled(broker: &Broker, target: &str, count: usize) -> Vec<String> {
    until(&format!("{count} packets to {target} are handled"), || {
        handled(broker, target).len() >= count
    });
    handled(broker, target)
}

/// Kills at any time, with files that come all the while; each is handled once.
fn once_through_kills(then: &str) -> Broker {
    let mut broker = broker(&format!("target = \"files.all\"\nsettled = \"0 ms\"\n{then}"));
    broker.start_server();
    let (mut written, mut seed) = (0_u64, 0x2545_F491_4F6C_DD1D_u64);
    for _ in 0..12 {
        for _ in 0..300 {
            put(&broker, &format!("{written}.json"), &format!("file {written}"));
            written += 1;
        }
        let left = names(&broker, "in").len() - usize::try_from(seed % 250).unwrap();
        broker.start_client();
        // Some are stored, some are out of the way, some are neither, when it dies.
        until("some are gone", || names(&broker, "in").len() <= left);
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_micros(seed % 20_000));
        broker.kill_client();
    }
    broker.start_client();
    let written = usize::try_from(written).unwrap();
    await_handled(&broker, "files.all", written);
    until("all are gone", || names(&broker, "in").is_empty());
    broker.drain();
    let mut found = handled(&broker, "files.all");
    found.sort_by_key(|text| text[5..].parse::<usize>().unwrap());
    let expected: Vec<_> = (0..written).map(|number| format!("file {number}")).collect();
    assert_eq!(found, expected);
    broker
}

#[test]
fn each_file_is_handled_once_through_kills_and_deleted() {
    once_through_kills("");
}

#[test]
fn each_file_is_handled_once_through_kills_and_moved() {
    let broker = once_through_kills("then = \"move\"\ndone = \"done\"");
    assert_eq!(names(&broker, "done").len(), handled(&broker, "files.all").len());
    assert_eq!(fs::read_to_string(broker.path("done/7.json")).unwrap(), "file 7");
}

#[test]
fn a_file_that_cannot_be_moved_is_not_sent_again() {
    let mut broker =
        broker("target = \"files.all\"\nsettled = \"0 ms\"\nthen = \"move\"\ndone = \"done\"");
    // Nothing can be moved into a file.
    broker.write("done", "no directory");
    broker.start_server();
    put(&broker, "a.json", "one");
    broker.start_client();
    await_handled(&broker, "files.all", 1);
    let complains = |broker: &Broker| {
        broker.client.as_ref().unwrap().log().matches("cannot be deleted or moved").count()
    };
    until("it complains", || complains(&broker) == 1);
    // The stored file is known over a kill, under another name as well.
    broker.kill_client();
    fs::rename(broker.path("in/a.json"), broker.path("in/b.json")).unwrap();
    broker.start_client();
    until("it complains again", || complains(&broker) == 2);
    put(&broker, "c.json", "two");
    await_handled(&broker, "files.all", 2);
    fs::remove_file(broker.path("done")).unwrap();
    fs::create_dir(broker.path("done")).unwrap();
    until("they are moved", || names(&broker, "done") == ["b.json", "c.json"]);
    // A new file under a former name is another event.
    put(&broker, "b.json", "three");
    assert_eq!(await_handled(&broker, "files.all", 3), ["one", "two", "three"]);
    until("it is moved beside the other", || names(&broker, "done").len() == 3);
    assert_eq!(fs::read_to_string(broker.path("done/b.json")).unwrap(), "one");
}

#[test]
fn files_are_taken_by_name_and_in_order_of_their_time() {
    let mut broker =
        broker("target = \"files.{{ name }}\"\nmatch = \"*.json\"\nsettled = \"0 ms\"");
    let put_at = |name: &str, age: u64| {
        broker.write(&format!("in/.{name}"), name);
        let file = File::options().write(true).open(broker.path(&format!("in/.{name}"))).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - age);
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
        fs::rename(broker.path(&format!("in/.{name}")), broker.path(&format!("in/{name}")))
            .unwrap();
    };
    put_at("b.json", 10);
    put_at("a.json", 10);
    put_at("c.json", 20);
    put_at("d.txt", 30);
    broker.write("in/.hidden.json", "hidden");
    fs::create_dir(broker.path("in/sub.json")).unwrap();
    broker.write("in/sub.json/x.json", "below");
    broker.write("elsewhere", "elsewhere");
    symlink(broker.path("elsewhere"), broker.path("in/link.json")).unwrap();
    broker.start_server();
    broker.start_client();
    until("three are handled", || broker.lines("out.ndjson").len() >= 3);
    until("they are gone", || names(&broker, "in").len() == 4);
    assert_eq!(names(&broker, "in"), [".hidden.json", "d.txt", "link.json", "sub.json"]);
    assert_eq!(names(&broker, "in/sub.json"), ["x.json"]);
    let lines = broker.lines("out.ndjson");
    let lanes: Vec<_> = lines.iter().map(|line| line["lane"].as_u64().unwrap()).collect();
    let data = |lane: u64| lines.iter().find(|line| line["lane"] == lane).unwrap()["data"].clone();
    // Each has a target of its own: lanes are numbered as they were taken.
    let first = *lanes.iter().min().unwrap();
    let order = [data(first), data(first + 1), data(first + 2)];
    assert_eq!(order, ["c.json", "a.json", "b.json"]);
}

#[test]
fn a_file_is_taken_when_it_is_not_written_to_any_more() {
    let mut broker = broker("target = \"files.all\"\nsettled = \"3 s\"");
    broker.start_server();
    broker.start_client();
    let mut file = File::create(broker.path("in/slow.json")).unwrap();
    // Each piece comes within the time, all of them together take longer.
    for _ in 0..8 {
        file.write_all(b"piece ").unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(await_handled(&broker, "files.all", 1), ["piece ".repeat(8)]);
    broker.drain();
    assert_eq!(handled(&broker, "files.all").len(), 1);
}

#[test]
fn what_is_no_event_or_too_long_stays_where_it_is() {
    let source = "max_packet_bytes = \"10 B\"\n[[client.source]]\nname = \"drop\"\n\
                  kind = \"directory\"\npath = \"in\"\nsettled = \"0 ms\"\n\
                  when = 'json != null && json.send'\ntarget = \"files.all\"\n\
                  headers = { name = \"{{ name }}\", size = \"{{ size }}\" }\n";
    let source = source.replace("10 B", "16 B");
    let mut broker = Broker::with(&source, "", ALL_TO_FILE);
    fs::create_dir(broker.path("in")).unwrap();
    put(&broker, "long.json", "{\"send\":true, \"x\":1}");
    put(&broker, "no.json", "{\"send\":false}");
    put(&broker, "text.json", "text");
    put(&broker, "yes.json", "{\"send\":true}");
    broker.start_server();
    broker.start_client();
    assert_eq!(await_handled(&broker, "files.all", 1), ["{\"send\":true}"]);
    until("it is gone", || names(&broker, "in") == ["long.json", "no.json", "text.json"]);
    let line = &broker.lines("out.ndjson")[0];
    assert_eq!(
        (&line["headers"]["name"], &line["headers"]["size"]),
        (&"yes.json".into(), &"13".into())
    );
    let log = broker.client.as_ref().unwrap().log();
    assert_eq!(log.matches("expected at most 16 bytes, found 20").count(), 1, "{log}");
    assert!(log.contains("in/long.json"), "{log}");
    let count = |outcome: &str| {
        let series = "paquebot_source_events_total";
        let one = format!("{series}{{source=\"drop\",outcome=\"{outcome}\"}}");
        let other = format!("{series}{{outcome=\"{outcome}\",source=\"drop\"}}");
        let port = broker.client_admin_port;
        broker.metric(port, &one).or_else(|| broker.metric(port, &other))
    };
    until("events are counted", || {
        (count("error"), count("filtered"), count("sent")) == (Some(1.0), Some(2.0), Some(1.0))
    });
    // What changes is looked at again.
    put(&broker, "no.json", "{\"send\":true }");
    assert_eq!(await_handled(&broker, "files.all", 2)[1], "{\"send\":true }");
}
