//! The rig for the handlers `http` and `exec`, which are called "hook" here: a broker that gives
//! everything to one handler, and what its server says of it.

use std::sync::{Arc, mpsc};

use paquebot_store::{
    DeadLetter, DeadLetterFilter, DeadLetterLimits, FileDisk, Ledger, LedgerOptions,
};

use super::{Broker, Process, until};

/// A broker whose every packet goes to `port`, with more keys for the handler.
pub fn broker(port: u16, keys: &str) -> Broker {
    broker_of(&format!("kind = \"http\"\nurl = \"http://127.0.0.1:{port}/in?x=1\"\n{keys}"))
}

/// A broker whose every packet goes to a handler with these keys.
pub fn broker_of(keys: &str) -> Broker {
    // A handler that cannot fail has no such key.
    let retry = match keys.contains("retry") || keys.contains("'log'") {
        true => "",
        false => "retry = { initial = \"10 ms\", max = \"50 ms\" }",
    };
    let handler =
        format!("[[server.handler]]\nname = \"hook\"\ntargets = [\">\"]\n{retry}\n{keys}\n");
    Broker::new(&handler)
}

pub fn started(port: u16, keys: &str) -> Broker {
    let mut broker = broker(port, keys);
    broker.start_server();
    broker.start_client();
    broker
}

/// Posts `count` packets to `target`, whose data are their numbers from 1.
pub fn store(broker: &Broker, target: &str, count: usize) {
    let line = |number: usize| format!("{{\"target\":\"{target}\",\"data\":\"{number}\"}}\n");
    let lines: String = (1..=count).map(line).collect();
    assert_eq!(broker.connect().post_lines(&lines).status, 200);
}

pub fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

pub fn handler_state(broker: &Broker) -> String {
    broker.server_status()["handlers"][0]["state"].as_str().unwrap().to_owned()
}

pub fn outcome(broker: &Broker, outcome: &str) -> f64 {
    let series = format!("paquebot_server_packets_total{{handler=\"hook\",outcome=\"{outcome}\"}}");
    broker.metric(broker.server_admin_port, &series).unwrap()
}

/// Who waits for "handled" hears it a moment before it is counted.
pub fn await_outcomes<const N: usize>(broker: &Broker, expected: [(&str, f64); N]) {
    for (name, packets) in expected {
        until(name, || outcome(broker, name) == packets);
    }
}

/// Stops the server and looks into its ledger.
pub fn dead_letters(broker: &mut Broker) -> Vec<DeadLetter> {
    assert_eq!(broker.server.take().map(Process::stop), Some(0));
    let options =
        LedgerOptions { dir: broker.path("server"), dead_letters: DeadLetterLimits::default() };
    let (ledger, _) = Ledger::open(options, Arc::new(FileDisk)).unwrap();
    let (answer, answered) = mpsc::channel();
    let filter = DeadLetterFilter { limit: 100, ..DeadLetterFilter::default() };
    ledger.list_dead_letters(filter, Box::new(move |page| answer.send(page).unwrap()));
    let page = answered.recv().unwrap().unwrap();
    ledger.close().unwrap();
    page.letters.into_iter().map(|listed| listed.letter).collect()
}

/// A broker whose every packet goes to a shell script, with more keys for the handler.
pub fn script(text: &str, keys: &str) -> Broker {
    let broker = broker_of(&format!("kind = \"exec\"\ncommand = [\"sh\", \"hook.sh\"]\n{keys}"));
    broker.write("hook.sh", text);
    broker
}

/// The same, with both processes running.
pub fn started_script(text: &str, keys: &str) -> Broker {
    let mut broker = script(text, keys);
    broker.start_server();
    broker.start_client();
    broker
}

/// The lines that a script has written to a file so far.
pub fn written(broker: &Broker, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(broker.path(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The numbers of processes that a script has written to a file, of those that still live.
pub fn living(broker: &Broker, file: &str) -> Vec<String> {
    let lives = |number: &String| {
        // Nobody may have taken the status of one that has ended.
        let state = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    };
    written(broker, file).into_iter().filter(lives).collect()
}
