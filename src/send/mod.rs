//! The command `send`: a packet from the command line or standard input.

mod input;
mod lines;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use paquebot_protocol::TargetId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::cli::{SendArgs, Wait};
use crate::config::duration_in_words;
use crate::door::{Answer, Door};
use crate::exit::{Code, Failure};
use crate::print::{remark, say};
use crate::run;
use input::Input;

/// The longest wait for "stored", beyond what the process itself allows.
const MARGIN: Duration = Duration::from_secs(10);

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
    let mut input = Input::of(args.data.as_deref())?;
    match (args.lines, args.wait) {
        (false, _) => send_one(args, &target, &door, input.whole()?),
        (true, Wait::Stored) => lines::send(args, &target, &door, input),
        (true, Wait::Handled) => {
            let (mut at, mut dead) = (0, 0);
            while let Some(line) = input.line()? {
                at += 1;
                match send_one(args, &target, &door, line) {
                    // It takes only itself out.
                    Err(Failure { code: Code::Data, message }) => {
                        dead += 1;
                        remark(&format!("line {at}: {message}"));
                    }
                    Err(Failure { code, message }) => {
                        return Err(Failure::new(code, format!("line {at}: {message}")));
                    }
                    Ok(()) => {}
                }
            }
            if dead > 0 {
                let message = format!("{} lines were handled, {dead} were not taken", at - dead);
                return Err(Failure::new(Code::Data, message));
            }
            Ok(())
        }
    }
}

fn send_one(args: &SendArgs, target: &TargetId, door: &Door, data: Vec<u8>) -> Result<(), Failure> {
    let encoded = utf8_percent_encode(target.as_str(), NON_ALPHANUMERIC);
    let mut path = format!("/v1/packets/{encoded}");
    if args.wait == Wait::Handled {
        let timeout = duration_in_words(args.timeout).replace(' ', "%20");
        path.push_str(&format!("?wait=handled&timeout={timeout}"));
    }
    let mut request = Request::builder().method(Method::POST).uri(path).header("host", "paquebot");
    if let Some(content_type) = &args.content_type {
        request = request.header("content-type", content_type);
    }
    for (name, value) in headers(args)? {
        request = request.header(format!("paquebot-header-{name}"), value);
    }
    if let Some(ttl) = args.ttl {
        request = request.header("paquebot-ttl", duration_in_words(ttl));
    }
    let request = request.body(Full::new(Bytes::from(data)));
    let request = request.map_err(Failure::of(Code::Usage, "the header or content type"))?;
    let answer = door.ask(request, args.timeout.saturating_add(MARGIN))?;
    let receipt = read(door, &answer)?;
    let id = receipt.get("id").and_then(Value::as_str).unwrap_or_default();
    say(id)?;
    let state = receipt.get("state").and_then(Value::as_str);
    if args.wait == Wait::Handled && state != Some("handled") {
        let message = format!(
            "stored, but not handled within {}: it will be sent on",
            duration_in_words(args.timeout)
        );
        return Err(Failure::new(Code::TryLater, message));
    }
    Ok(())
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
    if answer.status.is_success() {
        return Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null));
    }
    Err(problem(door, answer.status.as_u16(), &answer.body))
}

/// Why a packet was not taken.
fn problem(door: &Door, status: u16, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let detail = body.get("detail").and_then(Value::as_str);
    let detail = detail.map_or_else(|| format!("status {status}"), str::to_owned);
    let code = match status {
        404 => Code::Unavailable,
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
