//! The outlet: how a source hands packets over, and the back-pressure that it feels.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use paquebot_protocol::{Batch, TargetId};
use paquebot_store::{AppendError, Key, Part, Position, Reply, Stored};
use tokio::sync::oneshot;

use crate::meters::{ClientMeters, SourceMeters};
use crate::permit::{Permit, Purse};
use crate::persistence::{Come, Persistence, Store, StoreParcel};
use crate::receipts::Handled;

/// The way into the spool, shared by all sources of a client.
#[derive(Debug, Clone)]
pub struct Outlet {
    store: Recipient<Store>,
    parcels: Recipient<StoreParcel>,
    come: Recipient<Come>,
    memory: Purse,
    packet_bytes_max: usize,
    meters: ClientMeters,
    lifetimes: Lifetimes,
}

/// For how long packets to a target are worth sending; nothing for those that live on.
#[derive(Clone)]
pub struct Lifetimes(pub Arc<LifetimeOf>);

/// Gives the lifetime of packets to a target.
pub type LifetimeOf = dyn Fn(&TargetId) -> Option<Duration> + Send + Sync;

impl fmt::Debug for Lifetimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lifetimes")
    }
}

/// What became of packets that were handed over.
#[derive(Debug)]
pub struct Handover {
    /// Where they stand in their lane.
    pub stored: Stored,
    /// Resolves when the last of them has its final outcome; closed when the process stops first.
    /// Nothing for what was stored before under the same key.
    pub handled: Option<oneshot::Receiver<Handled>>,
}

impl Outlet {
    /// An outlet to `persistence`; at most `memory` is on its way to the disk.
    #[must_use]
    pub fn new(
        persistence: &Addr<Persistence>,
        memory: Purse,
        packet_bytes_max: usize,
        meters: ClientMeters,
        lifetimes: Lifetimes,
    ) -> Self {
        Self {
            store: persistence.clone().recipient(),
            parcels: persistence.clone().recipient(),
            come: persistence.clone().recipient(),
            memory,
            packet_bytes_max,
            meters,
            lifetimes,
        }
    }

    /// For how long a packet to `target` is worth sending, as its policy says.
    #[must_use]
    pub fn ttl_of(&self, target: &TargetId) -> Option<Duration> {
        (self.lifetimes.0)(target)
    }

    /// What a source counts.
    #[must_use]
    pub fn meters_of(&self, source: &str) -> SourceMeters {
        SourceMeters::new(source, self.meters.counts())
    }

    /// The longest data of a packet, in bytes.
    #[must_use]
    pub fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max
    }

    /// Waits for room in memory for `bytes` on their way to the disk.
    ///
    /// # Errors
    /// When the client is stopping.
    pub async fn reserve(&self, bytes: usize) -> Result<Permit, AppendError> {
        self.memory.take(bytes).await.ok_or(AppendError::Closed)
    }

    /// Hands packets over at once; what comes back waits until they are on disk. The permit goes
    /// back then. They count as `sent` of a source when they are.
    ///
    /// # Errors
    /// When they are not stored, or when that is unknown.
    pub fn store(
        &self,
        target: TargetId,
        batch: Batch,
        key: Option<Key>,
        permit: Permit,
        (source, wants_handled): (&SourceMeters, bool),
    ) -> impl Future<Output = Result<Handover, AppendError>> + use<> {
        let (is_told, is_stored) = oneshot::channel();
        let (handled, is_handled) = oneshot::channel();
        // The requester may have gone away meanwhile; the packets are stored all the same.
        let handled: Option<Reply<Handled>> =
            wants_handled.then(|| Box::new(move |how| drop(handled.send(how))) as _);
        let (meters, addressee, packets) =
            (self.meters.clone(), target.clone(), batch.count() as u64);
        let reply = move |outcome: Result<Stored, AppendError>| {
            if outcome.is_err() {
                meters.rejected(&addressee, packets);
            }
            drop(is_told.send(outcome));
        };
        let (count, stored) = (Some(source.sent()), Box::new(reply));
        self.store.do_send(Store { target, batch, key, permit, count, stored, handled });
        async move {
            let stored = is_stored.await.map_err(|_| AppendError::Closed)??;
            let waits = wants_handled && !stored.again;
            Ok(Handover { stored, handled: waits.then_some(is_handled) })
        }
    }

    /// Hands packets over without waiting for room; for a source that bounds itself what it has
    /// under way. `handled` is called when the last of them has its final outcome.
    pub fn store_now(
        &self,
        target: TargetId,
        batch: Batch,
        stored: Reply<Result<Stored, AppendError>>,
        handled: Option<Reply<Handled>>,
    ) {
        let (key, permit, count) = (None, Permit::none(), None);
        self.store.do_send(Store { target, batch, key, permit, count, stored, handled });
    }

    /// Hands over what a source has gathered, with how far it has come, and waits until all of it is
    /// on disk.
    ///
    /// # Errors
    /// When it is not stored.
    pub async fn store_parcel(
        &self,
        parts: Vec<Part>,
        positions: Vec<Position>,
        permit: Permit,
        source: &SourceMeters,
    ) -> Result<Vec<Stored>, AppendError> {
        let (stored, is_stored) = oneshot::channel();
        // A source that stops has no use for the answer.
        let stored = Box::new(move |outcome| drop(stored.send(outcome)));
        let count = Some(source.sent());
        self.parcels.do_send(StoreParcel { parts, positions, permit, count, stored });
        is_stored.await.map_err(|_| AppendError::Closed)?
    }

    /// The places of a source, each with how far it has come there.
    pub async fn positions(&self, source: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.come.send(Come(source.to_owned())).await.unwrap_or_default()
    }
}
