//! The handler `file` with `{target}` and `{client}` in its path: a file for each, each line once and in
//! order through kills and more files than are open at once, and no way out of the folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs;
use std::io::Write;

use common::{Broker, until};
use serde_json::Value;

fn handler(path: &str, keys: &str) -> String {
    format!(
        "[[server.handler]]\nname = \"all\"\ntargets = [\">\"]\nkind = \"file\"\npath = \"{path}\"\n{keys}\n"
    )
}

/// The data in a file, in its order.
fn data(broker: &Broker, file: &str) -> Vec<String> {
    let text = fs::read_to_string(broker.path(file)).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["data"].as_str().unwrap().to_owned()).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn each_target_has_a_file_whose_lines_are_there_once_through_kills() {
    // More than are open at once, in turn: files are closed and opened again all the time.
    const TARGETS: usize = 100;
    const PACKETS: usize = 20;
    let mut broker = Broker::new(&handler("out/{client}/{target}.ndjson", ""));
    broker.start_server();
    broker.start_client();
    for number in 0..PACKETS {
        let lines: String = (0..TARGETS)
            .map(|at| format!("{{\"target\":\"orders.{at}\",\"data\":\"{number}\"}}\n"))
            .collect();
        assert_eq!(broker.connect().post_lines(&lines).status, 200);
        if number % 5 == 4 {
            broker.kill_server();
            broker.start_server();
        }
    }
    broker.drain();
    for at in 0..TARGETS {
        let file = format!("out/till-1/orders.{at}.ndjson");
        assert_eq!(data(&broker, &file), numbers(PACKETS), "{file}");
    }
}

#[test]
fn what_a_crash_has_left_is_cut_off_though_no_packet_comes() {
    let mut broker = Broker::new(&handler("out/{target}.log", ""));
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.connect().post("a?wait=handled", b"0", &[]).status, 200);
    broker.kill_server();
    // As if the power had gone between the write and its record.
    let file = fs::OpenOptions::new().append(true).open(broker.path("out/a.log"));
    file.unwrap().write_all(b"{\"half\": a li").unwrap();
    broker.start_server();
    assert_eq!(data(&broker, "out/a.log"), numbers(1));
}

#[test]
fn no_target_leads_out_of_the_folder_and_no_two_share_a_file() {
    let mut broker = Broker::new(&handler("out/{target}.log", ""));
    broker.start_server();
    broker.start_client();
    let long = "x".repeat(250);
    for target in ["/tmp/escaped", "a/b", "a%2Fb", &long, "ä~ö"] {
        let line = serde_json::json!({ "target": target, "data": "0" });
        let reply = broker.connect().post_lines(&format!("{line}\n"));
        assert!(reply.text().contains("stored"), "{}", reply.text());
    }
    broker.drain();
    let mut files: Vec<String> = fs::read_dir(broker.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".log"))
        .filter(|name| data(&broker, &format!("out/{name}")) == ["0"])
        .collect();
    files.sort();
    assert_eq!(
        files[..4],
        ["%2Ftmp%2Fescaped.log", "%C3%A4%7E%C3%B6.log", "a%252Fb.log", "a%2Fb.log"]
    );
    assert_eq!(files.len(), 5, "{files:?}");
}

#[test]
fn a_file_that_cannot_be_written_holds_up_no_other() {
    let mut broker = Broker::new(&handler("out/{target}.log", ""));
    fs::create_dir_all(broker.path("out/bad.log")).unwrap();
    broker.start_server();
    broker.start_client();
    assert_eq!(broker.post("bad", "0").status, 202);
    assert_eq!(broker.connect().post("good?wait=handled", b"0", &[]).status, 200);
    until("only the other waits", || broker.backlog() == 1);
    fs::remove_dir(broker.path("out/bad.log")).unwrap();
    broker.drain();
    assert_eq!(data(&broker, "out/bad.log"), numbers(1));
}

#[test]
fn each_file_is_rotated_by_itself() {
    let mut broker = Broker::new(&handler("out/{target}.log", "rotate = { size = \"4 KiB\" }"));
    broker.start_server();
    broker.start_client();
    let text = "x".repeat(1_000);
    for _ in 0..20 {
        let reply = broker.connect().post("large?wait=handled", text.as_bytes(), &[]);
        assert_eq!(reply.status, 200);
    }
    assert_eq!(broker.post("small", "0").status, 202);
    broker.drain();
    let names: Vec<String> = fs::read_dir(broker.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".paquebot"))
        .collect();
    let of = |name: &str| names.iter().filter(|found| found.starts_with(name)).count();
    assert!(of("large") >= 5, "{names:?}");
    let lines: usize = names
        .iter()
        .filter(|name| name.starts_with("large"))
        .map(|name| data(&broker, &format!("out/{name}")).len())
        .sum();
    assert_eq!((lines, data(&broker, "out/small.log")), (20, numbers(1)));
}
