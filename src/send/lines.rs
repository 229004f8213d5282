//! `send --lines`: each line is a packet. What has been read goes in one request, so that a file is
//! sent at full speed and a slow pipe without delay.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use paquebot_actors::clock;
use paquebot_protocol::TargetId;
use serde::Serialize;
use serde_json::Value;

use super::input::Input;
use super::{MARGIN, headers, problem};
use crate::cli::SendArgs;
use crate::config::duration_in_words;
use crate::door::Door;
use crate::exit::{Code, Failure};
use crate::print::{remark, say};

/// Lines of one request, and about their bytes; a source takes more.
const LINES_MAX: usize = 1_000;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines that are refused and shown.
const SHOWN_MAX: u64 = 10;

/// How often a terminal is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A line as the source takes it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    headers: &'a BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

/// How far it is.
struct Progress {
    stored: u64,
    refused: u64,
    told: Option<Instant>,
}

/// Hands over every line.
pub(super) fn send(
    args: &SendArgs,
    target: &TargetId,
    door: &Door,
    input: Input,
) -> Result<(), Failure> {
    let lines = read(input);
    let mut progress = Progress { stored: 0, refused: 0, told: None };
    let mut unreadable = None;
    while unreadable.is_none()
        && let Ok(first) = lines.recv()
    {
        let (mut batch, mut bytes, mut next) = (Vec::new(), 0, Some(first));
        while let Some(line) = next.take() {
            match line {
                Ok(line) => {
                    bytes += line.len();
                    batch.push(line);
                }
                Err(failure) => unreadable = Some(failure),
            }
            if batch.len() < LINES_MAX && bytes < BYTES_MAX {
                next = lines.try_recv().ok();
            }
        }
        send_batch(args, target, door, &batch, &mut progress)?;
        progress.tell(false);
    }
    progress.tell(true);
    if let Some(failure) = unreadable {
        return Err(failure);
    }
    if progress.refused > 0 {
        let Progress { stored, refused, .. } = progress;
        let message = format!("{stored} lines were stored, {refused} were refused");
        return Err(Failure::new(Code::Data, message));
    }
    Ok(())
}

/// Reads lines ahead, a few, on a thread of its own: a slow writer holds up nobody.
fn read(mut input: Input) -> Receiver<Result<Vec<u8>, Failure>> {
    let (ahead, lines) = mpsc::sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        loop {
            let line = match input.line() {
                Ok(Some(line)) => Ok(line),
                Ok(None) => return,
                Err(failure) => Err(failure),
            };
            let is_over = line.is_err();
            if ahead.send(line).is_err() || is_over {
                return;
            }
        }
    });
    lines
}

fn send_batch(
    args: &SendArgs,
    target: &TargetId,
    door: &Door,
    lines: &[Vec<u8>],
    progress: &mut Progress,
) -> Result<(), Failure> {
    let headers = headers(args)?;
    let mut body = Vec::new();
    for line in lines {
        let data = str::from_utf8(line).ok();
        let line = Line {
            target: target.as_str(),
            data,
            data_base64: data.is_none().then(|| BASE64_STANDARD.encode(line)),
            content_type: args.content_type.as_deref(),
            headers: &headers,
            ttl: args.ttl.map(duration_in_words),
        };
        serde_json::to_writer(&mut body, &line)
            .map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        body.push(b'\n');
    }
    let request = Request::builder().method(Method::POST).uri("/v1/packets");
    let request = request.header("host", "paquebot").header("content-type", "application/x-ndjson");
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request.map_err(Failure::of(Code::Internal, "the request"))?;
    let before = progress.stored + progress.refused;
    let answer = door.ask(request, args.timeout.saturating_add(MARGIN)).map_err(|failure| {
        let from = before + 1;
        Failure::new(failure.code, format!("{} (from line {from} on)", failure.message))
    })?;
    if !answer.status.is_success() {
        return Err(progress.stopped(problem(door, answer.status.as_u16(), &answer.body)));
    }
    let mut ids = String::new();
    let mut stopped = None;
    for answer in answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let told: Value = serde_json::from_slice(answer).unwrap_or_default();
        let Some(status) = told.get("status").and_then(Value::as_u64) else {
            // An event that `when` does not want has no id.
            ids.push_str(told.get("id").and_then(Value::as_str).unwrap_or("-"));
            ids.push('\n');
            progress.stored += 1;
            continue;
        };
        let failure = problem(door, u16::try_from(status).unwrap_or_default(), answer);
        if failure.code == Code::TryLater {
            stopped = Some(failure);
            break;
        }
        progress.refused += 1;
        if progress.refused <= SHOWN_MAX {
            let at = progress.stored + progress.refused;
            remark(&format!("line {at}: {}", failure.message));
        }
    }
    say(&ids)?;
    stopped.map_or(Ok(()), |failure| Err(progress.stopped(failure)))
}

impl Progress {
    /// Tells a terminal.
    fn tell(&mut self, is_over: bool) {
        let now = clock::instant();
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        let mut err = std::io::stderr();
        // Ids that are shown on the terminal tell as much.
        if !err.is_terminal() || std::io::stdout().is_terminal() || !(is_due || is_over) {
            return;
        }
        self.told = Some(now);
        let end = if is_over { "\n" } else { "" };
        // It is of no use to anybody who cannot see it.
        let _ = write!(err, "\r{} lines stored{end}", self.stored);
    }

    /// The failure that ends it, with where to go on.
    fn stopped(&self, Failure { code, message }: Failure) -> Failure {
        let (stored, next) = (self.stored, self.stored + self.refused + 1);
        let message = format!("{message}\n{stored} lines were stored; go on from line {next}");
        Failure::new(code, message)
    }
}
