//! The command `ledger` on real directories and processes, and what a server does with a full quota of
//! dead letters and a damaged ledger.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::process::Output;

use common::{Broker, Process, http, program, until};

const ALARMS_TO_FILE: &str = r#"
[[server.handler]]
name = "alarms"
targets = ["alarm.>"]
kind = "file"
path = "alarms.ndjson"
"#;

fn ledger(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = program();
    let config = broker.path("server.toml");
    command.arg("ledger").args(arguments).arg("-c").arg(config).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_ledger_is_checked_backed_up_while_it_works_and_restored() {
    let mut broker = Broker::new(ALARMS_TO_FILE);
    broker.start_server();
    broker.start_client();
    for number in 0..20 {
        assert_eq!(broker.post("alarm.a", &number.to_string()).status, 202);
    }
    broker.post("nobody.takes.this", "x");
    broker.drain();
    let held = ledger(&broker, &["check"]);
    assert_eq!(held.status.code(), Some(75), "{}", text(&held.stderr));
    let backup = broker.path("backup.redb");
    let file = backup.to_str().unwrap();
    let online = ledger(&broker, &["backup", file]);
    assert_eq!(online.status.code(), Some(0), "{}", text(&online.stderr));
    assert_eq!(broker.server.take().map(Process::stop), Some(0));
    let checked = ledger(&broker, &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&checked["lanes"], &checked["dead_letters"]), (&2.into(), &1.into()));
    std::fs::copy(&backup, broker.path("server/ledger.redb")).unwrap();
    let offline = ledger(&broker, &["backup", file]);
    assert_eq!(offline.status.code(), Some(0), "{}", text(&offline.stderr));
    broker.start_server();
    assert_eq!(broker.post("alarm.a", "20").status, 202);
    broker.drain();
    let expected: Vec<String> = (0..=20).map(|number: u64| number.to_string()).collect();
    assert_eq!(broker.handled("alarms.ndjson")["alarm.a"], expected);
}

#[test]
fn a_damaged_ledger_stops_the_server_until_it_is_set_aside() {
    let mut broker = Broker::with("separate_ledgers = true", "", ALARMS_TO_FILE);
    broker.start_server();
    broker.start_client();
    broker.post("alarm.a", "0");
    broker.drain();
    let before = broker.server_status()["ledger"].clone();
    broker.kill_server();
    std::fs::write(broker.path("server/ledger.redb"), vec![7; 50_000]).unwrap();
    let refused = program().args(["run", "-c"]).arg(broker.path("server.toml")).output().unwrap();
    assert_eq!(refused.status.code(), Some(65), "{}", text(&refused.stderr));
    let checked = ledger(&broker, &["check"]);
    assert_eq!(checked.status.code(), Some(65), "{}", text(&checked.stdout));
    let aside = ledger(&broker, &["check", "--set-aside"]);
    assert_eq!(aside.status.code(), Some(0), "{}", text(&aside.stderr));
    broker.start_server();
    assert_ne!(broker.server_status()["ledger"], before);
    broker.post("alarm.b", "1");
    until("it is handled", || broker.handled("alarms.ndjson").contains_key("alarm.b"));
}

#[test]
fn a_client_that_has_used_up_its_dead_letters_waits_in_those_lanes_only() {
    let keys = "dead_letters = { max_bytes = \"1 MiB\" }\nmax_packet_bytes = \"512 KiB\"";
    let mut broker = Broker::with("", keys, ALARMS_TO_FILE);
    broker.start_server();
    broker.start_client();
    let large = "x".repeat(300 * 1024);
    for _ in 0..5 {
        assert_eq!(broker.post("nobody.takes.this", &large).status, 202);
    }
    until("the quota is full", || broker.server_status()["dead_letters"] == 3);
    assert_eq!(broker.post("alarm.a", "goes on").status, 202);
    until("it is handled", || broker.handled("alarms.ndjson").contains_key("alarm.a"));
    until("those after it are held", || broker.backlog() == 2);
    let series = "paquebot_server_dead_letters{handler=\"_unknown\"}";
    assert_eq!(broker.metric(broker.server_admin_port, series), Some(3.0));
    assert_eq!(http::get(broker.server_admin_port, "/readyz").status, 200);
}
