//! A round: the letters of a page on their way to their handlers.
//!
//! It keeps in mind which clients and targets have failed, over all pages, within bounds: when a
//! handler fails one after another, the rest of its letters are left alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use futures_util::stream::{self, StreamExt};
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{Chain, ClientId, Number, Origin as Born, Run, TargetId};
use paquebot_store::{Fence, LedgerError, ListedLetter, Mark, StillDead, Tried};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::tally::Replayed;
use super::{Letters, ReplayPorts};
use crate::attempt::{Attempt, Ended, Origin, Outcome};
use crate::clock;
use crate::handler::DeadLetterUnknown;
use crate::router::Route;

/// Clients and targets that are tried at once.
const AT_ONCE: usize = 16;

/// What goes to a handler in one piece, at most: enough that `file` writes thousands a second, and few
/// enough that a replay which nobody waits for any more ends soon with a handler that takes its time.
const LETTERS_MAX: usize = 32;
const BYTES_MAX: u64 = 256 * 1024;

/// So many clients and targets that fail one after another, and their handler is left alone.
const FAILURES_MAX: u32 = 16;

/// So many that have failed are kept in mind; with more, the rest is left alone.
const STOPPED_MAX: usize = 10_000;

/// Whose letters are tried one after another.
type Sender = (ClientId, TargetId);

/// The round.
pub(super) struct Round {
    ports: Rc<ReplayPorts>,
    ended: Box<dyn Fn() -> bool>,
    minds: RefCell<Minds>,
}

/// What it keeps in mind.
#[derive(Default)]
struct Minds {
    tally: Replayed,
    stopped: HashSet<Sender>,
    /// Failures of each handler since it last handled anything.
    failures: HashMap<Option<usize>, u32>,
}

impl Round {
    pub(super) fn new(ports: Rc<ReplayPorts>, ended: Box<dyn Fn() -> bool>) -> Self {
        Self { ports, ended, minds: RefCell::default() }
    }

    /// Tries these letters, and waits for what comes of it.
    pub(super) async fn take(&self, letters: Vec<ListedLetter>) {
        let mut of: BTreeMap<Sender, Letters> = BTreeMap::new();
        for letter in letters {
            let sender = (letter.letter.client.clone(), letter.letter.target.clone());
            of.entry(sender).or_default().push_back(letter);
        }
        let tries = of.into_iter().map(|(sender, letters)| self.try_in_order(sender, letters));
        stream::iter(tries).for_each_concurrent(AT_ONCE, |tried| tried).await;
    }

    pub(super) fn has_ended(&self) -> bool {
        (self.ended)()
    }

    pub(super) fn store(&self) -> &paquebot_store::Ledger {
        &self.ports.store
    }

    pub(super) fn tally(&self) -> Replayed {
        self.minds.borrow().tally.clone()
    }

    async fn try_in_order(&self, sender: Sender, mut letters: Letters) {
        let handler = self.ports.table.find(&sender.1);
        while !letters.is_empty() {
            let stopped = {
                let minds = self.minds.borrow();
                let failures = minds.failures.get(&handler).copied().unwrap_or(0);
                let full = minds.stopped.len() >= STOPPED_MAX;
                full || failures >= FAILURES_MAX || minds.stopped.contains(&sender)
            };
            if stopped || self.has_ended() {
                self.minds.borrow_mut().tally.left += letters.len() as u64;
                return;
            }
            let piece = piece(&mut letters);
            let failed = self.attempt(handler, &piece).await;
            let mut minds = self.minds.borrow_mut();
            if failed {
                minds.stopped.insert(sender.clone());
                *minds.failures.entry(handler).or_default() += 1;
            } else {
                minds.failures.remove(&handler);
            }
        }
    }

    /// One attempt at some letters of one lane; says whether it failed.
    async fn attempt(&self, handler: Option<usize>, letters: &[ListedLetter]) -> bool {
        let (ear, mut heard) = Ear::open();
        let Some(attempt) = attempt(letters, ear) else {
            self.minds.borrow_mut().tally.left += letters.len() as u64;
            return false;
        };
        let last = attempt.mark.through;
        self.ports.route.do_send(Route(attempt));
        let mut rest = letters;
        while let Some(ended) = heard.recv().await {
            match ended {
                Ended::Settled { through, dead } => {
                    let (done, after) =
                        rest.split_at(rest.partition_point(|letter| letter.key.number <= through));
                    rest = after;
                    self.settled(done, &dead);
                    if through == last {
                        return false;
                    }
                }
                Ended::Failed { reason, tried, .. } => {
                    self.failed(handler, rest, &reason, tried).await;
                    return true;
                }
            }
        }
        self.failed(handler, rest, "the handler is gone", false).await;
        true
    }

