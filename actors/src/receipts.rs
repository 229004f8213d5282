//! Receipts: how packets ended, and who waits to hear it.
//!
//! A promise is made when packets are stored, or later by whoever repeats a request under their key; it
//! is kept on the connection's word. Packets may have ended before their promise is made, so the
//! receipts remember how, as far as that is known: everything was handled but the stretches that are
//! noted here. A restart forgets all promises (the waiting application is gone with the process), and
//! which packets of a lane were not handled, where some were not.
//!
//! "Handled" is said only of what the server has handled (R4): a packet that a tombstone has taken the
//! place of may have been handled before, and the server's count of what it skipped tells (R8).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Number};
use paquebot_store::{LaneState, Reply, Tombstone};
use tokio::sync::oneshot;

/// Stretches that are remembered over all lanes, some megabytes; further ones cost older ones of their
/// lane, of which it is not known any more how they ended.
const STRETCHES_MAX: usize = 65_536;

/// Promises of one lane among which nobody is looked for who is gone.
const PROMISES_MIN: usize = 64;

/// How a packet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its handler has taken it.
    Handled,
    /// It became a dead letter.
    DeadLettered,
    /// It will not be handled: this was in the way before it was sent.
    Skipped(SkipReason),
    /// It has ended, and it is not known how.
    Unknown,
}

/// How some packets ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Stretches that were not handled, in order, each from its first number to its last.
    others: Vec<(Number, Number, End)>,
}

impl Outcome {
    /// How one of them ended.
    #[must_use]
    pub fn of(&self, number: Number) -> End {
        let at = self.others.partition_point(|(_, last, _)| *last < number);
        let found = self.others.get(at).filter(|(first, ..)| *first <= number);
        found.map_or(End::Handled, |(_, _, end)| *end)
    }
}

/// Who is told.
pub enum Waiter {
    /// Somebody who may have gone away meanwhile.
    One(oneshot::Sender<Outcome>),
    /// Somebody who stays.
    Call(Reply<Outcome>),
}

impl Waiter {
    fn is_gone(&self) -> bool {
        matches!(self, Self::One(waiting) if waiting.is_closed())
    }

    fn tell(self, outcome: Outcome) {
        match self {
            // Whoever has gone away has no use for it.
            Self::One(waiting) => drop(waiting.send(outcome)),
            Self::Call(call) => call(outcome),
        }
    }
}

/// What is known of every lane.
#[derive(Debug, Clone, Default)]
pub struct Receipts(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    lanes: HashMap<Lane, LaneBook>,
    /// How many stretches all of them have.
    stretches: usize,
}

#[derive(Default)]
struct LaneBook {
    settled_through: Number,
    /// How many numbers the server had skipped by then.
    skipped: u64,
    /// Tombstones beyond it, by their last numbers: their first, and how they end if they are skipped.
    buried: BTreeMap<Number, (Number, End)>,
    /// What was not handled, by the last numbers of stretches.
    others: BTreeMap<Number, (Number, End)>,
    /// In the order of their last numbers.
    promises: VecDeque<Promise>,
    /// At how many of them those are looked for whose waiters are gone.
    look_at: usize,
}

struct Promise {
    first: Number,
    last: Number,
    waiter: Waiter,
}

impl std::fmt::Debug for LaneBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} promises after {}", self.promises.len(), self.settled_through)
    }
}

impl Receipts {
    /// What is known of the lanes of a spool that was just opened: which of their packets were not
    /// handled is known only where all were.
    pub fn begin(&self, lanes: &[LaneState]) {
        let mut book = self.book();
        for state in lanes {
            let lane = book.lanes.entry(state.lane).or_default();
            lane.settled_through = state.acked_through;
            lane.skipped = state.skipped;
            if state.totals.sum() > 0 && state.acked_through > Number::NONE {
                lane.others.insert(state.acked_through, (Number(1), End::Unknown));
                book.stretches += 1;
            }
        }
    }

    /// Tells `waiter` how the `count` packets from `first` ended, as soon as they have.
    pub fn promise(&self, lane: Lane, first: Number, count: u64, waiter: Waiter) {
        let last = Number(first.0.saturating_add(count).saturating_sub(1));
        let mut book = self.book();
        let lane = book.lanes.entry(lane).or_default();
        if last <= lane.settled_through {
            let outcome = lane.outcome(first, last);
            drop(book);
            return waiter.tell(outcome);
        }
        if lane.promises.len() >= lane.look_at.max(PROMISES_MIN) {
            lane.promises.retain(|promise| !promise.waiter.is_gone());
            lane.look_at = lane.promises.len().saturating_mul(2);
        }
        // Nearly always behind all others: what is asked for again is older.
        let at = lane.promises.partition_point(|promise| promise.last <= last);
        lane.promises.insert(at, Promise { first, last, waiter });
    }

