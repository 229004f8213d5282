//! Asking the process, over and over, on a thread of its own, so that keys never wait for an answer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use paquebot_actors::clock;

use super::answer::Status;
use super::counters::Counters;
use crate::door::Door;
use crate::exit::{Code, Failure};

/// A process that lives answers at once; one that does not is shown as silent.
const ANSWER: Duration = Duration::from_secs(5);

/// What a process said.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// When.
    pub at: Instant,
    /// How it is.
    pub status: Status,
    /// What it has counted.
    pub counters: Counters,
}

/// Asks once.
///
/// # Errors
/// When no process is there, or its answer cannot be read.
pub(super) fn ask(door: &Door) -> Result<Answer, Failure> {
    let status = get(door, "/v1/status")?;
    let status = serde_json::from_slice(&status)
        .map_err(Failure::of(Code::Internal, "the answer cannot be read"))?;
    let metrics = get(door, "/metrics")?;
    let counters = Counters::read(&String::from_utf8_lossy(&metrics));
    Ok(Answer { at: clock::instant(), status, counters })
}

/// Asks once every so often, until nobody listens any more.
pub(super) fn keep_asking(door: Door, every: Duration) -> Receiver<Result<Answer, String>> {
    let (answers, receiver) = channel();
    std::thread::spawn(move || ask_on(&door, every, &answers));
    receiver
}

fn ask_on(door: &Door, every: Duration, answers: &Sender<Result<Answer, String>>) {
    // A slow answer makes the next question later; there are never two at once.
    loop {
        std::thread::sleep(every);
        let answer = ask(door).map_err(|failure| failure.message);
        if answers.send(answer).is_err() {
            return;
        }
    }
}

fn get(door: &Door, path: &str) -> Result<Bytes, Failure> {
    let answer = door.get(path, ANSWER)?;
    if !answer.status.is_success() {
        let message = format!("{door} answered {} to {path}", answer.status);
        return Err(Failure::new(Code::Unavailable, message));
    }
    Ok(answer.body)
}
