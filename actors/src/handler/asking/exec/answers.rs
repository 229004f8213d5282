//! `mode = "lines"`: which packets are open with the program, and what its lines answer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use paquebot_protocol::Millis;
use serde::Deserialize;
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::handler::asking::parcel::{Answer, in_plain};

/// A line that is no answer is logged this often at most.
const LOG_EVERY: Millis = Millis(10_000);

/// The packets that a program has been given and has not answered.
#[derive(Debug, Default)]
pub(super) struct Open {
    waiting: RefCell<HashMap<String, oneshot::Sender<Answer>>>,
    /// Whether it has answered anything yet.
    answered: Cell<bool>,
    emptied: Notify,
    /// Lines that were no answers: since the last one that was logged, and when that was.
    strange: Cell<(u64, Option<Millis>)>,
}

/// A line of the program's.
#[derive(Debug, Deserialize)]
struct Line {
    id: String,
    outcome: Outcome,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Handled,
    Retry,
    Rejected,
}

impl Open {
    /// A packet is given to the program; nothing when one with this id is open already.
    pub(super) fn add(&self, id: String) -> Option<oneshot::Receiver<Answer>> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.contains_key(&id) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        waiting.insert(id, answer);
        Some(answered)
    }

    /// The program says a line.
    pub(super) fn hear(&self, handler: &str, line: &[u8], whole: bool) {
        let said = if whole { serde_json::from_slice::<Line>(line).ok() } else { None };
        let Some(Line { id, outcome, reason }) = said else {
            return self.strange(handler, line, "the program says a line that is no answer");
        };
        let Some(waiting) = self.waiting.borrow_mut().remove(&id) else {
            return self.strange(
                handler,
                line,
                "the program answers for a packet that is not open",
            );
        };
        self.answered.set(true);
        let reason = in_plain(reason.unwrap_or_default().as_bytes());
        let why = |otherwise: &str| match reason.is_empty() {
            true => otherwise.to_owned(),
            false => reason.clone(),
        };
        // Nobody waits any more when the handler stops.
        drop(waiting.send(match outcome {
            Outcome::Handled => Answer::Handled,
            Outcome::Retry => Answer::failed(why("the program wants it again")),
            Outcome::Rejected => Answer::Rejected(why("the program rejects it")),
        }));
        if self.waiting.borrow().is_empty() {
            self.emptied.notify_one();
        }
    }

    /// The program is gone: whoever waits for it learns so.
    pub(super) fn give_up(&self) {
        self.waiting.borrow_mut().clear();
        self.emptied.notify_one();
    }

    /// Nobody waits for this packet any more.
    pub(super) fn forget(&self, id: &str) {
        self.waiting.borrow_mut().remove(id);
    }

    /// Waits until the program has answered for every packet.
    pub(super) async fn none(&self) {
        while !self.waiting.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }

    /// Whether the program has answered for any packet yet.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.get()
    }

    fn strange(&self, handler: &str, line: &[u8], what: &str) {
        let ((unsaid, said), now) = (self.strange.get(), clock::now());
        if said.is_some_and(|said| now.since(said) < LOG_EVERY) {
            return self.strange.set((unsaid + 1, said));
        }
        let line = in_plain(line);
        tracing::warn!(handler, line, unsaid, "{what}; it is ignored");
        self.strange.set((0, Some(now)));
    }
}
