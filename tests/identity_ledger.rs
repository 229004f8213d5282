//! A server's ledger that is lost, or goes back in time: nothing that a client holds is lost, what was
//! done before is counted, and everybody says so (R7, R8).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;

use common::{ALL_TO_FILE, Broker, program};
use serde_json::Value;

const ANOTHER: &str = "the server has another ledger than before";
const BEHIND: &str = "the ledger is behind this client";
const SET_ASIDE: &str = "is set aside whole and a new one is begun; packets may be in both";

/// A client and a server that are running, and have handled two packets.
fn running() -> Broker {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    post(&broker, "one");
    post(&broker, "two");
    broker.drain();
    broker
}

fn post(broker: &Broker, data: &str) {
    assert_eq!(broker.post("a", data).status, 202);
}

/// The data in the file that the handler writes now, and in those that it has set aside.
fn files(broker: &Broker) -> (Vec<String>, Vec<String>) {
    let (mut now, mut aside) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(broker.dir.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let data = || broker.handled(&name).remove("a").unwrap_or_default();
        if name == "out.ndjson" {
            now = data();
        } else if name.starts_with("out.") && name.contains("before") {
            aside.append(&mut data());
        }
    }
    (now, aside)
}

/// What `ledger check` finds, while the server does not run.
fn checked(broker: &Broker) -> Value {
    let mut command = program();
    command.args(["ledger", "check", "--json", "-c"]).arg(broker.path("server.toml"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_client_that_holds_packets_refuses_another_ledger_until_the_config_allows_it() {
    let mut broker = running();
    let before = broker.server_status()["ledger"].as_str().unwrap().to_owned();
    broker.kill_server();
    post(&broker, "held");
    fs::remove_dir_all(broker.path("server")).unwrap();
    broker.start_server();
    broker.server_says("a new ledger was made, because there was none");
    let now = broker.server_status()["ledger"].as_str().unwrap().to_owned();
    broker.client_says(&format!("expected ledger {before}, found {now}"));
    // It says how to go on, also where an operator looks first.
    broker.client_says("set `client.separate_ledgers = true`");
    let why = broker.client_status()["connection"]["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("separate_ledgers"), "{why}");
    assert_eq!(broker.backlog(), 1);
    // A restart changes nothing: the spool remembers.
    broker.kill_client();
    let refusals = broker.client_log().matches("expected ledger").count();
    broker.start_client();
    common::until("it is said again", || {
        broker.client_log().matches("expected ledger").count() > refusals
    });
    assert_eq!(broker.backlog(), 1);
    broker.kill_client();
    broker.edit("client.toml", "[client]\n", "[client]\nseparate_ledgers = true\n");
    broker.start_client();
    broker.drain();
    broker.client_says(ANOTHER);
    assert_eq!(files(&broker), (vec!["held".to_owned()], vec!["one".to_owned(), "two".to_owned()]));
    broker.server_says(SET_ASIDE);
    // What the lost ledger had acknowledged is jumped over, counted, and said on both sides.
    broker.server_says(BEHIND);
    broker.client_says("the ledger has no record of what was acknowledged in this lane");
    broker.stop_server();
    assert_eq!(checked(&broker)["elsewhere"], 2);
}

#[test]
fn a_client_that_holds_nothing_goes_on_with_another_ledger() {
    let mut broker = running();
    let spool = broker.spool();
    broker.kill_server();
    fs::remove_dir_all(broker.path("server")).unwrap();
    broker.start_server();
    broker.client_says(ANOTHER);
    assert!(!broker.client_log().contains("expected ledger"));
    post(&broker, "three");
    broker.drain();
    assert_eq!(
        files(&broker),
        (vec!["three".to_owned()], vec!["one".to_owned(), "two".to_owned()])
    );
    assert_eq!(broker.spool(), spool, "its history is its own: no new name");
    broker.server_says("this ledger has not seen this spool before");
    broker.server_says(BEHIND);
    broker.server_says(SET_ASIDE);
    // It has got used to it: with packets held, the new ledger is the one that it knows.
    broker.kill_server();
    post(&broker, "four");
    broker.start_server();
    broker.drain();
    assert_eq!(files(&broker).0, ["three", "four"]);
    assert!(!broker.client_log().contains("expected ledger"));
}

#[test]
fn a_ledger_that_is_restored_from_ledger_backup_jumps_and_loses_nothing() {
    let mut broker = running();
    let ledger = broker.server_status()["ledger"].clone();
    let backup = broker.path("backup.redb");
    let mut command = program();
    command.args(["ledger", "backup"]).arg(&backup).arg("-c").arg(broker.path("server.toml"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    post(&broker, "three");
    post(&broker, "four");
    broker.drain();
    broker.stop_server();
    post(&broker, "held");
    fs::copy(&backup, broker.path("server/ledger.redb")).unwrap();
    broker.start_server();
    broker.drain();
    assert_eq!(broker.server_status()["ledger"], ledger, "it is the same one, as it was before");
    restored(&mut broker, 2);
}

#[test]
fn a_ledger_that_is_restored_with_its_directory_jumps_and_loses_nothing() {
    let mut broker = running();
    broker.stop_server();
    broker.back_up("server", "backup");
    broker.start_server();
    post(&broker, "three");
    broker.drain();
    post(&broker, "four");
    broker.drain();
    broker.kill_server();
    post(&broker, "held");
    broker.restore("server", "backup");
    broker.start_server();
    broker.drain();
    restored(&mut broker, 2);
}

/// Everything is there, once, in two files; what the ledger had forgotten is counted.
fn restored(broker: &mut Broker, forgotten: u64) {
    let before: Vec<_> = ["one", "two", "three", "four"].map(str::to_owned).into();
    assert_eq!(files(broker), (vec!["held".to_owned()], before));
    broker.server_says("the ledger does not know how this file was written last");
    broker.server_says(SET_ASIDE);
    broker.server_says(BEHIND);
    let log = broker.server_log();
    let told: Vec<_> = log.lines().filter(|line| line.contains(BEHIND)).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("ERROR") && told[0].contains("till-1"), "{}", told[0]);
    assert!(told[0].contains(&format!("packets={forgotten}")), "{}", told[0]);
    broker.client_says("the ledger has no record of what was acknowledged in this lane");
    assert!(!broker.client_log().contains("the spool takes a new name"), "it is what it was");
    broker.stop_server();
    assert_eq!(checked(broker)["elsewhere"], forgotten);
}

#[test]
fn a_ledger_and_a_spool_that_are_restored_together_repeat_packets_and_the_file_says_so() {
    let mut broker = running();
    broker.stop_server();
    post(&broker, "held at the backup");
    broker.stop_client();
    broker.back_up("client", "client-backup");
    broker.back_up("server", "server-backup");
    broker.start_server();
    broker.start_client();
    broker.drain();
    broker.stop_client();
    broker.stop_server();
    broker.restore("client", "client-backup");
    broker.restore("server", "server-backup");
    broker.start_server();
    broker.start_client();
    broker.drain();
    // Both are as they were, so neither can tell by the other; the file's marker can.
    let before: Vec<_> = ["one", "two", "held at the backup"].map(str::to_owned).into();
    assert_eq!(files(&broker), (vec!["held at the backup".to_owned()], before));
    broker.server_says("the ledger does not know how this file was written last");
    broker.server_says(SET_ASIDE);
}
