//! The command `status`: how a running process is.

use std::time::Duration;

use serde_json::Value;

use crate::cli::ConfigArgs;
use crate::door::Door;
use crate::exit::{Code, Failure};
use crate::print::say;
use crate::words::{self, Columns};

/// A process that lives answers at once.
const ANSWER: Duration = Duration::from_secs(10);

/// Lanes that are shown to people; JSON has more.
const LANES_SHOWN_MAX: usize = 20;

/// Asks the process and prints its answer.
///
/// # Errors
/// When no process is there.
pub fn status(args: &ConfigArgs, json: bool) -> Result<(), Failure> {
    let door = door(args)?;
    let answer = door.get("/v1/status", ANSWER)?;
    if !answer.status.is_success() {
        let message = format!("{door} answered {}", answer.status);
        return Err(Failure::new(Code::Unavailable, message));
    }
    let status: Value = serde_json::from_slice(&answer.body)
        .map_err(Failure::of(Code::Internal, "the answer cannot be read"))?;
    if json { say(&format!("{status:#}")) } else { say(&in_words(&status)) }
}

/// The process that is asked: the one that a variable names, or else the config's.
pub(crate) fn door(args: &ConfigArgs) -> Result<Door, Failure> {
    let none = || Failure::new(Code::Config, "no part to ask");
    Door::meant(args, |config| Door::of_process(config).ok_or_else(none))
}

fn in_words(status: &Value) -> String {
    let mut out = String::new();
    for part in [client_in_words(status), server_in_words(status)].into_iter().flatten() {
        out.push_str(&part);
    }
    out
}

fn client_in_words(status: &Value) -> Option<String> {
    let client = status.get("client").filter(|client| client.is_object())?;
    let link = client.get("connection")?;
    let mut out = format!(
        "client {}   spool {}\n  connection  {} {} since {}\n  waiting     {}, {}\n  \
         spool       {} of {} on disk\n",
        text(client, "id"),
        text(client, "spool"),
        text(link, "state"),
        text(link, "server"),
        text(link, "since"),
        words::packets(number(client, "pending_packets")),
        size(client, "pending_bytes"),
        size(client, "spool_file_bytes"),
        size(client, "spool_max_bytes"),
    );
    add_line(&mut out, "next try", link, "next_try");
    add_line(&mut out, "last error", link, "last_error");
    if let Some(full) = client.get("full").filter(|full| full.is_object()) {
        let (since, refused) = (text(full, "since"), number(full, "refused_packets"));
        let (means, advice) = (text(full, "means"), text(full, "advice"));
        out.push_str(&format!("  full        since {since}, {refused} packets refused: {means}\n"));
        out.push_str(&format!("              {advice}\n"));
    } else if let Some(seconds) = client.get("spool_seconds_left").and_then(Value::as_f64) {
        let span = span_in_words(seconds);
        out.push_str(&format!("  full in     {span} at the present rate\n"));
    }
    add_line(&mut out, "failed", client, "failed");
    let lanes = client.get("lanes").and_then(Value::as_array)?;
    let waiting: Vec<_> = lanes.iter().filter(|lane| number(lane, "pending_packets") > 0).collect();
    let row = |lane: &&Value| {
        [
            text(lane, "target").to_owned(),
            number(lane, "pending_packets").to_string(),
            size(lane, "pending_bytes"),
            why_it_waits(lane, link),
        ]
    };
    let rows: Vec<_> = waiting.iter().take(LANES_SHOWN_MAX).map(row).collect();
    let list = Columns::new(["LANE", "PACKETS", "SIZE", "WHY THEY WAIT"]).rows(&rows);
    out.extend(list.lines().map(|line| format!("    {line}\n")));
    if waiting.len() > rows.len() {
        out.push_str(&format!("    and others: {} lanes hold packets\n", waiting.len()));
    }
    Some(out)
}

/// Why a lane's packets are still here.
fn why_it_waits(lane: &Value, link: &Value) -> String {
    let in_flight = number(lane, "in_flight");
    if let Some(pause) = lane.get("pause").filter(|pause| pause.is_object()) {
        let (since, next_try) = (text(pause, "since"), text(pause, "next_try"));
        return format!("{}; since {since}, next try {next_try}", text(pause, "reason"));
    }
    if text(link, "state") != "connected" {
        return format!("not connected since {}", text(link, "since"));
    }
    match in_flight {
        0 => "not sent yet: others are sent before".to_owned(),
        sent => format!("{} sent, without an outcome yet", words::packets(sent)),
    }
}

fn server_in_words(status: &Value) -> Option<String> {
    let server = status.get("server").filter(|server| server.is_object())?;
    let mut out = format!(
        "server {}   ledger {}\n  dead letters  {}\n",
        text(server, "listening"),
        text(server, "ledger"),
        number(server, "dead_letters"),
    );
    add_line(&mut out, "failed", server, "failed");
    for client in server.get("clients").and_then(Value::as_array)? {
        let (client, address) = (text(client, "client"), text(client, "address"));
        out.push_str(&format!("  client        {client} at {address}\n"));
    }
    for handler in server.get("handlers").and_then(Value::as_array)? {
        let targets: Vec<_> = handler.get("targets")?.as_array()?.iter().collect();
        let targets = targets.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        out.push_str(&format!("  handler       {} takes {targets}\n", text(handler, "name")));
        if text(handler, "state") != "ok" {
            let (state, since) = (text(handler, "state"), text(handler, "since"));
            let by = handler.get("paused_by").and_then(Value::as_str);
            let why = by.unwrap_or_else(|| text(handler, "last_error"));
            out.push_str(&format!("                {state} since {since}: {why}\n"));
            if let Some(lanes) = handler.get("waiting_lanes").and_then(Value::as_u64) {
                let lanes = words::counted(lanes, "lane waits", "lanes wait");
                out.push_str(&format!("                {lanes} for it\n"));
            }
        }
    }
    Some(out)
}

fn add_line(out: &mut String, label: &str, of: &Value, key: &str) {
    if let Some(value) = of.get(key).and_then(Value::as_str) {
        out.push_str(&format!("  {label:<11} {value}\n"));
    }
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn number(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// A time in the largest unit of which there is at least one.
fn span_in_words(seconds: f64) -> String {
    let units = [(86_400.0, "days"), (3_600.0, "h"), (60.0, "min")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit);
    let (unit, name) = unit.unwrap_or((1.0, "s"));
    format!("{:.1} {name}", seconds / unit)
}

fn size(of: &Value, key: &str) -> String {
    words::size(number(of, key))
}
