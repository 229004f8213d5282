//! The command `trace`: where is this packet?

use std::fmt::Write;
use std::time::Duration;

use hyper::StatusCode;
use paquebot_protocol::PacketId;
use serde_json::Value;

use crate::cli::TraceArgs;
use crate::door::Door;
use crate::exit::{Code, Failure};
use crate::print::say;
use crate::{question, status};

/// A process that lives answers sooner.
const ANSWER: Duration = Duration::from_secs(30);

/// Facts that are shown, in this order, with their names for people.
const FACTS: [(&str, &str); 18] = [
    ("means", ""),
    ("target", "target"),
    ("client", "client"),
    ("spool_now", "spool now"),
    ("created", "created"),
    ("size", "bytes"),
    ("handler", "handler"),
    ("at", "at"),
    ("reason", "reason"),
    ("attempts", "attempts"),
    ("first_attempt", "first attempt"),
    ("last_attempt", "last attempt"),
    ("packets_before", "packets before it"),
    ("handled_through", "lane handled to"),
    ("since", "since"),
    ("times", "times told"),
    ("next_try", "next try"),
    ("last_error", "last error"),
];

/// Asks the process and prints what it knows.
///
/// # Errors
/// When no process is there, or it has never seen the packet.
pub fn trace(args: &TraceArgs) -> Result<(), Failure> {
    let id: PacketId = args
        .id
        .parse()
        .map_err(|error| Failure::new(Code::Usage, format!("packet id: {error}")))?;
    let door = status::door(&args.config)?;
    let answer = door.get(&format!("/v1/packets/{id}"), ANSWER)?;
    let found: Value = serde_json::from_slice(&answer.body)
        .map_err(Failure::of(Code::Internal, "the answer cannot be read"))?;
    // One that is not known comes as a problem that has the sides' answers, too.
    if answer.status != StatusCode::OK && found.get("state").is_none() {
        return Err(question::refused(&door, answer.status, Some(&found)));
    }
    if args.json {
        say(&format!("{found:#}"))?;
    } else {
        say(&in_words(&found, &door))?;
    }
    if answer.status == StatusCode::NOT_FOUND {
        return Err(Failure::new(Code::Data, format!("{id} was never seen here")));
    }
    Ok(())
}

fn in_words(found: &Value, door: &Door) -> String {
    let text = |of: &Value| match of {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut out = format!("{}: {}   (asked {door})\n", text(&found["id"]), text(&found["state"]));
    for side in ["client", "server"] {
        let Some(facts) = found.get(side).filter(|facts| facts.is_object()) else { continue };
        let state = facts.get("state").map(text).unwrap_or_default();
        let _ = writeln!(out, "  {side:<8}{state}");
        for facts in [Some(facts), facts.get("pause"), facts.get("connection")] {
            for (key, name) in FACTS {
                let fact = facts.and_then(|facts| facts.get(key)).filter(|fact| !fact.is_null());
                if let Some(fact) = fact.map(text) {
                    let _ = match name {
                        "" => writeln!(out, "          {fact}"),
                        name => writeln!(out, "          {name:<18}{fact}"),
                    };
                }
            }
        }
    }
    out
}
