//! The command `doctor`, on directories that are well, in memory, full or no directories, with
//! servers that are there, absent or something else. It leaves nothing behind and disturbs nobody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{ALL_TO_FILE, Broker, free_port, program, until};
use serde_json::Value;
use tempfile::TempDir;

/// What is looked at in every directory.
const PLACE_CHECKS: [&str; 10] = [
    "directory",
    "owner",
    "file-system",
    "mount-options",
    "write-cache",
    "writable",
    "fsync",
    "rename",
    "space",
    "inodes",
];

/// A config in a directory of its own, and what the doctor says of it.
struct Patient {
    dir: TempDir,
    config: PathBuf,
}

impl Patient {
    /// A client that keeps its spool in `data_dir`, and knows one server.
    fn client(data_dir: &Path, server: &str) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = dir.path().join("config.toml");
        let text = format!(
            "[client]\ndata_dir = {data_dir:?}\nservers = [{server:?}]\n\
             spool = {{ max_bytes = \"16 MiB\" }}\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { dir, config }
    }

    fn of(config: &Path) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { dir, config: config.to_owned() }
    }

    fn visit(&self, arguments: &[&str]) -> Output {
        let mut command = program();
        command.args(["doctor", "-c"]).arg(&self.config).args(arguments);
        command.output().unwrap()
    }

    /// The findings; the exit code must follow from them.
    fn findings(&self) -> Vec<Value> {
        let told = self.visit(&["--json"]);
        let findings: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&told.stderr));
        });
        let findings = findings.as_array().unwrap().clone();
        let has_problem = findings.iter().any(|finding| finding["level"] == "problem");
        let expected = if has_problem { 74 } else { 0 };
        assert_eq!(told.status.code(), Some(expected), "{findings:#?}");
        for finding in &findings {
            let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["check", "found", "level", "meaning", "subject"]);
            let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            assert!(finding.as_object().unwrap().values().all(is_text), "{finding}");
        }
        findings
    }
}

/// The one finding of a check on a subject that begins like this.
fn of<'a>(findings: &'a [Value], subject: &str, check: &str) -> &'a Value {
    let fits = |finding: &&Value| {
        finding["check"] == check && finding["subject"].as_str().unwrap().starts_with(subject)
    };
    let mut fitting = findings.iter().filter(fits);
    let found = fitting.next().unwrap_or_else(|| panic!("no {check} of {subject}: {findings:#?}"));
    assert!(fitting.next().is_none(), "one finding of {check} of {subject}");
    found
}

fn files_below(dir: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        }
        files.insert(entry.path());
    }
    files
}

#[test]
fn a_running_client_and_server_are_looked_at_and_not_disturbed() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    until("it is connected", || broker.client_status()["connection"]["state"] == "connected");
    broker.post("a", "x");
    broker.drain();
    let since = broker.client_status()["connection"]["since"].clone();
    let before = files_below(&broker.path("."));

    let client = Patient::of(&broker.path("client.toml")).findings();
    let server = Patient::of(&broker.path("server.toml")).findings();

    assert_eq!(files_below(&broker.path(".")), before, "it left something behind");
    let connection = broker.client_status()["connection"].clone();
    assert_eq!(connection["state"], "connected");
    assert_eq!(connection["since"], since, "the session was not ended");
    for (findings, place) in
        [(&client, "client.data_dir"), (&server, "server.data_dir"), (&server, "output of")]
    {
        for check in PLACE_CHECKS {
            of(findings, place, check);
        }
        for check in ["directory", "owner", "writable", "rename", "space", "inodes"] {
            assert_eq!(of(findings, place, check)["level"], "ok", "{check} of {place}");
        }
        let fsync = of(findings, place, "fsync")["found"].as_str().unwrap();
        assert!(fsync.starts_with("median ") && fsync.contains(" ms"), "{fsync}");
    }
    of(&client, "client.data_dir", "quota");
    of(&server, "server.data_dir", "dead-letters");
    for findings in [&client, &server] {
        of(findings, "process", "open-files");
        assert_eq!(of(findings, "clock", "time")["level"], "ok");
        of(findings, "clock", "synchronised");
    }
    for check in ["resolve", "connect", "protocol"] {
        assert_eq!(of(&client, "server 127.0.0.1:", check)["level"], "ok", "{check}");
    }
    assert_eq!(of(&client, "server 127.0.0.1:", "tls")["found"], "not configured");
    assert!(!server.iter().any(|finding| finding["check"] == "connect"), "it has no servers");
}

#[test]
fn memory_is_no_place_for_a_spool() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm, which every Linux has");
    let findings = Patient::client(dir.path(), "127.0.0.1:1").findings();
    let kind = of(&findings, "client.data_dir", "file-system");
    assert_eq!(kind["level"], "problem", "{kind}");
    assert!(kind["found"].as_str().unwrap().starts_with("tmpfs"), "{kind}");
    assert!(kind["meaning"].as_str().unwrap().contains("reboot"), "{kind}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it left something behind");
}

