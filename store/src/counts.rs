//! Counts that go on over restarts, and are written with commits that happen anyway.
//!
//! A count has two values: what was counted, and what of it is kept, that is, durable. What observers are
//! shown is what is kept, so that no crash makes a count go back: for whoever makes rates of it, that
//! would be a new beginning at nothing, and all that was ever counted a sudden rush. So counting costs
//! an addition in memory; a crash costs what nobody was shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// How often counts ride on a commit at most.
const RIDE_EVERY: Duration = Duration::from_secs(1);

/// For how long they may wait for one; then they have one of their own.
const OWN_AFTER: Duration = Duration::from_secs(5);

/// All counts of a store, by name. Whoever names them bounds how many there are.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<String, Count>>>);

/// One of them: cheap to clone, and to add to.
#[derive(Debug, Clone)]
pub struct Count(Arc<Cell>);

#[derive(Debug)]
struct Cell {
    name: String,
    counted: AtomicU64,
    kept: AtomicU64,
}

impl Counts {
    /// The count of this name, which begins where the store's files say.
    #[must_use]
    pub fn of(&self, name: &str) -> Count {
        if let Some(count) = self.table().get(name) {
            return count.clone();
        }
        let (counted, kept) = (AtomicU64::new(0), AtomicU64::new(0));
        let count = Count(Arc::new(Cell { name: name.to_owned(), counted, kept }));
        self.table().entry(name.to_owned()).or_insert(count).clone()
    }

    /// Every count with what is kept of it, by name.
    #[must_use]
    pub fn kept(&self) -> Vec<(String, u64)> {
        self.table().iter().map(|(name, count)| (name.clone(), count.kept())).collect()
    }

    /// The store's files say that this much is kept.
    pub(crate) fn take_up(&self, name: &str, kept: u64) {
        let count = self.of(name);
        count.0.counted.store(kept, Ordering::Relaxed);
        count.0.kept.store(kept, Ordering::Relaxed);
    }

    /// Those of which not all is kept, each with what was counted.
    pub(crate) fn changes(&self) -> Vec<(Count, u64)> {
        let table = self.table();
        let behind = table.values().filter(|count| count.counted() != count.kept());
        behind.map(|count| (count.clone(), count.counted())).collect()
    }

    /// Whether there are any of which not all is kept.
    pub(crate) fn are_behind(&self) -> bool {
        self.table().values().any(|count| count.counted() != count.kept())
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.counted.fetch_add(more, Ordering::Relaxed);
    }

    /// How much of it is durable.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.0.kept.load(Ordering::Relaxed)
    }

    pub(crate) fn counted(&self) -> u64 {
        self.0.counted.load(Ordering::Relaxed)
    }

    /// So much of it is durable now.
    pub(crate) fn keep(&self, value: u64) {
        self.0.kept.store(value, Ordering::Relaxed);
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

/// When counts are to be written.
#[derive(Debug)]
pub(crate) struct Rides {
    last: Option<Instant>,
}

impl Rides {
    pub(crate) fn new() -> Self {
        Self { last: None }
    }

    /// Whether they ride on the commit that is made now.
    pub(crate) fn are_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= RIDE_EVERY)
    }

    /// Whether they have waited for a commit long enough.
    pub(crate) fn are_overdue(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= OWN_AFTER)
    }

    /// They are written.
    pub(crate) fn done(&mut self) {
        self.last = Some(clock::now());
    }
}
