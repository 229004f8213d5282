//! `mode = "lines"`: one program goes on running, and is given a line for each packet.
//!
//! It is started with the first packet. When it ends, or leaves a packet without an answer for too
//! long, it is killed with its group; what was open is to be tried again, and so is the program, after
//! a back-off of its own that begins anew once it has answered something.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use paquebot_protocol::Millis;
use paquebot_protocol::backoff::Backoff;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{Notify, mpsc, watch};

use super::answers::Open;
use super::group::{Group, Pipes};
use super::program::{told_end, with};
use super::said::hear_lines;
use super::{CommandLine, LAST_WORDS, LINE_BYTES_MAX, command, not_started};
use crate::clock;
use crate::handler::asking::parcel::{Answer, Failure, GRACE, Parcel, in_plain};
use crate::handler::ndjson::Line;
use crate::link::random;

/// An answer is a line of at most this length: an id, a word and a reason.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The program, whether it runs or not.
#[derive(Debug)]
pub(in crate::handler::asking) struct Process {
    name: Arc<str>,
    line: CommandLine,
    timeout: Duration,
    stopping: watch::Receiver<bool>,
    life: Rc<Life>,
}

/// Whether it runs.
#[derive(Debug)]
struct Life {
    running: RefCell<Option<Rc<Running>>>,
    backoff: RefCell<Backoff>,
    /// Not to be started before this, and why it ended.
    rest: RefCell<Option<(Millis, String)>>,
    ended: Notify,
}

/// The program while it runs.
#[derive(Debug)]
struct Running {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    open: Open,
    /// Why it is to be killed.
    condemned: RefCell<Option<String>>,
    kill: Notify,
}

impl Process {
    pub(in crate::handler::asking) fn new(
        name: Arc<str>,
        line: CommandLine,
        timeout: Duration,
        (initial, max): (Millis, Millis),
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let life = Life {
            running: RefCell::new(None),
            backoff: RefCell::new(Backoff::new(initial, max)),
            rest: RefCell::new(None),
            ended: Notify::new(),
        };
        Self { name, line, timeout, stopping, life: Rc::new(life) }
    }

    /// Gives it a packet, and waits for its answer, for the time-out at most.
    pub(in crate::handler::asking) async fn ask(&self, parcel: &Parcel<'_>) -> Answer {
        let running = match self.running() {
            Ok(running) => running,
            Err(failure) => return Answer::Failed(failure),
        };
        let id = parcel.id.to_string();
        let Some(answer) = running.open.add(id.clone()) else {
            // Two spools that were born as one have packets of one id, and both may come (R7).
            return Answer::failed(format!("another packet {id} is with the program"));
        };
        let _asked = Asking { running: &running, id: &id };
        let mut line = Vec::with_capacity(parcel.data.len() + LINE_BYTES_MAX);
        Line::new(parcel.id, Some(parcel.client), parcel.target, &parcel.packet).write(&mut line);
        // When it is not taken, the answer is given up.
        drop(running.lines.send(line));
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_given_up)) => Answer::Failed(self.resting()),
            Err(_elapsed) => {
                let why =
                    format!("no answer for packet {id} within {} ms", self.timeout.as_millis());
                running.condemned.replace(Some(why.clone()));
                running.kill.notify_one();
                Answer::failed(why)
            }
        }
    }

    /// Waits until it has ended.
    pub(in crate::handler::asking) async fn ended(&self) {
        while self.life.running.borrow().is_some() {
            self.life.ended.notified().await;
        }
    }

    /// The program, started if need be.
    fn running(&self) -> Result<Rc<Running>, Failure> {
        if let Some(running) = &*self.life.running.borrow() {
            return Ok(Rc::clone(running));
        }
        let rested =
            self.life.rest.borrow().as_ref().is_none_or(|(until, _)| clock::now() >= *until);
        if !rested {
            return Err(self.resting());
        }
        let (group, pipes) = match Group::start(&mut command(&self.line)) {
            Ok(started) => started,
            Err(error) => {
                self.life.rests(not_started(&self.line, &error), false);
                return Err(self.resting());
            }
        };
        tracing::info!(handler = %self.name, program = %self.line.program.display(),
            "the program is started");
        let (lines, to_write) = mpsc::unbounded_channel();
        let running = Rc::new(Running {
            lines,
            open: Open::default(),
            condemned: RefCell::new(None),
            kill: Notify::new(),
        });
        self.life.running.replace(Some(Rc::clone(&running)));
        let keeper = Keeper {
            name: Arc::clone(&self.name),
            running: Rc::clone(&running),
            stopping: self.stopping.clone(),
        };
        let life = Rc::clone(&self.life);
        actix_rt::spawn(async move {
            let open = Rc::clone(&keeper.running);
            let why = keeper.keep(group, pipes, to_write).await;
            life.running.replace(None);
            life.rests(why, open.open.has_answered());
            open.open.give_up();
            life.ended.notify_one();
        });
        Ok(running)
    }

    /// Why it does not run, and when it is to be started again.
    fn resting(&self) -> Failure {
        let (until, why) = self.life.rest.borrow().clone().unwrap_or_default();
        let rest = until.since(clock::now());
        Failure { why, retry_after: (rest > Millis(0)).then(|| rest.into()) }
    }
}

