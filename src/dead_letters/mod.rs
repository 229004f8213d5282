//! The command `dead-letters`: the dead letters of a running server or client are listed, shown, tried
//! again, removed.
//!
//! It asks through the door of the process and shows what is answered; what a replay is stands in
//! docs/dead-letters.md and is done by the process.

mod args;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

pub use args::{ChosenArgs, DeadLetterCommand, WhichArgs};

use crate::config::size_in_words;
use crate::door::Door;
use crate::exit::{Code, Failure};
use crate::print::{remark, say};
use crate::question;
use crate::status;
use crate::words::{Columns, counted};

/// How long a page may take, and how long a replay: handlers take their time.
const ANSWER: Duration = Duration::from_secs(60);
const REPLAY: Duration = Duration::from_hours(7 * 24);

/// What stands over the columns of a list.
const HEADS: [&str; 8] =
    ["SIDE", "ID", "CLIENT", "TARGET", "HANDLER", "TRIED", "LAST TRY", "REASON"];

/// What is given at once.
const PAGE_MAX: u64 = 1_000;

/// Does it.
///
/// # Errors
/// When no process runs, or it cannot do what is asked.
pub fn dead_letters(command: &DeadLetterCommand) -> Result<(), Failure> {
    match command {
        DeadLetterCommand::List { which, limit, json, config } => {
            list(&status::door(config)?, which, *limit, *json)
        }
        DeadLetterCommand::Show { id, json, config } => {
            let path = format!("/v1/dead-letters/{id}");
            let letter = question::ask(&status::door(config)?, Method::GET, &path, None, ANSWER)?;
            if *json { say(&format!("{letter:#}")) } else { say(&show(&letter)) }
        }
        DeadLetterCommand::Replay { chosen } => replay(chosen),
        DeadLetterCommand::Discard { chosen, yes } => discard(chosen, *yes),
    }
}

/// Page by page, so that a long list is printed while it is read.
fn list(door: &Door, which: &WhichArgs, limit: u64, in_json: bool) -> Result<(), Failure> {
    let (mut left, mut after, mut letters) = (limit, Value::Null, Vec::new());
    let (mut list, mut none) = (Columns::new(HEADS), true);
    while left > 0 {
        let path = query(which, left.min(PAGE_MAX), &after);
        let mut page = question::ask(door, Method::GET, &path, None, ANSWER)?;
        let found = page.get_mut("dead_letters").map(Value::take);
        let Some(Value::Array(found)) = found else { break };
        left = left.saturating_sub(found.len() as u64);
        none = none && found.is_empty();
        after = page.get_mut("next").map(Value::take).unwrap_or_default();
        if in_json {
            letters.extend(found);
        } else {
            say(&list.rows(&found.iter().map(row).collect::<Vec<_>>()))?;
        }
        if after.is_null() {
            break;
        }
    }
    if in_json {
        say(&format!("{:#}", json!({ "dead_letters": letters, "next": after })))?;
    } else if !after.is_null() {
        remark("there may be more: see --limit");
    }
    if none { check_handler(door, which) } else { Ok(()) }
}

