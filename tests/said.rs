//! What a user meets most, as it was agreed on: what `check` says of a good config and of bad ones, and
//! the errors of the commands, with the real binary; and that a reader who goes away is no failure.
//!
//! After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --test said`, and look at the difference
//! in `tests/said`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::program;

const GOOD: &str = r#"[client]
id = "till-17"
data_dir = "client"
servers = ["127.0.0.1:7035"]

[[client.policy]]
targets = ["metrics.>"]
priority = "low"
ttl = "1 h"

[[client.source]]
name = "access-log"
kind = "tail"
paths = ["/var/log/nginx/*.log"]
target = "web.{{ json.host }}"
when = 'line.contains(" 500 ")'

[server]
listen = "127.0.0.1:7035"
data_dir = "server"

[[server.handler]]
name = "orders"
targets = ["orders.>"]
kind = "file"
path = "orders.ndjson"
"#;

const BAD: &str = r#"[client]
id = "till 17"
data_dri = "client"
servers = ["127.0.0.1"]
ping = "10"

[[client.policy]]
targets = ["metrics.>"]
max_bytes = "2 GiB"

[[client.policy]]
targets = ["metrics.cpu"]
ttl = "90 sec"

[[client.source]]
name = "access-log"
kind = "tail"
paths = ["/var/log/nginx/*.log"]
target = "web log.{{ line }}"
when = 'lien.contains(" 500 ")'
on_error = "ignore"

[[client.source]]
name = "access-log"
kind = "timer"
every = "1 min"
target = "beat.{{ now.hour }}"
on_error = "drop"

[server]
listen = "0.0.0.0:7035"
data_dir = "server"

[[server.handler]]
name = "orders"
targets = ["orders..>"]
kind = "discard"
retry = { initial = "1 s" }
"#;

const DOUBTFUL: &str = r#"[client]
id = "till-17"
data_dir = "client"
servers = ["127.0.0.1:7035"]

[[client.source]]
name = "jobs"
kind = "exec"
command = ["true"]
every = "1 min"
packet = "output"
target = "jobs"
when = 'exit_code == "0"'

[server]
listen = "127.0.0.1:7035"
data_dir = "server"
"#;

/// What a command said, and how it ended, without what is of this machine.
fn said(dir: &Path, arguments: &[&str]) -> String {
    let output = program().args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(dir.to_str().unwrap(), "DIR")
    };
    let shown = format!("$ paquebot {}\n", arguments.join(" "));
    let code = output.status.code().expect("an exit code, not a signal");
    format!("{shown}{}--- {code}\n{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_a_user_meets_reads_as_agreed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(dir.path()).unwrap();
    for (name, config) in [("good", GOOD), ("bad", BAD), ("doubtful", DOUBTFUL)] {
        fs::write(dir.join(name).with_extension("toml"), config).unwrap();
    }
    fs::create_dir(dir.join("damaged")).unwrap();
    fs::write(dir.join("damaged/ledger.redb"), "this is no ledger").unwrap();
    let expected = [
        ("check-good", vec!["check", "-c", "good.toml"]),
        ("check-bad", vec!["check", "-c", "bad.toml"]),
        ("check-doubtful", vec!["check", "--deny-warnings", "-c", "doubtful.toml"]),
        ("no-config", vec!["run"]),
        ("no-config-there", vec!["status", "-c", "none.toml"]),
        ("no-client", vec!["send", "orders.a", "x", "-c", "good.toml"]),
        ("no-server", vec!["handlers", "list", "-c", "good.toml"]),
        ("bad-target", vec!["send", "orders..a", "x", "-c", "good.toml"]),
        ("bad-duration", vec!["send", "orders.a", "x", "--ttl", "5 seconds", "-c", "good.toml"]),
        ("bad-header", vec!["send", "orders.a", "x", "--header", "k:v", "-c", "good.toml"]),
        ("bad-packet-id", vec!["trace", "nonsense", "-c", "good.toml"]),
        ("damaged-ledger", vec!["ledger", "check", "damaged"]),
        ("no-spool", vec!["spool", "list", "--dir", "damaged"]),
        ("unknown-command", vec!["statsu"]),
    ];
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/said");
    let mut changed = Vec::new();
    for (name, arguments) in &expected {
        let now = said(&dir, arguments);
        let path = snapshots.join(name).with_extension("txt");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&path, &now).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        if agreed != now {
            changed.push(format!("--- tests/said/{name}.txt\n{agreed}\n+++ now\n{now}"));
        }
    }
    assert!(changed.is_empty(), "UPDATE_SNAPSHOTS=1 writes them:\n{}", changed.join("\n"));
    let files = fs::read_dir(snapshots).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<_> = files.map(|name| name.into_string().unwrap()).collect();
    let names: BTreeSet<_> = expected.iter().map(|(name, _)| format!("{name}.txt")).collect();
    assert_eq!(files, names, "a file for each, and for no other");
}

/// Runs a command whose output nobody reads.
fn unread(mut command: Command) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.toml");
    fs::write(&good, GOOD).unwrap();
    for arguments in [
        &["schema"][..],
        &["schema", "--api"],
        &["man"],
        &["completions", "bash"],
        &["init", "client"],
        &["--help"],
        &["check", "-c", good.to_str().unwrap()],
    ] {
        let mut command = program();
        command.args(arguments);
        assert_eq!(unread(command), (Some(0), String::new()), "{arguments:?}");
    }
    // What is wrong is wrong all the same.
    let bad = dir.path().join("bad.toml");
    fs::write(&bad, BAD).unwrap();
    let mut command = program();
    command.args(["check", "-c"]).arg(&bad);
    let (code, said) = unread(command);
    assert_eq!(code, Some(78), "{said}");
    // A disk that is full is one.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program().arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{output:?}");
}
