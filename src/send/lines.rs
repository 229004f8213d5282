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
use serde::Serialize;
use serde_json::Value;

use super::input::Input;
use super::tries::{Tries, passes};
use super::{Sending, problem};
use crate::config::duration_in_words;
use crate::exit::{Code, Failure};
use crate::print::{remark, say};

/// Lines of one request, and about their bytes; a source takes more.
const LINES_MAX: usize = 1_000;
const BYTES_MAX: usize = 1024 * 1024;

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
    idempotency_key: String,
}

/// How far it is.
struct Progress {
    /// The line that is next, from 1.
    next: u64,
    stored: u64,
    filtered: u64,
    refused: u64,
    told: Option<Instant>,
}

/// Hands over every line.
pub(super) fn send(sending: &Sending<'_>, input: Input) -> Result<(), Failure> {
    let lines = read(input);
    let next = sending.args.from_line;
    let mut progress = Progress { next, stored: 0, filtered: 0, refused: 0, told: None };
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
        sending
            .batch(&batch, &mut progress)
            .map_err(|failure| progress.stopped(sending, failure))?;
        progress.tell(false);
    }
    progress.tell(true);
    if let Some(failure) = unreadable {
        return Err(failure);
    }
    let Progress { stored, filtered, refused, .. } = progress;
    if filtered > 0 {
        remark(&format!(
            "filtered: {filtered} lines that the source does not want; {stored} were stored"
        ));
    }
    if refused > 0 {
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

impl Sending<'_> {
    /// Hands over some lines; those that came to nothing for a moment are tried again.
    fn batch(&self, lines: &[Vec<u8>], progress: &mut Progress) -> Result<(), Failure> {
        let mut tries = Tries::new(&self.door, self.args.timeout, false);
        let mut rest = lines;
        while !rest.is_empty() {
            let body = self.body(rest, progress.next)?;
            let answer = tries.ask(|timeout| {
                let path = format!("/v1/packets?timeout={timeout}");
                let request = Request::builder().method(Method::POST).uri(path);
                let request = request.header("host", "paquebot");
                let request = request.header("content-type", "application/x-ndjson");
                let request = request.body(Full::new(body.clone()));
                request.map_err(Failure::of(Code::Internal, "the request"))
            })?;
            if !answer.status.is_success() {
                let body = serde_json::from_slice(&answer.body).unwrap_or_default();
                return Err(problem(&self.door, answer.status.as_u16(), &body));
            }
            let (taken, stopped) = self.take(&answer.body, progress)?;
            rest = rest.get(taken..).unwrap_or_default();
            match stopped {
                Some((failure, passes)) if !passes || !tries.pause() => return Err(failure),
                None if !rest.is_empty() => {
                    let message = format!("{}: an answer for each line, found fewer", self.door);
                    return Err(Failure::new(Code::Internal, message));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the answers up to the first line that may be tried again: how many these were, and why the
    /// next was not taken, and whether that passes.
    fn take(
        &self,
        answers: &[u8],
        progress: &mut Progress,
    ) -> Result<(usize, Option<(Failure, bool)>), Failure> {
        let (mut printed, mut taken, mut stopped) = (String::new(), 0, None);
        for answer in answers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let told: Value = serde_json::from_slice(answer).unwrap_or_default();
            match told.get("status").and_then(Value::as_u64) {
                Some(status) => {
                    let status = u16::try_from(status).unwrap_or_default();
                    let failure = problem(&self.door, status, &told);
                    if failure.code == Code::TryLater {
                        stopped = Some((failure, passes(&told)));
                        break;
                    }
                    progress.refused += 1;
                    if progress.refused <= SHOWN_MAX {
                        remark(&format!("line {}: {}", progress.next, failure.message));
                    }
                }
                None => {
                    self.print(&told, &mut printed);
                    match told.get("state").and_then(Value::as_str) {
                        Some("filtered") => progress.filtered += 1,
                        _ => progress.stored += 1,
                    }
                }
            }
            progress.next += 1;
            taken += 1;
        }
        say(&printed)?;
        Ok((taken, stopped))
    }

    /// Lines as the source takes them.
    fn body(&self, lines: &[Vec<u8>], first: u64) -> Result<Bytes, Failure> {
        let mut body = Vec::new();
        for (number, line) in (first..).zip(lines) {
            let data = str::from_utf8(line).ok();
            let line = Line {
                target: self.target.as_str(),
                data,
                data_base64: data.is_none().then(|| BASE64_STANDARD.encode(line)),
                content_type: self.args.content_type.as_deref(),
                headers: &self.headers,
                ttl: self.args.ttl.map(duration_in_words),
                idempotency_key: self.key_of(number),
            };
            serde_json::to_writer(&mut body, &line)
                .map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
            body.push(b'\n');
        }
        Ok(body.into())
    }
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
    fn stopped(&self, sending: &Sending<'_>, Failure { code, message }: Failure) -> Failure {
        let Self { stored, next, .. } = *self;
        let again = sending.from(next);
        let message = format!(
            "{message}\n{stored} lines were stored; go on from line {next} with {again}: what is stored \
             already is not stored again"
        );
        Failure::new(code, message)
    }
}
