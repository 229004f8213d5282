//! Fences: which opening of a spool is the latest, and what an older one may still do, which is
//! nothing (R7).

use paquebot_protocol::{ClientId, SpoolId};
use redb::ReadableTable;

use super::census::{SPOOLS_MAX, SPOOLS_WITH_REKEYED_MAX};
use super::facts::{Admitted, Fence, Known};
use super::sheet::Sheet;
use crate::error::LedgerError;
use crate::fault::Fault;
use crate::schema::{self, SpoolOnRecord};

impl Sheet<'_> {
    /// Puts an opening on record, or finds that it must not be.
    pub(super) fn admit(
        &mut self,
        fence: Fence,
        replaces: Option<SpoolId>,
        client: ClientId,
    ) -> Result<Result<Admitted, LedgerError>, Fault> {
        let Fence { spool, opened, nonce } = fence;
        let known = match (self.spool(spool)?, replaces) {
            (Some(on_record), _) => {
                if (on_record.opened, on_record.nonce) == (opened, nonce) {
                    // The same opening has connected again.
                    return Ok(Ok(Admitted::Yes(Known::Before)));
                }
                if on_record.opened >= opened {
                    return Ok(Ok(Admitted::Rekey));
                }
                if on_record.client == client { Known::Before } else { Known::As(on_record.client) }
            }
            (None, Some(before)) if self.spool(before)?.is_some() => Known::InPlaceOf(before),
            (None, _) => Known::Not,
        };
        if !self.has_room {
            return Ok(Err(LedgerError::DiskFull));
        }
        let max = match known {
            Known::Before | Known::As(_) => u64::MAX,
            Known::InPlaceOf(_) => SPOOLS_WITH_REKEYED_MAX,
            Known::Not => SPOOLS_MAX,
        };
        if max < u64::MAX && self.census.of(&self.spools, &client)? >= max {
            return Ok(Err(LedgerError::TooManySpools { client, max }));
        }
        match &known {
            Known::Before => {}
            Known::As(before) => self.census.rename(before, &client),
            Known::InPlaceOf(_) | Known::Not => self.census.add(&client),
        }
        let row = schema::encode(&SpoolOnRecord { client, opened, nonce, replaces })?;
        let key = number_of(spool);
        self.spools.insert(key, row.as_slice())?;
        self.wrote = true;
        Ok(Ok(Admitted::Yes(known)))
    }

    /// A spool as it is on record.
    pub(super) fn spool(&self, spool: SpoolId) -> Result<Option<SpoolOnRecord>, Fault> {
        let row = self.spools.get(number_of(spool))?;
        row.map(|row| schema::decode("a spool's row", row.value())).transpose()
    }
}

/// A spool as a key.
pub(super) fn number_of(spool: SpoolId) -> u128 {
    u128::from_be_bytes(spool.0)
}