    fn settled(&self, done: &[ListedLetter], dead: &BTreeMap<String, Vec<Number>>) {
        let tally = &mut self.minds.borrow_mut().tally;
        for listed in done {
            let number = listed.key.number;
            match dead.iter().find(|(_, numbers)| numbers.contains(&number)) {
                Some((reason, _)) => {
                    tally.rejected += 1;
                    tally.problem(listed.letter.id, reason);
                }
                None => tally.handled += 1,
            }
        }
    }

    /// The first of them was not handled, and the others not tried.
    async fn failed(
        &self,
        handler: Option<usize>,
        letters: &[ListedLetter],
        reason: &str,
        tried: bool,
    ) {
        let Some(first) = letters.first() else { return };
        {
            let tally = &mut self.minds.borrow_mut().tally;
            tally.failed += u64::from(tried);
            tally.left += letters.len() as u64 - u64::from(tried);
            tally.problem(first.letter.id, reason);
        }
        if !tried {
            return;
        }
        let name = handler.and_then(|at| self.ports.names.get(at)).map(String::as_str);
        let still = StillDead {
            key: first.key,
            handler: name.unwrap_or(DeadLetterUnknown::NAME).to_owned(),
            reason: reason.to_owned(),
            attempts: first.letter.attempts.saturating_add(1),
            last_attempt_ms: clock::wall_ms(),
        };
        let (answer, answered) = oneshot::channel::<Result<u64, LedgerError>>();
        self.store().still_dead(vec![still], Box::new(move |done| drop(answer.send(done))));
        if let Ok(Err(error)) = answered.await {
            tracing::warn!(id = %first.letter.id, %error,
                "that a dead letter was tried again in vain could not be written down");
        }
    }
}

/// The next letters of one lane, with rising numbers.
fn piece(letters: &mut Letters) -> Vec<ListedLetter> {
    let mut piece: Vec<ListedLetter> = Vec::new();
    let mut bytes = 0;
    while let Some(next) = letters.front() {
        bytes += next.size;
        let goes_on = piece.last().is_none_or(|last| {
            let same = (last.key.session, last.key.lane) == (next.key.session, next.key.lane);
            same && last.key.number < next.key.number
        });
        if !piece.is_empty() && (!goes_on || bytes > BYTES_MAX || piece.len() >= LETTERS_MAX) {
            break;
        }
        piece.extend(letters.pop_front());
    }
    piece
}

fn attempt(letters: &[ListedLetter], outcome: actix::Recipient<Outcome>) -> Option<Attempt> {
    let (first, last) = (letters.first()?, letters.last()?);
    let tried = |listed: &ListedLetter| {
        let (number, letter) = (listed.key.number, &listed.letter);
        let (attempts, first_attempt_ms) = (letter.attempts, letter.first_attempt_ms);
        let last_attempt_ms = letter.last_attempt_ms;
        (number, Tried { number, attempts, first_attempt_ms, last_attempt_ms })
    };
    Some(Attempt {
        target: first.letter.target.clone(),
        mark: Mark {
            // It moves no cursor: of the fence only the spool is looked at.
            fence: Fence { spool: first.key.session, opened: 0, nonce: 0 },
            lane: first.key.lane,
            from: first.key.number.before(),
            through: last.key.number,
            chain: Chain::default(),
            handled: letters.len() as u64,
            skipped: 0,
        },
        runs: letters.iter().map(run).collect::<Option<_>>()?,
        permit: Vec::new(),
        tried: None,
        replay: Some(Arc::new(letters.iter().map(tried).collect())),
        origin: Origin { session: SessionId(0), outcome, client: first.letter.client.clone() },
    })
}

/// A letter's packet, as a run of its own.
fn run(listed: &ListedLetter) -> Option<Run> {
    let (letter, number) = (&listed.letter, listed.key.number);
    let born = Born { spool: letter.id.spool, nonce: 0 };
    let mut builder = RunBuilder::new(born, number, Chain::default(), letter.record.len() + 8);
    builder.push_record(&letter.record);
    builder.finish()
}

/// Hears what becomes of one attempt.
struct Ear(UnboundedSender<Ended>);

impl Ear {
    fn open() -> (actix::Recipient<Outcome>, UnboundedReceiver<Ended>) {
        let (tell, heard) = unbounded_channel();
        (Self(tell).start().recipient(), heard)
    }
}

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<Outcome> for Ear {
    type Result = ();

    fn handle(&mut self, outcome: Outcome, _: &mut Self::Context) {
        // Whoever listened may have heard enough.
        drop(self.0.send(outcome.ended));
    }
}
