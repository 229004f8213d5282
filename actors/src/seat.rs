//! Seats: how many connections a server allows, and what is counted for the one that has a seat.

use std::sync::Arc;

use metrics::{Counter, counter};
use paquebot_protocol::frame::RefusedCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections are allowed, and how many of them are taken.
#[derive(Debug, Clone)]
pub struct Seats {
    free: Arc<Semaphore>,
    all: u32,
}

impl Seats {
    /// So many seats.
    #[must_use]
    pub fn new(connections_max: usize) -> Self {
        let all = u32::try_from(connections_max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until every session has ended.
    pub async fn empty(&self) {
        // The semaphore is never closed, so this fails only when there is nothing to wait for.
        drop(self.free.acquire_many(self.all).await);
    }

    pub(crate) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

/// A session's place among those allowed; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    duplicates: Counter,
    _place: OwnedSemaphorePermit,
}

impl Seat {
    pub(crate) fn new(place: OwnedSemaphorePermit, duplicates: Counter) -> Self {
        Self { duplicates, _place: place }
    }

    /// Packets came that had been handled before.
    pub(crate) fn duplicates(&self, packets: u64) {
        self.duplicates.increment(packets);
    }

    /// The client was refused, for a reason that may say more than the code.
    pub(crate) fn refused(&self, reason: &'static str) {
        counter!("paquebot_server_refused_total", "reason" => reason).increment(1);
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
