//! What the spool's threads and its handles share: each part behind a lock of its own that is held
//! for moments, never over a commit or a read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paquebot_protocol::{Chain, Lane, Millis, Number};
use redb::Database;

use super::age::{ClockRow, SpoolClock};
use super::catalog::Catalog;
use super::counted;
use super::facts::{LaneState, SpoolStatus};
use super::letters::is_own;
use super::positions::Positions;
use super::release::Loaded;
use super::tombstone::Tombstones;
use crate::counts::Counts;

/// What is shared.
#[derive(Debug)]
pub(super) struct Shared {
    files: Mutex<Files>,
    lanes: Mutex<BTreeMap<Lane, KnownLane>>,
    status: Mutex<SpoolStatus>,
    loaded: Mutex<Option<Loaded>>,
    clock: Mutex<SpoolClock>,
    positions: Mutex<Positions>,
    /// What is counted here, and goes on over restarts.
    pub(super) counts: Counts,
}

/// A lane as of the last commit.
#[derive(Debug)]
pub(super) struct KnownLane {
    pub(super) state: LaneState,
    /// At `next - 1`.
    pub(super) chain: Chain,
    pub(super) gone: Arc<Tombstones>,
}

/// Where packets can be read.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The active segment, unless it failed or the spool is closed.
    pub(super) active: Option<Arc<Database>>,
    /// The sealed ones.
    pub(super) catalog: Catalog,
}

impl Shared {
    /// Nothing yet but the clock, and how far sources have come.
    pub(super) fn new(clock: SpoolClock, positions: Positions) -> Self {
        let counts = counted::take_up(&positions);
        Self {
            files: Mutex::default(),
            lanes: Mutex::default(),
            status: Mutex::default(),
            loaded: Mutex::default(),
            clock: Mutex::new(clock),
            positions: Mutex::new(positions),
            counts,
        }
    }

    /// What the spool's clock shows.
    pub(super) fn now(&self) -> Millis {
        lock(&self.clock).now()
    }

    /// What is to be kept of it.
    pub(super) fn clock_row(&self) -> ClockRow {
        lock(&self.clock).row()
    }

    /// Where packets can be read. Changes with the active segment under one lock, so that a reader
    /// never misses a packet that moves from one to the other.
    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        lock(&self.files)
    }

    /// Every lane as of the last commit.
    pub(super) fn lanes(&self) -> MutexGuard<'_, BTreeMap<Lane, KnownLane>> {
        lock(&self.lanes)
    }

    /// Every lane that is sent, in order.
    pub(super) fn lane_states(&self) -> Vec<LaneState> {
        let lanes = self.lanes();
        let states = lanes.values().map(|known| &known.state);
        states.filter(|state| !is_own(&state.target)).cloned().collect()
    }

    /// The lane that has the dead letters.
    pub(super) fn lane_of_letters(&self) -> Option<LaneState> {
        let lanes = self.lanes();
        let mut states = lanes.values().map(|known| &known.state);
        states.find(|state| is_own(&state.target)).cloned()
    }

    /// Whether a packet is acknowledged, or declared gone.
    pub(super) fn is_settled(&self, lane: Lane, number: Number) -> bool {
        self.lanes().get(&lane).is_some_and(|known| {
            let gone = known.gone.after(number);
            number <= known.state.acked_through || gone.is_some_and(|gone| gone.first <= number)
        })
    }

    /// How the spool is.
    pub(super) fn status(&self) -> MutexGuard<'_, SpoolStatus> {
        lock(&self.status)
    }

    /// How far each source has come, as of the last commit.
    pub(super) fn positions(&self) -> MutexGuard<'_, Positions> {
        lock(&self.positions)
    }

    /// What the reader has loaded to be moved.
    pub(super) fn loaded(&self) -> MutexGuard<'_, Option<Loaded>> {
        lock(&self.loaded)
    }
}

/// No lock here guards anything that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