    /// Tombstones were put in the place of packets.
    pub fn buried(&self, tombstones: &[(Lane, Tombstone)]) {
        let mut book = self.book();
        for (lane, Tombstone { first, last, reason, .. }) in tombstones {
            // The server never takes it: it counts among the dead letters.
            let refused = *reason == SkipReason::Refused;
            let end = if refused { End::DeadLettered } else { End::Skipped(*reason) };
            book.lanes.entry(*lane).or_default().buried.insert(*last, (*first, end));
        }
    }

    /// Everything up to `through` has an outcome; `dead` of it, in order, became dead letters, and
    /// `skipped` numbers of the lane were passed over by the server in all.
    pub fn settle(&self, lane: Lane, through: Number, dead: &[Number], skipped: u64) {
        let mut book = self.book();
        let Book { lanes, stretches } = &mut *book;
        let lane = lanes.entry(lane).or_default();
        let before = lane.others.len();
        lane.settle(through, dead, skipped);
        *stretches = (*stretches + lane.others.len()).saturating_sub(before);
        while *stretches > STRETCHES_MAX && lane.merge_oldest() {
            *stretches -= 1;
        }
        let kept = lane.kept();
        drop(book);
        // Without the lock: whoever is told may make the next promise.
        for (waiter, outcome) in kept {
            waiter.tell(outcome);
        }
    }

    /// Everything in these lanes has its outcome, and nothing more comes.
    pub fn forget(&self, gone: &[Lane]) {
        let mut book = self.book();
        for lane in gone {
            // Whoever still waited would never hear: that cannot be, and costs a row if it is.
            if book.lanes.get(lane).is_some_and(|lane| lane.promises.is_empty()) {
                let stretches = book.lanes.remove(lane).map_or(0, |lane| lane.others.len());
                book.stretches = book.stretches.saturating_sub(stretches);
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneBook {
    fn settle(&mut self, through: Number, dead: &[Number], skipped: u64) {
        let more = skipped.checked_sub(self.skipped);
        self.skipped = skipped;
        if through <= self.settled_through {
            return;
        }
        let first = self.settled_through.next();
        self.settled_through = through;
        let beyond = self.buried.split_off(&through.next());
        let buried = std::mem::replace(&mut self.buried, beyond);
        let buried = buried.into_iter().map(|(last, (from, end))| (from.max(first), last, end));
        let buried: Vec<_> = buried.filter(|(from, last, _)| from <= last).collect();
        let count: u64 = buried.iter().map(|(from, last, _)| last.since(*from) + 1).sum();
        if more.is_some_and(|more| more > count) {
            // Tombstones from before this process: which numbers they are is not known here.
            return self.note(first, through, End::Unknown);
        }
        let mut ends: Vec<_> = match more {
            // They were handled before their time was over, say.
            Some(0) => Vec::new(),
            Some(more) if more == count => buried,
            _ => buried.into_iter().map(|(from, last, _)| (from, last, End::Unknown)).collect(),
        };
        let is_new = |at: &Number| {
            *at >= first && !ends.iter().any(|(from, last, _)| (*from..=*last).contains(at))
        };
        let dead: Vec<_> = dead.iter().copied().filter(is_new).collect();
        ends.extend(dead.into_iter().map(|at| (at, at, End::DeadLettered)));
        ends.sort_by_key(|(from, ..)| *from);
        for (from, last, end) in ends {
            self.note(from, last, end);
        }
    }

    /// Stretches are noted in order.
    fn note(&mut self, first: Number, last: Number, end: End) {
        let newest = self.others.last_key_value().map(|(last, stretch)| (*last, *stretch));
        let joined = match newest {
            Some((before, (from, of))) if before.next() == first && of == end => {
                self.others.remove(&before);
                from
            }
            _ => first,
        };
        self.others.insert(last, (joined, end));
    }

    /// Makes one of the two oldest stretches and what is between; whether there were two.
    fn merge_oldest(&mut self) -> bool {
        if self.others.len() < 2 {
            return false;
        }
        let Some((_, (first, _))) = self.others.pop_first() else { return false };
        if let Some(mut second) = self.others.first_entry() {
            *second.get_mut() = (first, End::Unknown);
        }
        true
    }

    fn outcome(&self, first: Number, last: Number) -> Outcome {
        let others = self.others.range(first..).take_while(|(_, (from, _))| *from <= last);
        Outcome { others: others.map(|(last, (from, end))| (*from, *last, *end)).collect() }
    }

    fn kept(&mut self) -> Vec<(Waiter, Outcome)> {
        let mut kept = Vec::new();
        while let Some(promise) =
            self.promises.pop_front_if(|next| next.last <= self.settled_through)
        {
            kept.push((promise.waiter, self.outcome(promise.first, promise.last)));
        }
        kept
    }
}
