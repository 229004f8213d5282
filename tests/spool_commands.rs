//! `paquebot spool`, as a user meets it: looking changes nothing, mending says what it did, a backlog
//! can be taken over, and no process is disturbed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{ALL_TO_FILE, Broker, copy, program};
use serde_json::Value;

/// A client's directory with a backlog: forty packets to `orders.new`, ten to `alarm.fire`.
struct Backlog {
    broker: Broker,
    dir: PathBuf,
}

impl Backlog {
    fn new() -> Self {
        let mut broker = Broker::new(ALL_TO_FILE);
        broker.start_client();
        for at in 1..=40 {
            broker.post("orders.new", &format!("order {at}"));
        }
        for at in 1..=10 {
            broker.post("alarm.fire", &format!("alarm {at}"));
        }
        assert_eq!(broker.client.take().unwrap().stop(), 0);
        let dir = broker.path("client");
        Self { broker, dir }
    }

    /// Flips a bit in a packet's data.
    fn damage(&self, data: &str) {
        for (path, mut bytes) in files(&self.dir) {
            let found = bytes.windows(data.len()).position(|window| window == data.as_bytes());
            if let Some(at) = found {
                bytes[at] ^= 1;
                fs::write(&path, bytes).unwrap();
                return;
            }
        }
        panic!("{data} is nowhere");
    }
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            files.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    files
}

