//! `mode = "packet"`: the program is started for each packet, and answers with how it ends.

use std::cell::RefCell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

use super::group::{Group, Pipes};
use super::said::hear_lines;
use super::{
    CONTENT_TYPE, CommandLine, HEADER_VARIABLE, LAST_WORDS, LINE_BYTES_MAX, TRACE_CONTEXT, command,
    not_started,
};
use crate::clock;
use crate::handler::asking::parcel::{Answer, Parcel, in_plain};

/// Exit codes by which a program says what became of its packet; any other means: not handled.
const HANDLED: i32 = 0;
const REJECTED: i32 = 65;

/// The program.
#[derive(Debug)]
pub(in crate::handler::asking) struct Program {
    name: Arc<str>,
    line: CommandLine,
    timeout: Duration,
}

impl Program {
    pub(in crate::handler::asking) fn new(
        name: Arc<str>,
        line: CommandLine,
        timeout: Duration,
    ) -> Self {
        Self { name, line, timeout }
    }

    /// Starts it with a packet, and waits for its end, for the time-out at most.
    pub(in crate::handler::asking) async fn run(&self, parcel: &Parcel<'_>) -> Answer {
        let mut command = command(&self.line);
        if let Err(why) = tell_facts(&mut command, parcel) {
            // It will be so at every attempt.
            return Answer::Rejected(why);
        }
        let (mut group, pipes) = match Group::start(&mut command) {
            Ok(started) => started,
            Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {
                return Answer::Rejected(format!("its headers are too long: {error}"));
            }
            Err(error) => return Answer::failed(not_started(&self.line, &error)),
        };
        let Pipes { input, output, errors } = pipes;
        let last = RefCell::new(Vec::new());
        let said = |stream: &'static str, line: &[u8]| {
            let (id, line) = (parcel.id, String::from_utf8_lossy(line));
            tracing::debug!(handler = %self.name, packet = %id, stream, %line, "the program says");
        };
        let talk = async {
            tokio::join!(
                feed(input, parcel.data.clone()),
                hear_lines(output, LINE_BYTES_MAX, |line, _| said("output", line)),
                hear_lines(errors, LINE_BYTES_MAX, |line, _| {
                    said("error", line);
                    if !line.trim_ascii().is_empty() {
                        last.replace(line.to_vec());
                    }
                }),
            );
        };
        tokio::pin!(talk);
        let ended = {
            let mut talked = false;
            let ended = async {
                loop {
                    tokio::select! {
                        ended = group.wait(&[HANDLED, REJECTED]) => break ended,
                        () = &mut talk, if !talked => talked = true,
                    }
                }
            };
            let ended = tokio::time::timeout(self.timeout, ended).await;
            if !talked && ended.is_ok() {
                // Whoever holds its output open is not waited for.
                drop(tokio::time::timeout(LAST_WORDS, &mut talk).await);
            }
            ended
        };
        let last = in_plain(&last.borrow());
        let answer = match ended {
            Ok(Ok(status)) => judge(status, &last),
            Ok(Err(error)) => Answer::failed(format!("its end was not noticed: {error}")),
            Err(_elapsed) => {
                group.kill().await;
                let time = self.timeout.as_millis();
                Answer::failed(with(format!("not done within {time} ms, and killed"), &last))
            }
        };
        if let Answer::Failed(failure) = &answer {
            tracing::debug!(handler = %self.name, packet = %parcel.id, why = failure.why,
                "the program has not handled the packet");
        }
        answer
    }
}

/// Gives it the data. A child that does not read them is fine.
async fn feed(input: Option<ChildStdin>, data: Bytes) {
    if let Some(mut input) = input {
        drop(input.write_all(&data).await);
    }
}

fn judge(status: ExitStatus, last: &str) -> Answer {
    match (status.code(), status.signal()) {
        (Some(HANDLED), _) => Answer::Handled,
        (Some(REJECTED), _) if last.is_empty() => Answer::Rejected("exit code 65".to_owned()),
        (Some(REJECTED), _) => Answer::Rejected(last.to_owned()),
        _ => Answer::failed(with(told_end(status), last)),
    }
}

/// How a child ended, for people.
pub(super) fn told_end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

/// What happened, with its last words.
pub(super) fn with(what: String, last: &str) -> String {
    if last.is_empty() { what } else { format!("{what}: {last}") }
}

/// # Errors
/// When something about the packet cannot be said in an environment.
fn tell_facts(command: &mut Command, parcel: &Parcel<'_>) -> Result<(), String> {
    let Parcel { id, client, target, packet, attempt, .. } = parcel;
    let mut say = |name: &str, text: &str| {
        if text.contains('\0') {
            return Err(format!("{name} cannot be said in an environment: it has a zero byte"));
        }
        command.env(name, text);
        Ok(())
    };
    say("PAQUEBOT_PACKET_ID", &id.to_string())?;
    say("PAQUEBOT_CLIENT", client.as_str())?;
    say("PAQUEBOT_TARGET", target.as_str())?;
    say("PAQUEBOT_NUMBER", &id.number.to_string())?;
    say("PAQUEBOT_CREATED", &clock::rfc3339(packet.created_ms))?;
    say("PAQUEBOT_ATTEMPT", &attempt.to_string())?;
    for (name, text) in &packet.meta.headers {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = name.chars().map(plain).collect();
        say(&format!("{HEADER_VARIABLE}{name}"), text)?;
    }
    for (name, text) in
        [(CONTENT_TYPE, packet.meta.content_type), (TRACE_CONTEXT, packet.meta.traceparent)]
    {
        text.map_or(Ok(()), |text| say(name, text))?;
    }
    Ok(())
}
