//! The command `send`: a packet from the command line or standard input.
//!
//! Each packet has a key, given or drawn, so that no try stores it twice, and so that whoever gives up
//! can be told how to go on.

mod args;
mod input;
mod lines;
mod tries;

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use paquebot_protocol::TargetId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use args::{SendArgs, Wait};

use crate::config::duration_in_words;
use crate::door::{Answer, Door};
use crate::exit::{Code, Failure};
use crate::print::{remark, say};
use crate::run;
use input::Input;
use tries::Tries;

/// What is common to all packets of one call.
struct Sending<'a> {
    args: &'a SendArgs,
    target: TargetId,
    door: Door,
    headers: BTreeMap<&'a str, &'a str>,
    /// The key, or what the keys of lines begin with.
    key: String,
}

/// Hands over a packet, or each line as one, and prints the ids.
///
/// # Errors
/// When the data cannot be read, no client is there, or it does not take the packet.
pub fn send(args: &SendArgs) -> Result<(), Failure> {
    let target: TargetId = args.target.parse().map_err(Failure::of(Code::Usage, "target"))?;
    let door = match &args.client {
        Some(address) => Door::parse(address)?,
        None => Door::of_client(&run::load(&args.config)?.config)?,
    };
    let key = args.idempotency_key.clone().map_or_else(drawn_key, Ok)?;
    let sending = Sending { args, target, door, headers: headers(args)?, key };
    let mut input = Input::of(args.data.as_deref())?;
    for _ in 1..args.from_line {
        if input.line()?.is_none() {
            return Ok(());
        }
    }
    match (args.lines, args.wait) {
        (false, _) => sending.one(&sending.key, input.whole()?).map_err(|failure| {
            let again = format!("--idempotency-key {}", sending.key);
            advise(failure, &again)
        }),
        (true, Wait::Stored) => lines::send(&sending, input),
        (true, Wait::Handled) => sending.one_by_one(input),
    }
}

impl Sending<'_> {
    /// Each line after the one before it has been handled.
    fn one_by_one(&self, mut input: Input) -> Result<(), Failure> {
        let (mut number, mut dead) = (self.args.from_line, 0);
        while let Some(line) = input.line()? {
            match self.one(&self.key_of(number), line) {
                // It takes only itself out.
                Err(Failure { code: Code::Data, message }) => {
                    dead += 1;
                    remark(&format!("line {number}: {message}"));
                }
                Err(Failure { code, message }) => {
                    let failure = Failure::new(code, format!("line {number}: {message}"));
                    return Err(advise(failure, &self.from(number)));
                }
                Ok(()) => {}
            }
            number += 1;
        }
        if dead > 0 {
            let handled = number - self.args.from_line - dead;
            let message = format!("{handled} lines were handled, {dead} were not taken");
            return Err(Failure::new(Code::Data, message));
        }
        Ok(())
    }

    /// One packet.
    fn one(&self, key: &str, data: Vec<u8>) -> Result<(), Failure> {
        let args = self.args;
        let encoded = utf8_percent_encode(self.target.as_str(), NON_ALPHANUMERIC);
        let wait = if args.wait == Wait::Handled { "wait=handled&" } else { "" };
        let data = Bytes::from(data);
        let answer =
            Tries::new(&self.door, args.timeout, args.wait == Wait::Handled).ask(|timeout| {
                let path = format!("/v1/packets/{encoded}?{wait}timeout={timeout}");
                let mut request = Request::builder().method(Method::POST).uri(path);
                request = request.header("host", "paquebot").header("idempotency-key", key);
                if let Some(content_type) = &args.content_type {
                    request = request.header("content-type", content_type);
                }
                for (name, value) in &self.headers {
                    request = request.header(format!("paquebot-header-{name}"), *value);
                }
                if let Some(ttl) = args.ttl {
                    request = request.header("paquebot-ttl", duration_in_words(ttl));
                }
                let request = request.body(Full::new(data.clone()));
                request.map_err(Failure::of(Code::Usage, "the header, key or content type"))
            })?;
        let receipt = read(&self.door, &answer)?;
        let mut printed = String::new();
        let state = receipt.get("state").and_then(Value::as_str);
        self.print(&receipt, &mut printed);
        say(&printed)?;
        match (args.wait, state) {
            (_, Some("filtered")) => {
                remark("filtered: the source does not want this event; nothing is stored");
                Ok(())
            }
            (Wait::Handled, state) if state != Some("handled") => {
                let timeout = duration_in_words(args.timeout);
                let message =
                    format!("stored, but not handled within {timeout}: it will be sent on");
                Err(Failure::new(Code::TryLater, message))
            }
            _ => Ok(()),
        }
    }

    /// Adds what is printed for a packet, if anything.
    fn print(&self, receipt: &Value, printed: &mut String) {
        let id = receipt.get("id").and_then(Value::as_str);
        match (self.args.json, id) {
            (true, _) => printed.push_str(&receipt.to_string()),
            (false, Some(id)) => printed.push_str(id),
            // An event that is filtered has no id.
            (false, None) => return,
        }
        printed.push('\n');
    }

    /// The key of a line.
    fn key_of(&self, number: u64) -> String {
        format!("{}/{number}", self.key)
    }

    /// How to go on from a line.
    fn from(&self, number: u64) -> String {
        format!("--from-line {number} --idempotency-key {}", self.key)
    }
}

/// Says of a packet that may be stored, or not, how to repeat it.
fn advise(failure: Failure, again: &str) -> Failure {
    if failure.code != Code::TryLater {
        return failure;
    }
    let Failure { code, message } = failure;
    let advice = "what is stored already is not stored again";
    Failure::new(code, format!("{message}\nrepeat it with {again}: {advice}"))
}

/// A key that nobody else has.
fn drawn_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Failure::of(Code::Internal, "drawing a key failed"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The headers of each packet.
fn headers(args: &SendArgs) -> Result<BTreeMap<&str, &str>, Failure> {
    let mut headers = BTreeMap::new();
    for header in &args.headers {
        let (name, value) = header.split_once('=').ok_or_else(|| {
            Failure::new(Code::Usage, format!("--header: expected NAME=VALUE, found {header:?}"))
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn read(door: &Door, answer: &Answer) -> Result<Value, Failure> {
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if answer.status.is_success() {
        Ok(body)
    } else {
        Err(problem(door, answer.status.as_u16(), &body))
    }
}

/// Why a packet was not taken.
fn problem(door: &Door, status: u16, body: &Value) -> Failure {
    let detail = body.get("detail").and_then(Value::as_str);
    let detail = detail.map_or_else(|| format!("status {status}"), str::to_owned);
    let code = match status {
        404 | 405 => Code::Unavailable,
        429 | 503 => Code::TryLater,
        500.. => Code::Internal,
        _ => Code::Data,
    };
    let hint = if code == Code::Unavailable { " (is it a client?)" } else { "" };
    if status == 422 {
        return Failure::new(code, detail);
    }
    Failure::new(code, format!("{door} did not take the packet{hint}: {detail}"))
}