/// A file system of its own, for as long as this lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "paquebot-test"]).arg(dir.path());
        let mounted = mount.output().expect("the command `mount`");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(
            mounted.status.success(),
            "this test needs the right to mount a tmpfs (run it as root, in a container with \
             CAP_SYS_ADMIN): {said}"
        );
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that failed shows its own reason.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_a_problem_and_the_probe_is_gone_all_the_same() {
    let disk = SmallDisk::mount("size=1M,nr_inodes=500");
    let dir = disk.0.path();
    let mut filler = std::fs::File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let findings = Patient::client(dir, "127.0.0.1:1").findings();
    let found = |check: &str| of(&findings, "client.data_dir", check);
    for (check, level) in [
        ("writable", "problem"),
        ("space", "problem"),
        ("inodes", "warning"),
        ("quota", "warning"),
        ("fsync", "note"),
        ("rename", "note"),
    ] {
        assert_eq!(found(check)["level"], level, "{check}: {}", found(check));
    }
    assert!(found("writable")["meaning"].as_str().unwrap().contains("no room"));
    let names: Vec<_> = files_below(dir).into_iter().collect();
    assert_eq!(names, [dir.join("filler")], "it left something behind");
}

#[test]
fn a_read_only_disk_is_a_problem() {
    let disk = SmallDisk::mount("size=1M,ro");
    let findings = Patient::client(disk.0.path(), "127.0.0.1:1").findings();
    assert_eq!(of(&findings, "client.data_dir", "mount-options")["level"], "problem");
    assert_eq!(of(&findings, "client.data_dir", "writable")["level"], "problem");
}

#[test]
fn a_directory_that_is_yet_to_be_made_is_not_made_and_one_that_cannot_be_is_a_problem() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let absent = dir.path().join("a/b");
    let findings = Patient::client(&absent, "127.0.0.1:1").findings();
    assert_eq!(of(&findings, "client.data_dir", "directory")["level"], "note");
    assert_eq!(of(&findings, "client.data_dir", "writable")["level"], "ok");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it left something behind");

    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let findings = Patient::client(&file.join("below"), "127.0.0.1:1").findings();
    assert_eq!(of(&findings, "client.data_dir", "directory")["level"], "problem");
}

#[test]
fn an_absent_server_is_a_warning_and_another_one_is_a_problem() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let level = |server: &str, check: &str| {
        let findings = Patient::client(dir.path(), server).findings();
        of(&findings, &format!("server {server}"), check)["level"].as_str().unwrap().to_owned()
    };
    let nobody = format!("127.0.0.1:{}", free_port());
    assert_eq!(level(&nobody, "connect"), "warning");
    assert_eq!(level(&nobody, "protocol"), "note");
    assert_eq!(level("no-such-host.invalid:7035", "resolve"), "warning");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let speak = std::thread::spawn(move || {
        let (mut visitor, _) = other.accept().unwrap();
        visitor.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
        // Held until the visitor has read, or gone.
        std::io::copy(&mut visitor, &mut std::io::sink()).unwrap_or_default();
    });
    assert_eq!(level(&address, "protocol"), "problem");
    speak.join().unwrap();
}

#[test]
fn files_from_the_future_show_that_the_clock_is_wrong() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = std::fs::File::create(dir.path().join("old")).unwrap();
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    file.set_modified(future).unwrap();
    let findings = Patient::client(dir.path(), "127.0.0.1:1").findings();
    let time = of(&findings, "clock", "time");
    assert_eq!(time["level"], "problem");
    assert!(time["found"].as_str().unwrap().contains("old was written at"), "{time}");
}

#[test]
fn a_config_that_cannot_be_used_ends_with_78() {
    let patient = Patient::client(Path::new("data"), "127.0.0.1:1");
    std::fs::write(&patient.config, "[client]\ndata_dir = 'x'\nservers = ['s:1']\nword = 1\n")
        .unwrap();
    for arguments in [&[][..], &["--json"]] {
        let told = patient.visit(arguments);
        assert_eq!(told.status.code(), Some(78));
        assert!(String::from_utf8_lossy(&told.stderr).contains("word"), "{told:?}");
        assert!(told.stdout.is_empty());
    }
}

#[test]
fn people_get_aligned_lines_without_colours_in_a_pipe_and_the_codes_in_the_help() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let patient = Patient::client(dir.path(), "127.0.0.1:1");
    let told = patient.visit(&[]);
    assert_eq!(told.status.code(), Some(74));
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("\n  problem  file-system    tmpfs"), "{text}");
    assert!(text.contains("\n                          → this is memory"), "{text}");
    assert!(text.trim_end().ends_with("as they should be."), "{text}");
    let help = program().args(["doctor", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words: Vec<&str> = help.split_whitespace().collect();
    assert!(words.join(" ").contains("74 a problem was found"), "{help}");
    drop(patient.dir);
}
