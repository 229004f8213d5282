//! The source `host`, with figures of the real machine: a file system that fills and empties is one event
//! each way, also over a restart of the client; every figure that this machine has can raise.
//!
//! Mounts a small file system in memory, as the tests of `doctor` do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{ALL_TO_FILE, Broker, program, until};
use serde_json::{Value, json};

/// 16 MiB in memory, for as long as the test lasts.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(at).output();
        let mount = mount.unwrap();
        assert!(mount.status.success(), "this test needs root: {mount:?}");
        Self(at.to_owned())
    }

    fn fill(&self, mebibytes: usize) {
        fs::write(self.0.join("filler"), vec![1; mebibytes << 20]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A disk that is left over is no reason to hide why the test failed.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn source(name: &str, keys: &str) -> String {
    format!(
        "[[client.source]]\nname = \"{name}\"\nkind = \"host\"\n{keys}\n\
         target = \"host.{name}.{{{{ state }}}}\"\ncontent_type = \"application/json\"\n\
         headers = {{ value = \"{{{{ value }}}}\", metric = \"{{{{ json.metric }}}}\" }}\n"
    )
}

fn events(broker: &Broker) -> Vec<Value> {
    broker.lines("out.ndjson")
}

fn await_events(broker: &Broker, count: usize) -> Vec<Value> {
    until(&format!("{count} events"), || events(broker).len() >= count);
    events(broker)
}

#[test]
fn a_disk_that_fills_and_empties_is_one_event_each_way_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&dir.path().join("disk"));
    let keys = format!(
        "metric = \"disk_percent\"\npath = '{}'\nabove = 50\nclear = 30.5",
        disk.0.display()
    );
    let mut broker = Broker::with(&source("disk", &keys), "", ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    disk.fill(12);
    let event = await_events(&broker, 1).remove(0);
    let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
    let expected = json!({
        "metric": "disk_percent", "value": 75.0, "state": "raised", "threshold": 50.0,
        "path": disk.0.to_str().unwrap(),
    });
    assert_eq!(data, expected);
    assert_eq!(event["target"], "host.disk.raised");
    assert_eq!(event["headers"], json!({ "value": "75.0", "metric": "disk_percent" }));

    // Below the threshold and above `clear` nothing happens, nor at a start in that state.
    disk.fill(6);
    broker.stop_client();
    broker.start_client();
    disk.fill(12);
    broker.kill_client();
    disk.fill(1);
    broker.start_client();
    let targets = |events: Vec<Value>| -> Vec<String> {
        events.iter().map(|event| event["target"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(targets(await_events(&broker, 2)), ["host.disk.raised", "host.disk.cleared"]);
    disk.fill(15);
    let all = ["host.disk.raised", "host.disk.cleared", "host.disk.raised"];
    assert_eq!(targets(await_events(&broker, 3)), all);
}

#[test]
fn each_figure_of_this_machine_can_raise_and_what_is_not_there_is_said() {
    let sources = [
        source("cpu", "metric = \"cpu_percent\"\nabove = -0.5"),
        source("memory", "metric = \"memory_percent\"\nabove = 0.001"),
        source("load", "metric = \"load1\"\nbelow = 100000"),
        source("root", "metric = \"disk_percent\"\nbelow = 101\nfor = \"2 s\""),
        source("gone", "metric = \"disk_percent\"\npath = \"/nowhere/at/all\"\nabove = 1"),
    ];
    let mut broker = Broker::with(&sources.concat(), "", ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let mut raised: Vec<_> =
        await_events(&broker, 4).iter().map(|event| event["target"].to_string()).collect();
    raised.sort();
    let expected = ["cpu", "load", "memory", "root"];
    assert_eq!(raised, expected.map(|name| format!("\"host.{name}.raised\"")));
    broker.client_says("/nowhere/at/all");
}

#[test]
fn check_knows_what_makes_no_sense() {
    let broker = Broker::new(ALL_TO_FILE);
    let problems = |keys: &str| {
        let text = format!("[client]\ndata_dir = 'c'\nservers = ['s:1']\n{}", source("x", keys));
        broker.write("host.toml", &text);
        let mut check = program();
        let checked = check.args(["check", "-c"]).arg(broker.path("host.toml")).output().unwrap();
        let said = [checked.stdout, checked.stderr].concat();
        (checked.status.code(), String::from_utf8(said).unwrap())
    };
    for (keys, expected) in [
        ("metric = 'load1'", "`above` or `below`"),
        ("metric = 'load1'\nabove = 1\nbelow = 1", "one side of one threshold"),
        ("metric = 'load1'\nabove = '1'", "a number"),
        ("metric = 'load1'\nabove = 1\nclear = 2", "no more than `above`, which is 1"),
        ("metric = 'load1'\nbelow = 1.5\nclear = 1", "no less than `below`, which is 1.5"),
        ("metric = 'load1'\nabove = 1\npath = '/'", "only metric = \"disk_percent\""),
        ("metric = 'wind'\nabove = 1", "\"temperature_celsius\""),
    ] {
        let (code, said) = problems(keys);
        assert_eq!(code, Some(78), "{keys}: {said}");
        assert!(said.contains(expected), "{keys}: expected {expected:?} in {said}");
    }
    let (code, said) = problems("metric = 'disk_percent'\nabove = 90\nclear = 80\nfor = '1 min'");
    assert_eq!(code, Some(0), "{said}");
    let told = "disk_percent of / above 90 for 1 min\n    raised then, and cleared at 80 or less";
    assert!(said.contains(told), "{said}");
}
