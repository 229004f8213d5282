//! The thread that writes: takes all that waits as one group, and carries it through the steps.
//!
//! It decides what a failure means. What concerns one lane (a newer session has taken over) is
//! that lane's; what concerns the file pauses every lane that came with the group, and shows the
//! handler as failing; what leaves the outcome unknown closes the file, to be opened again.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use actix::Recipient;
use paquebot_protocol::Millis;
use paquebot_protocol::backoff::Backoff;
use paquebot_store::{DeadLetter, FileId, FileState, RecordError};

use super::STOPPED_PAUSE_MS;
use super::opening;
use super::output::Output;
use super::place::{FileError, Place, failed};
use super::rotated::Background;
use crate::attempt::Attempt;
use crate::clock;
use crate::handler::HandlerMeters;
use crate::ledger::{Record, Recorded, Unrecorded};
use crate::link::random;

/// Bytes of packets that are written under one sync.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long nobody looks whether a file is old enough to be rotated: the wall clock may jump.
const LOOK_AFTER_MAX: Duration = Duration::from_mins(1);

/// How long until a marker that could not be written is tried again, when nothing comes.
const CONFIRM_AGAIN: Duration = Duration::from_millis(100);

/// What is recorded of the file.
type Written = (FileId, FileState);

/// The thread's state.
#[derive(Debug)]
pub(super) struct Scribe {
    name: Arc<str>,
    place: Arc<Place>,
    /// Nothing when the file has to be opened again.
    output: Option<Output>,
    /// Recorded, and not confirmed by the marker: not to be told yet.
    unconfirmed: Vec<Recorded>,
    waiting: Receiver<Attempt>,
    ledger: Recipient<Record>,
    meters: HandlerMeters,
    backoff: Backoff,
    rotated: bool,
}

impl Scribe {
    pub(super) fn new(
        name: Arc<str>,
        place: Arc<Place>,
        output: Output,
        waiting: Receiver<Attempt>,
        ledger: Recipient<Record>,
        meters: HandlerMeters,
        backoff: Backoff,
    ) -> Self {
        let (output, unconfirmed, rotated) = (Some(output), Vec::new(), false);
        Self { name, place, output, unconfirmed, waiting, ledger, meters, backoff, rotated }
    }

