//! The outlet: how a source hands packets over, and the back-pressure that it feels.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use paquebot_protocol::{Batch, TargetId};
use paquebot_store::{AppendError, Part, Patience, Position, Reply, Stored};
use tokio::sync::oneshot;

use crate::meters::{ClientMeters, SourceMeters};
use crate::permit::{Permit, Purse};
use crate::persistence::{Come, Hurry, Persistence, Store, StoreParcel};
use crate::receipts::{Outcome, Receipts, Waiter};

/// The way into the spool, shared by all sources of a client.
#[derive(Debug, Clone)]
pub struct Outlet {
    store: Recipient<Store>,
    parcels: Recipient<StoreParcel>,
    come: Recipient<Come>,
    hurry: Recipient<Hurry>,
    receipts: Receipts,
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

/// Whoever waits for packets to be stored. When it goes away before, they are not, if that can still be
/// helped.
#[derive(Debug)]
pub struct Requester {
    patience: Patience,
    hurry: Recipient<Hurry>,
    waits: bool,
}

impl Requester {
    /// Waits for `storing`, and for room until `enough` resolves: what has found none by then is
    /// refused.
    pub async fn wait<T>(
        mut self,
        storing: impl Future<Output = T>,
        enough: impl Future<Output = ()>,
    ) -> T {
        let mut storing = pin!(storing);
        let done = tokio::select! {
            biased;
            done = &mut storing => done,
            () = enough => {
                self.patience.run_out();
                self.hurry.do_send(Hurry);
                storing.await
            }
        };
        self.waits = false;
        done
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        if self.waits {
            self.patience.leave();
            self.hurry.do_send(Hurry);
        }
    }
}

impl Outlet {
    /// An outlet to `persistence`; at most `memory` is on its way to the disk.
    #[must_use]
    pub fn new(
        persistence: &Addr<Persistence>,
        receipts: Receipts,
        memory: Purse,
        packet_bytes_max: usize,
        meters: ClientMeters,
        lifetimes: Lifetimes,
    ) -> Self {
        Self {
            store: persistence.clone().recipient(),
            parcels: persistence.clone().recipient(),
            come: persistence.clone().recipient(),
            hurry: persistence.clone().recipient(),
            receipts,
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

    /// Somebody who is going to wait for packets to be stored.
    #[must_use]
    pub fn requester(&self) -> Requester {
        Requester { patience: Patience::default(), hurry: self.hurry.clone(), waits: true }
    }

    /// Hands packets over at once, all of them or none; what comes back waits until they are on disk,
    /// and the permit goes back then. A part whose key was used for something else is answered so. They
    /// count as `sent` of a source when they are stored.
    ///
    /// # Errors
    /// When they are not stored, or when that is unknown.
    pub fn store(
        &self,
        parts: Vec<Part>,
        permit: Permit,
        requester: &Requester,
        source: &SourceMeters,
    ) -> impl Future<Output = Result<Vec<Stored>, AppendError>> + use<> {
        let (stored, is_stored) = oneshot::channel();
        let count = |part: &Part| (part.target.clone(), part.batch.count() as u64);
        let (meters, counts): (_, Vec<_>) =
            (self.meters.clone(), parts.iter().map(count).collect());
        let reply = move |outcome: Result<Vec<Stored>, AppendError>| {
            for (at, (target, packets)) in counts.iter().enumerate() {
                let stored = outcome.as_ref().ok().and_then(|all| all.get(at));
                if stored.is_none_or(|stored| stored.differs) {
                    meters.rejected(target, *packets);
                }
            }
            // The requester may have gone away meanwhile.
            drop(stored.send(outcome));
        };
        let (positions, patience) = (Vec::new(), Some(requester.patience.clone()));
        let (count, stored) = (Some(source.sent()), Box::new(reply));
        self.parcels.do_send(StoreParcel { parts, positions, patience, permit, count, stored });
        async move { is_stored.await.map_err(|_| AppendError::Closed)? }
    }

    /// Resolves when the packets have their final outcome, however long ago they were stored; closed
    /// when the process stops first.
    #[must_use]
    pub fn outcome_of(&self, stored: &Stored) -> oneshot::Receiver<Outcome> {
        let (ended, is_ended) = oneshot::channel();
        self.receipts.promise(stored.lane, stored.first, stored.count, Waiter::One(ended));
        is_ended
    }

    /// Hands packets over without waiting for room; for a source that bounds itself what it has
    /// under way. `ended` is called when the last of them has its final outcome.
    pub fn store_now(
        &self,
        target: TargetId,
        batch: Batch,
        stored: Reply<Result<Stored, AppendError>>,
        ended: Option<Reply<Outcome>>,
    ) {
        self.store.do_send(Store { target, batch, stored, ended });
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
        let (patience, count) = (None, Some(source.sent()));
        self.parcels.do_send(StoreParcel { parts, positions, patience, permit, count, stored });
        is_stored.await.map_err(|_| AppendError::Closed)?
    }

    /// The places of a source, each with how far it has come there.
    pub async fn positions(&self, source: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.come.send(Come(source.to_owned())).await.unwrap_or_default()
    }
}
