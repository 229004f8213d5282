//! Permits: the back-pressure of everything that carries packets.
//!
//! A mailbox bounds nothing (actix queues what is sent without waiting), so whoever brings packets
//! takes bytes from a purse first, the permit travels inside the message, and it goes back when it is
//! dropped, wherever the packets' way ends.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The smallest share that is handed out, so that a purse fits a semaphore's 32-bit counts.
const SHARE_BYTES: usize = 128;

/// A number of bytes that may be under way at once.
#[derive(Debug, Clone)]
pub struct Purse {
    shares: Arc<Semaphore>,
    shares_max: u32,
}

/// Some bytes of a purse; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a permit gives its bytes back"]
pub struct Permit(#[expect(dead_code, reason = "held to be dropped")] Option<OwnedSemaphorePermit>);

impl Permit {
    /// A permit of no purse, for what is bounded elsewhere.
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Purse {
    /// A purse of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let shares = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(SHARE_BYTES).max(1);
        let shares_max = u32::try_from(shares).unwrap_or(u32::MAX);
        Self { shares: Arc::new(Semaphore::new(shares_max as usize)), shares_max }
    }

    /// Waits until `bytes` are free. More than the purse ever holds counts as all of it.
    pub async fn take(&self, bytes: usize) -> Option<Permit> {
        let shares = Arc::clone(&self.shares);
        shares
            .acquire_many_owned(self.shares_of(bytes))
            .await
            .ok()
            .map(|permit| Permit(Some(permit)))
    }

    /// The same without waiting.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        let shares = Arc::clone(&self.shares);
        shares.try_acquire_many_owned(self.shares_of(bytes)).ok().map(|permit| Permit(Some(permit)))
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
