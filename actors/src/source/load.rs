//! A load: packets that a source gathers and hands over at once, with how far it has come.
//!
//! A source that nobody waits for has the time that the spool needs: while there is no room, or the
//! disk fails, the load is handed over again and again until it is stored or the source stops. That
//! repeats nothing: what failed is not counted by the spool, and the position stands in the
//! transaction of the packets.

use std::collections::HashMap;
use std::time::Duration;

use paquebot_protocol::{Batch, Packet, TargetId};
use paquebot_store::{AppendError, Part, Position};
use tokio::sync::watch;

use super::outlet::Outlet;
use super::recipe::Draft;
use crate::clock;

/// So many bytes are handed over at once: enough for full speed, and little beside what others need.
pub(super) const LOAD_BYTES: usize = 1024 * 1024;

/// Between two tries while there is no room.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// One line in the log in so many tries.
const COMPLAIN_EVERY: u32 = 120;

/// Packets and positions that are stored together.
#[derive(Debug, Default)]
pub(super) struct Load {
    parts: Vec<Part>,
    by_target: HashMap<TargetId, usize>,
    positions: Vec<Position>,
    bytes: usize,
}

/// Whether a source may go on.
#[derive(Debug, Clone)]
pub(super) struct Stopping(pub(super) watch::Receiver<bool>);

impl Stopping {
    /// Whether it is to stop.
    pub(super) fn is_near(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for so long, or until it is to stop.
    pub(super) async fn pause(&mut self, length: Duration) {
        let stop = self.0.wait_for(|stop| *stop);
        let waited = tokio::time::timeout(length, stop).await;
        drop(waited);
    }

    /// Waits until it is to stop.
    pub(super) async fn wait(&mut self) {
        let waited = self.0.wait_for(|stop| *stop).await;
        drop(waited);
    }
}

impl Load {
    /// Adds a packet.
    pub(super) fn add(&mut self, outlet: &Outlet, draft: &Draft, data: &[u8]) {
        let ttl = draft.ttl.or_else(|| outlet.ttl_of(&draft.target));
        let at = *self.by_target.entry(draft.target.clone()).or_insert_with(|| {
            let target = draft.target.clone();
            self.parts.push(Part { target, batch: Batch::default(), key: None });
            self.parts.len() - 1
        });
        let Some(part) = self.parts.get_mut(at) else { return };
        part.batch.push(&Packet { created_ms: clock::wall_ms(), data, meta: draft.meta(ttl) });
        self.bytes += data.len() + draft.bytes();
    }

    /// How far the source has come at a place of its own; nothing when that is to be forgotten.
    pub(super) fn come(&mut self, source: &str, place: Vec<u8>, at: Option<Vec<u8>>) {
        self.positions.push(Position { source: source.to_owned(), place, at });
    }

    /// Whether it is time to hand it over.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= LOAD_BYTES
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.positions.is_empty()
    }

    /// Hands it over until it is stored; says whether it was before the source had to stop.
    pub(super) async fn store(
        self,
        source: &str,
        outlet: &Outlet,
        stopping: &mut Stopping,
    ) -> bool {
        if self.is_empty() {
            return true;
        }
        let meters = outlet.meters_of(source);
        let mut tries: u32 = 0;
        loop {
            let Ok(permit) = outlet.reserve(self.bytes).await else { return false };
            let (parts, positions) = (self.parts.clone(), self.positions.clone());
            match outlet.store_parcel(parts, positions, permit, &meters).await {
                Ok(_) => return true,
                Err(AppendError::Closed) => return false,
                Err(error) => {
                    if tries.is_multiple_of(COMPLAIN_EVERY) {
                        tracing::warn!(source, %error, "packets wait for room; tried again");
                    }
                    tries = tries.wrapping_add(1);
                }
            }
            if stopping.is_near() {
                return false;
            }
            stopping.pause(AGAIN_AFTER).await;
        }
    }
}
