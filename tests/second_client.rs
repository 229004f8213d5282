//! A client in another language, written from docs/protocol.md alone (`examples/python`), keeps the
//! promises against the real server: every packet once and in order, however often the link is cut and
//! either side is killed; dead letters, pauses and copies of its spool are understood.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use common::cutter::Cutter;
use common::destination::{Answer, Destination};
use common::python::{example, python};
use common::{ALL_TO_FILE, Broker, until};

/// The example at work: each line that it is given is a packet.
struct Example {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Example {
    fn start(broker: &Broker, port: u16, target: &str, lines: Vec<String>) -> Self {
        let mut command = Command::new(python());
        command.arg(example("python").join("client.py")).arg(target);
        command.args(["--server", &format!("127.0.0.1:{port}"), "--client", "py-1"]);
        command.args(["--timeout", "60", "--spool"]).arg(broker.path("py.spool"));
        let log = broker.path("py.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // It may be killed before it has read all.
        let writer = std::thread::spawn(move || {
            lines.iter().try_for_each(|line| writeln!(input, "{line}")).unwrap_or_default();
        });
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (output, said) = (child.stdout.take().unwrap(), Arc::clone(&printed));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                said.lock().unwrap().push(line.unwrap());
            }
        });
        Self { child, printed, reader: Some(reader), writer: Some(writer) }
    }

    /// The ids that were printed: these packets are stored.
    fn stored(&self) -> usize {
        self.printed.lock().unwrap().len()
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.end().1
    }

    /// Waits for its end: the exit code, and the ids that it printed.
    fn end(&mut self) -> (Option<i32>, Vec<String>) {
        let status = self.child.wait().unwrap();
        for thread in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            thread.join().unwrap();
        }
        (status.code(), std::mem::take(&mut *self.printed.lock().unwrap()))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(what: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{what} {n} {}", "x".repeat(n * 7 % 200))).collect()
}

#[test]
fn every_packet_is_there_once_and_in_order_through_cuts_and_kills() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    // Within the preamble, the hello, the welcome, a run; some long enough for acks to come back.
    let cuts = vec![4, 30, 150, 300, 700, 2_000, 5_000, 9_000, 20_000, 30_000, 50_000, 70_000];
    let planned = cuts.len();
    let network = Cutter::start(broker.server_port, cuts);
    let all = lines("first", 0..3_000);
    let mut sent: BTreeMap<String, String> = BTreeMap::new();

    // The client is killed while it sends; the server, too, some time before.
    let example = Example::start(&broker, network.port, "a.first", all.clone());
    until("some are stored", || example.stored() > 600);
    broker.kill_server();
    let before = example.stored();
    until("more are stored meanwhile", || example.stored() > before + 300);
    let printed = example.kill();
    let told = printed.len();
    assert!(told < all.len(), "it was killed half-way");
    sent.extend(printed.into_iter().zip(all.iter().cloned()));

    // It takes up its spool, with the rest for the same lane, while the server comes back.
    broker.start_server();
    let mut example = Example::start(&broker, network.port, "a.first", all[told..].to_vec());
    until("some are stored", || example.stored() > 300);
    broker.kill_server();
    broker.start_server();
    let (code, printed) = example.end();
    assert_eq!(code, Some(0), "{}", log(&broker));
    assert_eq!(printed.len(), all.len() - told);
    sent.extend(printed.into_iter().zip(all[told..].iter().cloned()));

    // Another lane of the same spool.
    let more = lines("second", 0..500);
    let mut example = Example::start(&broker, network.port, "a.second", more.clone());
    let (code, printed) = example.end();
    assert_eq!(code, Some(0), "{}", log(&broker));
    sent.extend(printed.into_iter().zip(more));
    // A connection that a kill or the end of a client ends first is not cut any more.
    assert!(network.cuts() >= planned / 2, "{} of {planned} cuts", network.cuts());

    let mut numbers: BTreeMap<u64, u64> = BTreeMap::new();
    let mut unanswered = 0;
    for line in broker.lines("out.ndjson") {
        let next = numbers.entry(line["lane"].as_u64().unwrap()).or_insert(1);
        assert_eq!(line["number"].as_u64(), Some(*next), "in order, none missing, none twice");
        *next += 1;
        match sent.remove(line["id"].as_str().unwrap()) {
            Some(data) => assert_eq!(line["data"], data.as_str()),
            // The one that was stored, and its id not yet printed, when the client was killed.
            None => {
                assert_eq!(line["data"], all[told].as_str());
                unanswered += 1;
            }
        }
    }
    assert!(sent.is_empty(), "stored and never handled: {sent:?}");
    assert!(unanswered <= 1, "{unanswered} packets that nobody was told of");
}

#[test]
fn a_dead_letter_is_said_by_its_id() {
    let mut broker =
        Broker::new(&ALL_TO_FILE.replace("targets = [\">\"]", "targets = [\"taken.>\"]"));
    broker.start_server();
    let mut example = Example::start(&broker, broker.server_port, "lost.x", lines("d", 0..3));
    let (code, printed) = example.end();
    assert_eq!((code, printed.len()), (Some(65), 3));
    for id in printed {
        assert!(log(&broker).contains(&format!("{id} is a dead letter: ")), "{}", log(&broker));
    }
}

#[test]
fn a_lane_that_is_paused_goes_on_and_no_other_waits_for_it() {
    let destination = Destination::start();
    let mut fails = 3;
    destination.answer(move |parcel| {
        if parcel.data.starts_with("p 5 ") && fails > 0 {
            fails -= 1;
            return Answer::Status(503);
        }
        Answer::Status(200)
    });
    let handlers = format!(
        "[[server.handler]]\nname = \"hook\"\ntargets = [\"p.>\"]\nkind = \"http\"\n\
         url = \"http://127.0.0.1:{}/\"\nretry = {{ initial = \"20 ms\", max = \"50 ms\" }}\n{}",
        destination.port, ALL_TO_FILE
    );
    let mut broker = Broker::new(&handlers);
    broker.start_server();
    let mut example = Example::start(&broker, broker.server_port, "p.x", lines("p", 0..200));
    let (code, _) = example.end();
    assert_eq!(code, Some(0), "{}", log(&broker));
    assert_eq!(destination.accepted()["p.x"], lines("p", 0..200));
    assert!(log(&broker).contains("p.x waits for "), "{}", log(&broker));
}

#[test]
fn a_copy_of_its_spool_takes_another_name_and_loses_nothing() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    let send = |what: &str, range| {
        let mut example = Example::start(&broker, broker.server_port, "a.x", lines(what, range));
        let (code, printed) = example.end();
        assert_eq!(code, Some(0), "{}", log(&broker));
        printed
    };
    send("before", 0..50);
    std::fs::copy(broker.path("py.spool"), broker.path("backup")).unwrap();
    let late = send("after", 50..80);
    std::fs::rename(broker.path("backup"), broker.path("py.spool")).unwrap();
    let restored = send("restored", 50..90);
    assert!(late[0].contains("-1-51") && restored[0].contains("-1-51"));
    let handled = &broker.handled("out.ndjson")["a.x"];
    for line in [lines("before", 0..50), lines("after", 50..80), lines("restored", 50..90)].concat()
    {
        assert!(handled.contains(&line), "{line} is lost");
    }
    assert!(log(&broker).contains("the spool has a new name"), "{}", log(&broker));
}

fn log(broker: &Broker) -> String {
    std::fs::read_to_string(broker.path("py.log")).unwrap_or_default()
}
