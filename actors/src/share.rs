//! Shares: how much of the server's memory the packets of one handler may take.
//!
//! A handler whose work others do may hang. What waits for it, in its attempts and behind them in
//! the sessions, has a purse of its own within the server's; a lane that finds that empty is put off
//! and resumes from its client's disk, and no other handler's packets wait for room (R5, R9).

use std::sync::Arc;

use paquebot_protocol::TargetId;
use paquebot_protocol::route::RouteTable;

use crate::permit::{Permit, Purse};

/// The shares of all handlers that have one.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    table: Arc<RouteTable>,
    purses: Arc<[Option<Purse>]>,
}

/// There is no room in the share of a packet's handler.
#[derive(Debug)]
pub(crate) struct ShareIsFull;

impl Shares {
    /// The shares of handlers that `table` names by their place; those without go by the server's
    /// memory alone.
    #[must_use]
    pub fn new(table: RouteTable, purses: Vec<Option<Purse>>) -> Self {
        if purses.iter().all(Option::is_none) {
            // Nothing is looked up then.
            return Self::default();
        }
        Self { table: Arc::new(table), purses: purses.into() }
    }

    /// Takes room for packets to `target`, if their handler has a share.
    pub(crate) fn take(
        &self,
        target: Option<&TargetId>,
        bytes: usize,
    ) -> Result<Option<Permit>, ShareIsFull> {
        if self.purses.is_empty() {
            return Ok(None);
        }
        let handler = target.and_then(|target| self.table.find(target));
        let purse = handler.and_then(|at| self.purses.get(at)).and_then(Option::as_ref);
        let Some(purse) = purse else { return Ok(None) };
        purse.try_take(bytes).map(Some).ok_or(ShareIsFull)
    }
}
