//! The small examples do what they say, with the real program: the shell script, and the Python script
//! over HTTP and over a unix socket, also while the client is away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::process::{Command, Output, Stdio};

use common::python::example;
use common::{ALL_TO_FILE, Broker};

fn started() -> Broker {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    broker
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_shell_script_hands_over_each_of_its_packets() {
    let broker = started();
    let mut command = Command::new("sh");
    command.arg(example("shell").join("post.sh"));
    command.env("DOOR", format!("http://127.0.0.1:{}", broker.source_port));
    command.env("PAQUEBOT", env!("CARGO_BIN_EXE_paquebot"));
    let printed = done(&command.output().unwrap());
    assert_eq!(printed.lines().count(), 1 + 2 + 1 + 1 + 3, "an answer for each packet: {printed}");
    broker.drain();
    assert_eq!(
        broker.handled("out.ndjson")["orders.shell"],
        [
            "{\"total\": 17}",
            "{\"total\": 18}",
            "plain text",
            "{\"total\": 19}",
            "this one matters",
            "one",
            "two",
            "three"
        ]
    );
}

#[test]
fn the_python_script_posts_over_http_and_over_a_unix_socket() {
    let broker = started();
    let socket = broker.path("door.sock");
    let mut twin = broker.twin();
    let listen = format!("127.0.0.1:{}", twin.source_port);
    twin.edit("client.toml", &listen, &format!("unix:{}", socket.display()));
    twin.start_client();
    let http = format!("http://127.0.0.1:{}", broker.source_port);
    for (door, data) in [(http, "over http"), (format!("unix:{}", socket.display()), "unix")] {
        let mut command = Command::new("python3");
        command.arg(example("python").join("post.py")).args(["py.x", data, "--door", &door]);
        let id = done(&command.output().unwrap());
        assert!(id.trim_end().ends_with("-1-1"), "{id}");
    }
    broker.drain();
    twin.drain();
    assert_eq!(broker.handled("out.ndjson")["py.x"], ["over http", "unix"]);
}

#[test]
fn the_python_script_comes_again_until_the_client_is_there() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    let mut command = Command::new("python3");
    command.arg(example("python").join("post.py")).args(["py.x", "patience", "--door"]);
    command.arg(format!("http://127.0.0.1:{}", broker.source_port));
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    broker.start_client();
    done(&waiting.wait_with_output().unwrap());
    broker.drain();
    assert_eq!(broker.handled("out.ndjson")["py.x"], ["patience"]);
    broker.stop_client();
    let late = command.args(["--patience", "0.5"]).output().unwrap();
    let said = String::from_utf8(late.stderr).unwrap();
    assert!(!late.status.success() && said.contains("not stored within 0.5 s: "), "{said}");
}