    pub(super) fn run(mut self, background: Option<Background>) {
        loop {
            match self.waiting.recv_timeout(self.patience()) {
                Ok(first) => {
                    let group = self.group(first);
                    self.handle(group);
                }
                Err(RecvTimeoutError::Timeout) => self.look_after(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if std::mem::take(&mut self.rotated)
                && let Some(background) = &background
            {
                background.wake();
            }
        }
        if !self.unconfirmed.is_empty() {
            self.look_after();
        }
        for recorded in self.unconfirmed {
            recorded.put_off(STOPPED_PAUSE_MS, "the handler stops");
        }
        if let Some(background) = background {
            background.end();
        }
    }

    /// All that waits, within bounds.
    fn group(&self, first: Attempt) -> Vec<Attempt> {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while bytes < GROUP_BYTES_MAX
            && let Ok(next) = self.waiting.try_recv()
        {
            bytes += next.bytes();
            group.push(next);
        }
        group
    }

    /// How long to wait for packets before something else is to be done.
    fn patience(&self) -> Duration {
        if !self.unconfirmed.is_empty() {
            return CONFIRM_AGAIN;
        }
        let due = self.output.as_ref().and_then(Output::due_in);
        due.map_or(LOOK_AFTER_MAX, |due| due.min(LOOK_AFTER_MAX))
    }

    /// What there is to do when nothing comes.
    fn look_after(&mut self) {
        if !self.is_due() && self.unconfirmed.is_empty() {
            return;
        }
        let done =
            self.make_ready().and_then(|()| if self.is_due() { self.rotate() } else { Ok(()) });
        if let Err(error) = done {
            self.output = None;
            self.tell(&error.to_string());
        }
    }

    /// Handles attempts, as many at once as fit into one file.
    fn handle(&mut self, mut group: Vec<Attempt>) {
        let board = &self.meters.board;
        if board.is_paused() {
            for attempt in group {
                let (retry_after_ms, reason) = board.put_off(attempt.key());
                attempt.fail(retry_after_ms, reason);
            }
            return;
        }
        while !group.is_empty() {
            group = self.handle_first(group);
        }
    }

    /// Handles attempts under one sync and one record; when that fails because of one of them, each
    /// by itself, so that it touches no other (R5). Gives those that are for another file.
    fn handle_first(&mut self, mut group: Vec<Attempt>) -> Vec<Attempt> {
        let began = clock::instant();
        if let Err(error) = self.make_ready() {
            self.output = None;
            return self.fail(group, &error.to_string());
        }
        let (dead, written, rest) = match self.write(&mut group) {
            Ok(written) => written,
            Err(error) => {
                self.cut();
                return self.fail(group, &error.to_string());
            }
        };
        let packets: u64 = group.iter().map(Attempt::count).sum();
        let dead_letters = dead.len() as u64;
        let (answer, answered) = mpsc::channel::<Result<Recorded, Unrecorded>>();
        // The thread that waits for the answer below is this one.
        let reply = move |outcome| drop(answer.send(outcome));
        self.ledger.do_send(Record {
            handler: Arc::clone(&self.name),
            attempts: group,
            file: Some(written.clone()),
            dead,
            reply: Some(Box::new(reply)),
        });
        match answered.recv() {
            Ok(Ok(recorded)) => {
                let newly_dead = recorded.newly_dead();
                recorded.count_in(&self.meters.delivery());
                self.confirm(recorded, written.1);
                self.meters.handled.increment(packets - dead_letters);
                self.meters.dead_lettered.increment(newly_dead);
                self.meters.seconds.record(began.elapsed());
            }
            Ok(Err(Unrecorded { error, attempts })) => self.not_recorded(&error, attempts),
            Err(mpsc::RecvError) => self.output = None,
        }
        rest
    }

    /// Opens the file again when it has to be: because something is not known, or because somebody
    /// else was there.
    fn make_ready(&mut self) -> Result<(), FileError> {
        let path = &self.place.path;
        if let Some(output) = &self.output
            && !output.is_as_left().map_err(failed("looking at", path))?
        {
            tracing::warn!(handler = %self.name, file = %path.display(),
                "the file is not as it was left: someone else cut, extended, renamed or removed it");
            self.output = None;
        }
        if self.output.is_none() {
            self.output = Some(opening::open(&self.place)?);
            self.rotated = true;
        }
        for recorded in self.unconfirmed.drain(..) {
            recorded.settle();
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.output.as_ref().is_some_and(Output::is_due)
    }

    fn rotate(&mut self) -> Result<(), FileError> {
        if let Some(output) = self.output.take() {
            self.output = Some(output.rotate()?);
            self.rotated = true;
        }
        Ok(())
    }

    /// The steps up to the sync: gives the dead letters, what is to be recorded of the file, and
    /// the attempts that were too many for it.
    fn write(
        &mut self,
        group: &mut Vec<Attempt>,
    ) -> Result<(Vec<DeadLetter>, Written, Vec<Attempt>), FileError> {
        let (mut dead, mut taken) = (Vec::new(), 0);
        for attempt in group.iter_mut() {
            let unreadable = self.output.as_mut().and_then(|output| output.gather(attempt));
            let Some(unreadable) = unreadable else { break };
            taken += 1;
            attempt.mark.handled = attempt.count() - unreadable.len() as u64;
            let letter = |(id, record, why): (_, Vec<u8>, String)| {
                attempt.dead_letter(id, &record, &self.name, &why)
            };
            dead.extend(unreadable.into_iter().map(letter).collect::<Vec<DeadLetter>>());
        }
        if self.is_due() {
            self.rotate()?;
        }
        let Some(output) = &mut self.output else { return Err(FileError::LedgerStopped) };
        output.write().map_err(failed("writing", &self.place.path))?;
        Ok((dead, output.written(), group.split_off(taken)))
    }

    /// Recorded: the marker says so, and then the sessions are told.
    fn confirm(&mut self, recorded: Recorded, state: FileState) {
        let confirmed = self.output.as_mut().map(|output| {
            output.recorded(state);
            output.confirm()
        });
        if let Some(Err(error)) = confirmed {
            self.output = None;
            self.unconfirmed.push(recorded);
            return self.tell(&format!("writing the marker failed: {error}"));
        }
        self.backoff.reset();
        self.meters.is_ok();
        recorded.settle();
    }

    fn not_recorded(&mut self, error: &RecordError, group: Vec<Attempt>) {
        if error.is_unknown() {
            // The ledger may know it after all, so nothing may be cut before it is asked.
            self.output = None;
            self.fail(group, &error.to_string());
            return;
        }
        self.cut();
        if group.len() > 1 {
            for attempt in group {
                self.handle(vec![attempt]);
            }
            return;
        }
        if !error.is_too_late() {
            self.fail(group, &error.to_string());
            return;
        }
        // A newer session has the lane: that is no fault of this handler.
        tracing::info!(handler = %self.name, why = %error, "an attempt came too late");
        Unrecorded { error: error.clone(), attempts: group }.fail();
    }

    /// None of them was handled; gives no attempts that were for another file.
    fn fail(&mut self, group: Vec<Attempt>, why: &str) -> Vec<Attempt> {
        let packets: u64 = group.iter().map(Attempt::count).sum();
        let wait: Millis = self.backoff.next(random());
        self.meters.is_failing(packets, why);
        self.tell(why);
        for attempt in group {
            attempt.fail_tried(wait.0, format!("handler {}: {why}", self.name));
        }
        Vec::new()
    }

    fn tell(&self, why: &str) {
        self.meters.is_failing(0, why);
        tracing::error!(handler = %self.name, file = %self.place.path.display(), why,
            "packets could not be written; they stay with their clients, which come again");
    }

    fn cut(&mut self) {
        if let Some(Err(error)) = self.output.as_mut().map(Output::cut) {
            self.output = None;
            tracing::error!(handler = %self.name, %error, "the file could not be cut back");
        }
    }
}
