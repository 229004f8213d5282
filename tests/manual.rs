//! What a newcomer reads: the help of each command as it was agreed on, the config that `init` prints,
//! completions and pages of the manual, with the real binary and real readers of what it prints.
//!
//! After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --test manual`, and look at the
//! difference in `tests/help`.
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
use std::process::{Command as Process, Output, Stdio};

use clap::{Command, CommandFactory};
use common::{free_port, paquebot, program};
use paquebot::cli::Cli;

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every command that users see, as the words that call it.
fn commands(of: &Command, words: &[String], all: &mut Vec<Vec<String>>) {
    all.push(words.to_vec());
    for command in of.get_subcommands().filter(|command| !command.is_hide_set()) {
        let words = [words, &[command.get_name().to_owned()]].concat();
        commands(command, &words, all);
    }
}

fn all_commands() -> Vec<Vec<String>> {
    let mut all = Vec::new();
    commands(&Cli::command(), &[], &mut all);
    assert!(all.len() > 20, "{all:?}");
    all
}

#[test]
fn the_help_of_every_command_reads_as_agreed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let mut expected = BTreeSet::new();
    let mut changed = Vec::new();
    for words in all_commands() {
        let help = said(&program().args(&words).arg("--help").output().unwrap());
        let name = [&["paquebot".to_owned()], words.as_slice()].concat().join("-") + ".txt";
        let path = dir.join(&name);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&path, &help).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        if agreed != help {
            changed.push(format!("--- tests/help/{name}\n{agreed}\n+++ now\n{help}"));
        }
        expected.insert(name);
    }
    assert!(changed.is_empty(), "UPDATE_SNAPSHOTS=1 writes them:\n{}", changed.join("\n"));
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<_> = files.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(files, expected, "a file for each command, and for no other");
}

#[test]
fn init_prints_a_config_for_each_side_that_check_takes_and_that_run_together() {
    let dir = tempfile::tempdir().unwrap();
    let ports: Vec<u16> = std::iter::repeat_with(free_port).take(4).collect();
    let mut running = Vec::new();
    for role in ["server", "client"] {
        let mut text = said(&paquebot(["init", role]));
        assert!(
            text.starts_with("# A ") && text.lines().filter(|l| l.starts_with('#')).count() > 40
        );
        let other = if role == "client" { "\n[server]" } else { "\n[client]" };
        assert!(!text.contains(other), "{role}: {text}");
        let path = dir.path().join(format!("{role}.toml"));
        fs::write(&path, &text).unwrap();
        let mut check = program();
        let report =
            said(&check.args(["check", "--deny-warnings", "-c"]).arg(&path).output().unwrap());
        assert!(report.contains("is valid"), "{report}");
        // The same with ports of its own, for the machine of the test has other things running.
        for (usual, port) in ["7035", "7036", "7037", "7038"].iter().zip(&ports) {
            text = text.replace(&format!("127.0.0.1:{usual}"), &format!("127.0.0.1:{port}"));
        }
        let admin = ports[if role == "client" { 3 } else { 2 }];
        text = text.replace("#listen = \"127.0.0.1:", "listen = \"127.0.0.1:");
        fs::write(&path, &text).unwrap();
        let mut run = program();
        running.push(Running(
            run.args(["run", "-c"]).arg(&path).stderr(Stdio::null()).spawn().unwrap(),
        ));
        common::until("it is ready", || {
            let reply = common::http::try_get(admin, "/readyz");
            reply.is_some_and(|reply| reply.status == 200)
        });
    }
    let client = dir.path().join("client.toml");
    let mut send = program();
    send.args(["send", "orders.till-17", "hello", "--wait", "handled", "-c"]).arg(client);
    said(&send.output().unwrap());
    let orders = fs::read_to_string(dir.path().join("data/out/orders.ndjson")).unwrap();
    assert!(orders.contains("\"data\":\"hello\""), "{orders}");
}

/// A process that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn completions_are_made_for_every_shell_and_bash_takes_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = said(&paquebot(["completions", shell]));
        assert!(text.contains("ledger") && text.contains("deny-warnings"), "{shell}");
        assert!(!text.contains("bench-part"), "{shell}: what users do not call");
    }
    assert_eq!(paquebot(["completions", "abacus"]).status.code(), Some(64));
    let script = said(&paquebot(["completions", "bash"]));
    let ask = "\nCOMP_WORDS=(paquebot led); COMP_CWORD=1; _paquebot paquebot led paquebot\n\
               echo \"${COMPREPLY[@]}\"";
    let asked = Process::new("bash").args(["-c", &(script + ask)]).output().unwrap();
    assert_eq!(said(&asked).trim(), "ledger");
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let page = said(&paquebot(["man"]));
    assert!(page.contains(".TH paquebot 1") && page.contains("paquebot\\-check(1)"), "{page}");
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("share/man1");
    said(&program().args(["man", "--dir"]).arg(&into).output().unwrap());
    for words in all_commands() {
        let name = [&["paquebot".to_owned()], words.as_slice()].concat().join("-") + ".1";
        let page = fs::read_to_string(into.join(&name)).unwrap_or_else(|_| panic!("no {name}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
    assert!(!into.join("paquebot-bench-part.1").exists());
    let taken = dir.path().join("file");
    fs::write(&taken, "").unwrap();
    let failed = program().args(["man", "--dir"]).arg(&taken).output().unwrap();
    assert_eq!(failed.status.code(), Some(74));
}
