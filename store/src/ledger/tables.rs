//! The tables of `ledger.redb`: how they begin, what they say, and how all of them are copied, which
//! is how a ledger is healed and backed up.

use std::collections::{BTreeMap, BTreeSet};

use paquebot_protocol::LedgerId;
use redb::{
    Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value, WriteTransaction,
};

use super::clients::ClientOnRecord;
use super::dead::DeadKey;
use super::facts::{HandlerTotals, PausedHandler};
use crate::fault::Fault;
use crate::random;
use crate::schema::{self, FileRow, SpoolOnRecord};

/// What a ledger says of itself when it is opened.
pub(super) struct Found {
    pub(super) ledger: LedgerId,
    pub(super) format: u64,
    pub(super) totals: Vec<(String, HandlerTotals)>,
    pub(super) dead_segments: BTreeMap<u64, (u64, u64)>,
    pub(super) dead_gone: BTreeMap<String, u64>,
    pub(super) dead_known: u64,
    pub(super) replayed: BTreeSet<DeadKey>,
    pub(super) paused: Vec<PausedHandler>,
    pub(super) counts: Vec<(String, u64)>,
    pub(super) clients: Vec<ClientOnRecord>,
    /// How many commits there were.
    pub(super) commits: u64,
}

/// What a new ledger begins with; dead letters up to `dead_known` were there before it.
pub(super) fn begin(transaction: &WriteTransaction, dead_known: u64) -> Result<(), Fault> {
    let mut meta = transaction.open_table(schema::META)?;
    meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
    let ledger: [u8; 16] = random::bytes("a ledger id")?;
    meta.insert(schema::META_LEDGER, ledger.as_slice())?;
    meta.insert(schema::META_DEAD_KNOWN, dead_known.to_le_bytes().as_slice())?;
    transaction.open_table(schema::SPOOLS)?;
    transaction.open_table(schema::CURSORS)?;
    transaction.open_table(schema::TRIED)?;
    transaction.open_table(schema::RETIRED)?;
    transaction.open_table(schema::FILES)?;
    transaction.open_table(schema::TOTALS)?;
    transaction.open_table(schema::HISTORY)?;
    transaction.open_table(schema::DEAD_SEGMENTS)?;
    transaction.open_table(schema::DEAD_GONE)?;
    transaction.open_table(schema::REPLAYED)?;
    transaction.open_table(schema::PAUSED)?;
    transaction.open_table(schema::COUNTS)?;
    transaction.open_table(schema::CLIENTS)?;
    Ok(())
}

/// Copies every table of a ledger.
pub(super) fn copy(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), Fault> {
    copy_table(from, to, schema::META)?;
    copy_table(from, to, schema::SPOOLS)?;
    copy_table(from, to, schema::CURSORS)?;
    copy_table(from, to, schema::TRIED)?;
    copy_table(from, to, schema::RETIRED)?;
    copy_table(from, to, schema::FILES)?;
    copy_table(from, to, schema::TOTALS)?;
    copy_table(from, to, schema::HISTORY)?;
    copy_table(from, to, schema::DEAD_SEGMENTS)?;
    copy_table(from, to, schema::DEAD_GONE)?;
    copy_table(from, to, schema::REPLAYED)?;
    copy_table(from, to, schema::PAUSED)?;
    copy_table(from, to, schema::COUNTS)?;
    copy_table(from, to, schema::CLIENTS)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), Fault> {
    let mut copy = to.open_table(table)?;
    let original = match from.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        original => original?,
    };
    for row in ReadableTable::iter(&original)? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Reads what a ledger says of itself.
pub(super) fn read(snapshot: &ReadTransaction) -> Result<Found, Fault> {
    let meta = snapshot.open_table(schema::META)?;
    let number = |key: &str, what: &str| {
        let row = ReadableTable::get(&meta, key)?;
        row.map(|row| schema::decode_number(what, row.value())).transpose()
    };
    let format = number(schema::META_FORMAT, "a format")?;
    let format = format.ok_or_else(|| Fault::damaged("a format", "none"))?;
    let dead_known = number(schema::META_DEAD_KNOWN, "a position")?.unwrap_or(0);
    let commits = number(schema::META_COMMITS, "a count of commits")?.unwrap_or(0);
    let ledger = ReadableTable::get(&meta, schema::META_LEDGER)?;
    let ledger = ledger.ok_or_else(|| Fault::damaged("a ledger id", "none"))?;
    let ledger = ledger.value().try_into().map_err(|e| Fault::damaged("a ledger id", e))?;
    let mut found = Found {
        ledger: LedgerId(ledger),
        format,
        totals: Vec::new(),
        dead_segments: BTreeMap::new(),
        dead_gone: BTreeMap::new(),
        dead_known,
        replayed: BTreeSet::new(),
        paused: Vec::new(),
        counts: Vec::new(),
        clients: Vec::new(),
        commits,
    };
    each(snapshot, schema::TOTALS, |handler, (handled, dead_lettered)| {
        found.totals.push((handler.to_owned(), HandlerTotals { handled, dead_lettered }));
        Ok(())
    })?;
    each(snapshot, schema::DEAD_SEGMENTS, |segment, held| {
        found.dead_segments.insert(segment, held);
        Ok(())
    })?;
    each(snapshot, schema::DEAD_GONE, |how, count| {
        found.dead_gone.insert(how.to_owned(), count);
        Ok(())
    })?;
    each(snapshot, schema::REPLAYED, |key, ()| {
        found.replayed.insert(key);
        Ok(())
    })?;
    each(snapshot, schema::PAUSED, |handler, (since_ms, by)| {
        let (handler, by) = (handler.to_owned(), by.to_owned());
        found.paused.push(PausedHandler { handler, since_ms, by });
        Ok(())
    })?;
    each(snapshot, schema::COUNTS, |name, count| {
        found.counts.push((name.to_owned(), count));
        Ok(())
    })?;
    each(snapshot, schema::CLIENTS, |_, row| {
        // What cannot be read is no more than news of yesterday.
        found.clients.extend(schema::decode("a client's row", row).ok());
        Ok(())
    })?;
    Ok(found)
}

/// Reads every row, to find those that cannot be read; gives how many cursors there are, and how many
/// numbers they jumped over.
pub(super) fn verify(snapshot: &ReadTransaction) -> Result<(u64, u64), Fault> {
    read(snapshot)?;
    each(snapshot, schema::SPOOLS, |_, row| {
        schema::decode::<SpoolOnRecord>("a spool's row", row).map(drop)
    })?;
    each(snapshot, schema::FILES, |_, row| {
        schema::decode::<FileRow>("a file's row", row).map(drop)
    })?;
    each(snapshot, schema::RETIRED, |_, _| Ok(()))?;
    each(snapshot, schema::HISTORY, |_, _| Ok(()))?;
    let (mut cursors, mut elsewhere) = (0, 0_u64);
    each(snapshot, schema::CURSORS, |_, (_, _, jumped, _)| {
        cursors += 1;
        elsewhere = elsewhere.saturating_add(jumped);
        Ok(())
    })?;
    Ok((cursors, elsewhere))
}

fn each<K: Key + 'static, V: Value + 'static>(
    snapshot: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    mut take: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let table = match snapshot.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for row in ReadableTable::iter(&table)? {
        let (key, value) = row?;
        take(key.value(), value.value())?;
    }
    Ok(())
}
