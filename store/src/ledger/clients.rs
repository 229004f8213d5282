//! What clients have told of themselves, so that one that is away is still known after a restart of the
//! server. Nothing rests on it: it is written now and then, and what a crash loses comes again.

use paquebot_protocol::{ClientId, SpoolId};
use redb::{ReadableTable, ReadableTableMetadata, Table};
use serde::{Deserialize, Serialize};

use super::fence::number_of;
use super::sheet::Sheet;
use crate::error::LedgerError;
use crate::fault::Fault;
use crate::schema;

/// How many rows there may be: those that were away longest go.
const ROWS_MAX: u64 = 20_000;

/// The longest row, in bytes.
const ROW_BYTES_MAX: usize = 32 * 1024;

/// A client with one of its spools, as it was known last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientOnRecord {
    /// Its name.
    pub client: ClientId,
    /// Its spool.
    pub spool: SpoolId,
    /// When it was last heard of, in milliseconds since 1970 (UTC).
    pub seen_ms: u64,
    /// Whether it is to be forgotten.
    pub gone: bool,
    /// What else is known of it, as whoever asks to keep it writes that.
    pub facts: String,
}

impl Sheet<'_> {
    /// Writes some down.
    pub(super) fn put_clients(
        &mut self,
        clients: &[ClientOnRecord],
    ) -> Result<Result<(), LedgerError>, Fault> {
        if !self.has_room {
            return Ok(Err(LedgerError::DiskFull));
        }
        let mut rows = self.transaction.open_table(schema::CLIENTS)?;
        for client in clients {
            let key = (client.client.as_str(), number_of(client.spool));
            if client.gone {
                rows.remove(key)?;
            } else {
                let row = schema::encode(client)?;
                if row.len() <= ROW_BYTES_MAX {
                    rows.insert(key, row.as_slice())?;
                }
            }
            self.wrote = true;
        }
        if rows.len()? > ROWS_MAX {
            forget_longest_away(&mut rows)?;
        }
        Ok(Ok(()))
    }
}

/// A part of the rows goes at once, so that this is seldom.
fn forget_longest_away(
    rows: &mut Table<'_, (&'static str, u128), &'static [u8]>,
) -> Result<(), Fault> {
    let mut all = Vec::new();
    for row in ReadableTable::range::<(&str, u128)>(rows, ..)? {
        let (key, row) = row?;
        let (client, spool) = key.value();
        let seen_ms = schema::decode("a client's row", row.value())
            .map_or(0, |row: ClientOnRecord| row.seen_ms);
        all.push((seen_ms, client.to_owned(), spool));
    }
    all.sort_unstable();
    let left = usize::try_from(ROWS_MAX - ROWS_MAX / 10).unwrap_or(usize::MAX);
    for (_, client, spool) in all.iter().take(all.len().saturating_sub(left)) {
        rows.remove((client.as_str(), *spool))?;
    }
    Ok(())
}
