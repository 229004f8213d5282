//! Receipts: who waits to hear that packets have a final outcome at the server.
//!
//! A promise is made on the spool's thread and kept on the connection's; a packet may even be
//! settled before its promise is written down, which this sees. A restart forgets all promises: the
//! waiting application is gone with the process.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paquebot_protocol::{Lane, Number};
use paquebot_store::Reply;

/// How packets ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Those that became dead letters; all others were handled.
    pub dead: Vec<Number>,
}

/// Promises that have not been kept yet.
#[derive(Debug, Clone, Default)]
pub struct Receipts(Arc<Mutex<HashMap<Lane, Waiting>>>);

#[derive(Default)]
struct Waiting {
    settled_through: Number,
    /// Dead letters that a promise may still ask about.
    dead: BTreeSet<Number>,
    promises: VecDeque<Promise>,
}

struct Promise {
    first: Number,
    last: Number,
    reply: Reply<Handled>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} promises after {}", self.promises.len(), self.settled_through)
    }
}

impl Receipts {
    /// Calls `reply` once the `count` packets from `first` have their outcome.
    pub fn promise(&self, lane: Lane, first: Number, count: u64, reply: Reply<Handled>) {
        let last = Number(first.0.saturating_add(count).saturating_sub(1));
        let mut lanes = self.lanes();
        let waiting = lanes.entry(lane).or_default();
        waiting.promises.push_back(Promise { first, last, reply });
        let kept = waiting.kept();
        drop(lanes);
        keep(kept);
    }

    /// Everything up to `through` has an outcome; `dead` of it were not handled.
    pub fn settle(&self, lane: Lane, through: Number, dead: &[Number]) {
        let mut lanes = self.lanes();
        let waiting = lanes.entry(lane).or_default();
        waiting.settled_through = waiting.settled_through.max(through);
        waiting.dead.extend(dead);
        let kept = waiting.kept();
        if waiting.promises.is_empty() {
            waiting.dead.clear();
        }
        drop(lanes);
        keep(kept);
    }

    /// These packets can never be sent. Whoever waits hears so when what goes before them is settled.
    pub fn doom(&self, lane: Lane, numbers: RangeInclusive<Number>) {
        let mut lanes = self.lanes();
        let Some(waiting) = lanes.get_mut(&lane) else { return };
        let Waiting { dead, promises, .. } = waiting;
        for promise in promises.iter() {
            let first = promise.first.max(*numbers.start());
            let last = promise.last.min(*numbers.end());
            dead.extend((first.0..=last.0).map(Number));
        }
    }

    /// Everything in these lanes has its outcome, and nothing more comes.
    pub fn forget(&self, gone: &[Lane]) {
        let mut lanes = self.lanes();
        for lane in gone {
            // Whoever still waited would never hear: that cannot be, and costs a row if it is.
            if lanes.get(lane).is_some_and(|waiting| waiting.promises.is_empty()) {
                lanes.remove(lane);
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Lane, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn kept(&mut self) -> Vec<(Promise, Handled)> {
        let mut kept = Vec::new();
        while let Some(promise) =
            self.promises.pop_front_if(|next| next.last <= self.settled_through)
        {
            let dead = self.dead.range(promise.first..=promise.last).copied().collect();
            kept.push((promise, Handled { dead }));
        }
        kept
    }
}

/// Replies are called without the lock: they may make the next promise.
fn keep(kept: Vec<(Promise, Handled)>) {
    for (promise, handled) in kept {
        (promise.reply)(handled);
    }
}
