//! The census: how many spools each client has on record, because whoever comes under ever new names
//! must not fill the ledger (R9): a spool stays on record for good, so that a copy of it is noticed.
//!
//! It is counted once, when the first new spool comes, and kept up with from there on.

use std::collections::HashMap;

use paquebot_protocol::ClientId;
use redb::ReadableTable;

use crate::fault::Fault;
use crate::schema::{self, SpoolOnRecord};

/// How many spools a client may have that take no other's place: a machine that begins anew each day
/// has as many in 27 years.
pub(super) const SPOOLS_MAX: u64 = 10_000;

/// How many in all, with those that were re-keyed: who loses or restores a spool must get in.
pub(super) const SPOOLS_WITH_REKEYED_MAX: u64 = 100_000;

/// The spools of each client; nothing while nobody has counted.
#[derive(Debug, Default)]
pub(super) struct Census(Option<HashMap<ClientId, u64>>);

impl Census {
    /// How many spools a client has, by the rows of this transaction.
    pub(super) fn of(
        &mut self,
        spools: &impl ReadableTable<u128, &'static [u8]>,
        client: &ClientId,
    ) -> Result<u64, Fault> {
        if self.0.is_none() {
            let mut counts = HashMap::new();
            for row in spools.iter()? {
                let on_record: SpoolOnRecord = schema::decode("a spool's row", row?.1.value())?;
                *counts.entry(on_record.client).or_default() += 1;
            }
            self.0 = Some(counts);
        }
        Ok(self.0.as_ref().and_then(|counts| counts.get(client).copied()).unwrap_or(0))
    }

    /// A new spool came.
    pub(super) fn add(&mut self, client: &ClientId) {
        if let Some(counts) = &mut self.0 {
            *counts.entry(client.clone()).or_default() += 1;
        }
    }

    /// A spool came under another client's name than before.
    pub(super) fn rename(&mut self, before: &ClientId, client: &ClientId) {
        if let Some(count) = self.0.as_mut().and_then(|counts| counts.get_mut(before)) {
            *count = count.saturating_sub(1);
        }
        self.add(client);
    }

    /// A transaction failed: it is counted anew.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}
