//! Seats: how many connections a server allows, and what is counted for the one that has a seat.

use std::sync::{Arc, Mutex, PoisonError};

use paquebot_protocol::frame::RefusedCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::meters::SessionMeters;
use crate::seldom::Few;

/// How many connections are allowed, and how many of them are taken.
#[derive(Debug, Clone)]
pub struct Seats {
    free: Arc<Semaphore>,
    all: u32,
    meters: SessionMeters,
    told: Arc<Mutex<Few>>,
}

impl Seats {
    /// So many seats.
    #[must_use]
    pub fn new(connections_max: usize, meters: SessionMeters) -> Self {
        let all = u32::try_from(connections_max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let free = Arc::new(Semaphore::new(all as usize));
        Self { free, all, meters, told: Arc::default() }
    }

    /// Waits until every session has ended.
    pub async fn empty(&self) {
        // The semaphore is never closed, so this fails only when there is nothing to wait for.
        drop(self.free.acquire_many(self.all).await);
    }

    /// A seat, if one is free; that none is, is counted.
    pub(crate) fn take(&self) -> Option<Seat> {
        let meters = self.meters.clone();
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            meters.refused("connections");
            return None;
        };
        Some(Seat { meters, told: Arc::clone(&self.told), _place: place })
    }
}

/// A session's place among those allowed; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    meters: SessionMeters,
    /// How much was logged of refusals, by all of them.
    told: Arc<Mutex<Few>>,
    _place: OwnedSemaphorePermit,
}

impl Seat {
    /// Packets came that had been handled before.
    pub(crate) fn duplicates(&self, packets: u64) {
        self.meters.duplicates(packets);
    }

    /// Whether one more refusal may be logged: they may come in thousands.
    pub(crate) fn may_tell(&self) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).is_due()
    }

    /// The client was refused, for a reason that may say more than the code.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.meters.refused(reason);
    }
}

/// The code as the metrics spell it.
pub(crate) const fn reason_of(code: RefusedCode) -> &'static str {
    match code {
        RefusedCode::Version => "version",
        RefusedCode::Rekey => "rekey",
        RefusedCode::Busy => "busy",
        RefusedCode::Stopping => "stopping",
        RefusedCode::Superseded => "superseded",
        RefusedCode::Unknown => "unknown",
    }
}