impl Life {
    /// It does not run; when it has done something it may be started again soon.
    fn rests(&self, why: String, answered: bool) {
        let mut backoff = self.backoff.borrow_mut();
        if answered {
            backoff.reset();
        }
        let until = clock::now().after(backoff.next(random()));
        self.rest.replace(Some((until, why)));
    }
}

/// A packet that is with the program; dropped, nobody waits for its answer any more.
struct Asking<'a> {
    running: &'a Running,
    id: &'a str,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.running.open.forget(self.id);
    }
}

/// Who keeps the program while it runs.
struct Keeper {
    name: Arc<str>,
    running: Rc<Running>,
    stopping: watch::Receiver<bool>,
}

impl Keeper {
    /// Feeds it and hears it until it has ended; tells why.
    async fn keep(
        &self,
        mut group: Group,
        pipes: Pipes,
        lines: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> String {
        let Pipes { input, output, errors } = pipes;
        let last = RefCell::new(Vec::new());
        let (name, running) = (&self.name, &self.running);
        let talk = async {
            tokio::join!(
                self.feed(input, lines),
                hear_lines(output, ANSWER_BYTES_MAX, |line, whole| {
                    running.open.hear(name, line, whole);
                }),
                hear_lines(errors, LINE_BYTES_MAX, |line, _| {
                    let text = String::from_utf8_lossy(line);
                    tracing::debug!(handler = %name, line = %text, "the program says");
                    if !line.trim_ascii().is_empty() {
                        last.replace(line.to_vec());
                    }
                }),
            );
        };
        tokio::pin!(talk);
        let (mut talked, stopped) = (false, self.stopped());
        tokio::pin!(stopped);
        let ended = loop {
            tokio::select! {
                ended = group.wait(&[]) => break Some(ended),
                () = &mut talk, if !talked => talked = true,
                () = running.kill.notified() => break None,
                () = &mut stopped => break None,
            }
        };
        let Some(ended) = ended else {
            group.kill().await;
            let condemned = running.condemned.take();
            let why = condemned.unwrap_or_else(|| "the handler stops".to_owned());
            tracing::warn!(handler = %name, why, "the program is killed");
            return why;
        };
        if !talked {
            drop(tokio::time::timeout(LAST_WORDS, &mut talk).await);
        }
        let end = ended.map_or_else(|error| error.to_string(), told_end);
        let why = with(format!("the program has ended: {end}"), &in_plain(&last.borrow()));
        if *self.stopping.borrow() {
            tracing::info!(handler = %name, end, "the program has ended");
        } else {
            tracing::warn!(handler = %name, why, "it is started again with the next packet");
        }
        why
    }

    /// Writes the lines; its input is closed when the handler stops and all is answered.
    async fn feed(&self, input: Option<ChildStdin>, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
        let Some(mut input) = input else { return };
        let answered = self.answered();
        tokio::pin!(answered);
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                () = &mut answered => None,
            };
            let Some(line) = line else { return };
            // When it does not read any more, it ends or is killed; that is noticed elsewhere.
            if input.write_all(&line).await.is_err() {
                return;
            }
        }
    }

    /// The handler stops, and the program has answered for everything, or had its time.
    async fn answered(&self) {
        let mut stopping = self.stopping.clone();
        // The sender is the actor; when it is gone, so is everything.
        drop(stopping.wait_for(|stopping| *stopping).await);
        drop(tokio::time::timeout(GRACE, self.running.open.none()).await);
    }

    /// Its input was closed, and it had its time to end.
    async fn stopped(&self) {
        self.answered().await;
        tokio::time::sleep(GRACE).await;
    }
}
