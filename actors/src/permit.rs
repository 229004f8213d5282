//! Permits: the back-pressure of everything that carries packets.
//!
//! A mailbox bounds nothing (actix queues what is sent without waiting), so whoever brings packets
//! takes bytes from a purse first, the permit travels inside the message, and it goes back when it is
//! dropped, wherever the packets' way ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The smallest share that is handed out, so that a purse fits a semaphore's 32-bit counts.
const SHARE_BYTES: usize = 128;

/// A number of bytes that may be under way at once.
#[derive(Debug, Clone)]
pub struct Purse {
    shares: Arc<Semaphore>,
    shares_max: u32,
    waiting: Arc<AtomicUsize>,
}

/// Some bytes of a purse, or of two; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a permit gives its bytes back"]
pub struct Permit {
    of_one: Option<OwnedSemaphorePermit>,
    of_another: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// A permit of no purse, for what is bounded elsewhere.
    pub const fn none() -> Self {
        Self { of_one: None, of_another: None }
    }

    /// This permit and one of another purse, for the same bytes.
    pub fn and(self, other: Option<Self>) -> Self {
        Self { of_another: other.and_then(|other| other.of_one).or(self.of_another), ..self }
    }

    fn of(shares: OwnedSemaphorePermit) -> Self {
        Self { of_one: Some(shares), of_another: None }
    }
}

impl Purse {
    /// A purse of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let shares = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(SHARE_BYTES).max(1);
        let shares_max = u32::try_from(shares).unwrap_or(u32::MAX);
        let waiting = Arc::default();
        Self { shares: Arc::new(Semaphore::new(shares_max as usize)), shares_max, waiting }
    }

    /// Waits until `bytes` are free. More than the purse ever holds counts as all of it.
    pub async fn take(&self, bytes: usize) -> Option<Permit> {
        let shares = Arc::clone(&self.shares);
        let _waits = Waits::begin(&self.waiting);
        shares.acquire_many_owned(self.shares_of(bytes)).await.ok().map(Permit::of)
    }

    /// Whether somebody waits for bytes.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The same without waiting.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        let shares = Arc::clone(&self.shares);
        shares.try_acquire_many_owned(self.shares_of(bytes)).ok().map(Permit::of)
    }

    /// Waits until every permit is back, for `stop`; nothing can be taken afterwards.
    pub async fn drained(&self) {
        let all = self.shares.acquire_many(self.shares_max).await;
        self.shares.close();
        drop(all);
    }

    fn shares_of(&self, bytes: usize) -> u32 {
        let shares = bytes.div_ceil(SHARE_BYTES).max(1);
        u32::try_from(shares).unwrap_or(u32::MAX).min(self.shares_max)
    }
}

/// Somebody waits, until this is dropped: when there are bytes, or nobody wants them any more.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