/// Of a handler that is none there is nothing: that may be another mistake than it seems.
fn check_handler(door: &Door, which: &WhichArgs) -> Result<(), Failure> {
    let Some(name) = &which.handler else { return Ok(()) };
    match question::unknown_handler(door, name, ANSWER) {
        Ok(Some(names)) => {
            let message = format!("--handler: expected one of {names}, found {name:?}");
            Err(Failure::new(Code::Data, message))
        }
        // A client has dead letters, and no handlers.
        Ok(None) | Err(Failure { code: Code::Unavailable, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn query(which: &WhichArgs, limit: u64, after: &Value) -> String {
    let mut path = format!("/v1/dead-letters?limit={limit}");
    let after = after.as_u64().map(|after| after.to_string());
    for (key, value) in facts(which).into_iter().chain(after.map(|after| ("after", after))) {
        path.push_str(&format!("&{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
    }
    path
}

fn facts(which: &WhichArgs) -> Vec<(&'static str, String)> {
    let WhichArgs { handler, client, target, since, until } = which;
    let facts = [
        ("handler", handler.clone()),
        ("client", client.as_ref().map(ToString::to_string)),
        ("target", target.as_ref().map(ToString::to_string)),
        ("since", since.clone()),
        ("until", until.clone()),
    ];
    facts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn replay(chosen: &ChosenArgs) -> Result<(), Failure> {
    let door = status::door(&chosen.config)?;
    let mut sums = Sums::default();
    if chosen.ids.is_empty() {
        let body = chosen.body();
        let path = "/v1/dead-letters/replay";
        sums.add(&question::ask(&door, Method::POST, path, Some(&body), REPLAY)?);
    }
    for id in &chosen.ids {
        let path = format!("/v1/dead-letters/{id}/replay");
        match question::ask(&door, Method::POST, &path, None, REPLAY) {
            Ok(found) => sums.add(&found),
            Err(failure) if failure.code == Code::Data => sums.missing.push(failure.message),
            Err(failure) => return Err(failure),
        }
    }
    let [handled, rejected, failed, left, stored] = sums.counts;
    let replayed = handled + rejected + failed + stored;
    let still_dead = rejected + failed + left;
    if chosen.json {
        let text = json!({
            "replayed": replayed, "handled": handled, "stored": stored, "still_dead": still_dead,
            "stored_as": sums.stored_as, "rejected": rejected, "failed": failed, "left": left,
            "problems": sums.problems,
        });
        say(&format!("{text:#}"))?;
    } else {
        let again = match stored {
            0 => String::new(),
            _ => format!("{stored} stored again at the client, "),
        };
        say(&format!("{replayed} replayed: {handled} handled, {again}{still_dead} still dead\n"))?;
        for packet in &sums.stored_as {
            say(&format!("{} is now {}\n", text(packet, "id"), text(packet, "now")))?;
        }
        for problem in &sums.problems {
            remark(&format!("{}: {}", text(problem, "id"), text(problem, "reason")));
        }
        let told = sums.problems.len() as u64;
        if left > 0 {
            remark(&format!("{left} of them were not tried"));
        } else if still_dead > told {
            remark("and so on");
        }
    }
    sums.end(failed + left > 0, rejected > 0)?;
    if replayed + left == 0 { check_handler(&door, &chosen.which) } else { Ok(()) }
}

fn discard(chosen: &ChosenArgs, yes: bool) -> Result<(), Failure> {
    let door = status::door(&chosen.config)?;
    if chosen.all && !yes {
        confirm(&door, chosen)?;
    }
    let (mut sums, mut discarded) = (Sums::default(), 0);
    if chosen.ids.is_empty() {
        let (body, path) = (chosen.body(), "/v1/dead-letters/discard");
        let found = question::ask(&door, Method::POST, path, Some(&body), REPLAY)?;
        discarded += number(&found, "discarded");
    }
    for id in &chosen.ids {
        let path = format!("/v1/dead-letters/{id}");
        match question::ask(&door, Method::DELETE, &path, None, ANSWER) {
            Ok(found) => discarded += number(&found, "discarded"),
            Err(failure) if failure.code == Code::Data => sums.missing.push(failure.message),
            Err(failure) => return Err(failure),
        }
    }
    if chosen.json {
        say(&format!("{:#}", json!({ "discarded": discarded })))?;
    } else {
        say(&format!("{discarded} discarded\n"))?;
    }
    sums.end(false, false)?;
    if discarded == 0 { check_handler(&door, &chosen.which) } else { Ok(()) }
}

/// Asks whoever sits there whether all of them are to go.
fn confirm(door: &Door, chosen: &ChosenArgs) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let message = "expected --yes with --all where nobody can be asked, found none: nothing was \
                       discarded";
        return Err(Failure::new(Code::Usage, message));
    }
    let status = question::ask(door, Method::GET, "/v1/status", None, ANSWER)?;
    let of = |part: &str| status.pointer(part).and_then(Value::as_u64).unwrap_or_default();
    let there = of("/server/dead_letters") + of("/client/dead_letters");
    let there = counted(there, "dead letter", "dead letters");
    let which = if facts(&chosen.which).is_empty() && chosen.limit.is_none() {
        format!("Discard all of them, {there}, for good?")
    } else {
        format!("Discard for good all that fit, of {there}?")
    };
    // Without an answer nothing is done.
    let _ = write!(io::stderr(), "{which} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(Failure::of(Code::Io, "reading the answer failed"))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::Usage, "nothing was discarded")),
    }
}

/// What several answers come to.
#[derive(Default)]
struct Sums {
    /// Handled, rejected, failed, left, and stored again at a client.
    counts: [u64; 5],
    /// Some of the last, with their new ids.
    stored_as: Vec<Value>,
    problems: Vec<Value>,
    missing: Vec<String>,
}

impl Sums {
    fn add(&mut self, found: &Value) {
        let keys = ["handled", "rejected", "failed", "left", "stored"];
        for (sum, key) in self.counts.iter_mut().zip(keys) {
            *sum += number(found, key);
        }
        let all =
            |key: &str| found.get(key).and_then(Value::as_array).into_iter().flatten().cloned();
        self.problems.extend(all("problems"));
        self.stored_as.extend(all("stored_as"));
    }

    /// The exit code.
    fn end(self, later: bool, rejected: bool) -> Result<(), Failure> {
        let missing = self.missing.join("\n");
        if later {
            Err(Failure::new(Code::TryLater, missing))
        } else if rejected || !missing.is_empty() {
            Err(Failure::new(Code::Data, missing))
        } else {
            Ok(())
        }
    }
}

impl ChosenArgs {
    fn body(&self) -> Value {
        let facts = facts(&self.which).into_iter();
        let mut body: serde_json::Map<String, Value> =
            facts.map(|(key, value)| (key.to_owned(), value.into())).collect();
        body.extend(self.limit.map(|limit| ("limit".to_owned(), limit.into())));
        body.insert("all".to_owned(), self.all.into());
        body.into()
    }
}

fn row(letter: &Value) -> [String; 8] {
    let own = |key: &str| plain(text(letter, key)).replace('\n', " ");
    let attempts = number(letter, "attempts").to_string();
    let [side, id, client, target, handler] =
        ["side", "id", "client", "target", "handler"].map(own);
    [side, id, client, target, handler, attempts, own("last_attempt"), own("reason")]
}

fn show(letter: &Value) -> String {
    let mut out = format!("packet        {}\n", text(letter, "id"));
    out.push_str(&format!("kept by       the {}\n", text(letter, "side")));
    for key in ["client", "target", "handler", "reason"] {
        out.push_str(&format!("{key:<14}{}\n", text(letter, key)));
    }
    out.push_str(&format!(
        "attempts      {}, first {}, last {}\n",
        number(letter, "attempts"),
        text(letter, "first_attempt"),
        text(letter, "last_attempt"),
    ));
    for (label, key) in
        [("created", "created"), ("content type", "content_type"), ("unreadable", "unreadable")]
    {
        if let Some(value) = letter.get(key).and_then(Value::as_str) {
            out.push_str(&format!("{label:<14}{value}\n"));
        }
    }
    for (name, value) in letter.get("headers").and_then(Value::as_object).into_iter().flatten() {
        out.push_str(&format!("header        {name}: {}\n", value.as_str().unwrap_or_default()));
    }
    out.push_str(&format!("size          {}\n", size_in_words(number(letter, "size"))));
    match (letter.get("data"), letter.get("data_base64")) {
        (Some(Value::String(data)), _) => out.push_str(&format!("\n{}\n", plain(data))),
        (_, Some(Value::String(data))) => out.push_str(&format!("\nbase64: {data}\n")),
        _ => {}
    }
    out
}

/// Somebody else's text, fit for a terminal.
fn plain(text: &str) -> String {
    let stays = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().map(|c| if stays(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or("-")
}

fn number(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or_default()
}