fn spool(command: &str, dir: &Path, more: &[&str]) -> Output {
    program().args(["spool", command]).args(more).arg("--dir").arg(dir).output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn exported(dir: &Path, more: &[&str]) -> Vec<Value> {
    let output = spool("export", dir, more);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn check_list_and_export_change_no_byte() {
    let backlog = Backlog::new();
    let before = files(&backlog.dir);
    let checked = spool("check", &backlog.dir, &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert!(said(&checked).contains("2 lanes, 50 packets"), "{}", said(&checked));
    let listed = spool("list", &backlog.dir, &["--json"]);
    let lanes: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(lanes[0]["target"], "orders.new");
    assert_eq!(lanes[0]["pending_packets"], 40);
    assert!(lanes[1]["oldest"].as_str().unwrap().ends_with('Z'));
    let orders = exported(&backlog.dir, &["--target", "orders.*"]);
    let data: Vec<_> = orders.iter().map(|line| line["data"].as_str().unwrap()).collect();
    assert!(data.iter().enumerate().all(|(at, data)| *data == format!("order {}", at + 1)));
    assert_eq!(data.len(), 40);
    let id = orders[0]["id"].as_str().unwrap();
    assert!(id.ends_with("-1-1") && id.len() == 36, "{id}");
    // A damaged one, too.
    backlog.damage("order 7");
    let before_again = files(&backlog.dir);
    let checked = spool("check", &backlog.dir, &[]);
    assert_eq!(checked.status.code(), Some(65), "{}", said(&checked));
    assert!(said(&checked).contains("DAMAGED"), "{}", said(&checked));
    assert_eq!(spool("export", &backlog.dir, &[]).status.code(), Some(65));
    assert!(files(&backlog.dir) == before_again, "something was written");
    assert!(before.keys().eq(before_again.keys()));
}

#[test]
fn nothing_is_done_to_a_spool_that_a_process_holds_or_that_is_not_there() {
    let mut backlog = Backlog::new();
    backlog.broker.start_client();
    for command in ["check", "list", "export", "repair"] {
        let refused = spool(command, &backlog.dir, &[]);
        assert_eq!(refused.status.code(), Some(75), "{command}: {}", said(&refused));
        assert!(said(&refused).contains("locked"), "{}", said(&refused));
    }
    let nothing = tempfile::tempdir().unwrap();
    for command in ["check", "list", "export", "repair"] {
        let refused = spool(command, nothing.path(), &[]);
        assert_eq!(refused.status.code(), Some(65), "{command}: {}", said(&refused));
    }
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "something was made");
}

#[test]
fn repair_says_what_it_did_and_the_rest_is_sent() {
    let mut backlog = Backlog::new();
    backlog.damage("order 7");
    let repaired = spool("repair", &backlog.dir, &[]);
    assert_eq!(repaired.status.code(), Some(0), "{}", said(&repaired));
    assert!(said(&repaired).contains("declared damaged"), "{}", said(&repaired));
    let kept: Vec<_> = files(&backlog.dir).into_keys().collect();
    assert!(backlog.dir.join("quarantine/report.ndjson").exists(), "{kept:?}: {}", said(&repaired));
    let checked = spool("check", &backlog.dir, &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    backlog.broker.start_server();
    backlog.broker.start_client();
    backlog.broker.drain();
    let handled = backlog.broker.handled("out.ndjson");
    assert_eq!(handled["alarm.fire"].len(), 10);
    assert_eq!(handled["orders.new"].len(), 39);
    assert!(!handled["orders.new"].contains(&"order 7".to_owned()));
}

#[test]
fn purge_asks_first_and_the_server_hears_of_it() {
    let mut backlog = Backlog::new();
    let asked = spool("purge", &backlog.dir, &["--target", "orders.>"]);
    assert_eq!(asked.status.code(), Some(64), "{}", said(&asked));
    assert!(said(&asked).contains("40 packets in 1 lane would be purged"), "{}", said(&asked));
    assert_eq!(exported(&backlog.dir, &[]).len(), 50);
    let purged = spool("purge", &backlog.dir, &["--target", "orders.>", "--yes"]);
    assert_eq!(purged.status.code(), Some(0), "{}", said(&purged));
    assert!(said(&purged).contains("purged: 40 packets in 1 lane;"), "{}", said(&purged));
    assert_eq!(exported(&backlog.dir, &[]).len(), 10);
    backlog.broker.start_server();
    backlog.broker.start_client();
    backlog.broker.post("orders.new", "order 41");
    backlog.broker.drain();
    let handled = backlog.broker.handled("out.ndjson");
    assert_eq!(handled["orders.new"], ["order 41"]);
    assert_eq!(handled["alarm.fire"].len(), 10);
}

#[test]
fn a_backlog_is_adopted_and_whoever_comes_back_or_adopts_again_is_told() {
    let mut backlog = Backlog::new();
    let old = backlog.broker.path("old");
    copy(&backlog.dir, &old);
    fs::remove_dir_all(&backlog.dir).unwrap();
    let before = exported(&old, &[]);
    let old_name = old.to_str().unwrap();
    let adopted = spool("adopt", &backlog.dir, &[old_name]);
    assert_eq!(adopted.status.code(), Some(0), "{}", said(&adopted));
    assert!(said(&adopted).contains("50 packets"), "{}", said(&adopted));
    let after = exported(&backlog.dir, &[]);
    assert_eq!(after.len(), 50);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after["data"], before["data"]);
        assert_eq!(after["created"], before["created"]);
        assert_eq!(after["headers"]["paquebot-adopted-from"], before["id"]);
        assert_ne!(after["id"], before["id"]);
    }
    // Again: an error, unless it is wanted.
    let again = spool("adopt", &backlog.dir, &[old_name]);
    assert_eq!(again.status.code(), Some(65), "{}", said(&again));
    assert!(said(&again).contains("was adopted before"), "{}", said(&again));
    assert_eq!(exported(&backlog.dir, &[]).len(), 50);
    let wanted = spool("adopt", &backlog.dir, &[old_name, "--again"]);
    assert_eq!(wanted.status.code(), Some(0), "{}", said(&wanted));
    assert_eq!(exported(&backlog.dir, &[]).len(), 100);
    let own = spool("adopt", &backlog.dir, &[backlog.dir.to_str().unwrap()]);
    assert_eq!(own.status.code(), Some(64), "{}", said(&own));
    // The old client comes back: it sends what it has, and says that it was adopted.
    fs::remove_dir_all(&backlog.dir).unwrap();
    fs::rename(&old, &backlog.dir).unwrap();
    backlog.broker.start_server();
    backlog.broker.start_client();
    backlog.broker.drain();
    assert_eq!(backlog.broker.handled("out.ndjson")["orders.new"].len(), 40);
    let log = backlog.broker.client.as_ref().unwrap().log();
    assert!(log.contains("adopted elsewhere"), "{log}");
}
