//! What the newest segment's tables say of a spool, when it is opened.

use std::path::Path;

use paquebot_protocol::{Lane, Number};
use redb::{ReadableDatabase, ReadableTable, TableError};

use super::SystemClock;
use super::age::SpoolClock;
use super::catalog::Piece;
use super::condemn::Condemned;
use super::envelope::{ENVELOPE_BYTES, Envelope};
use super::facts::RetiredTotals;
use super::keys::Keys;
use super::lanes::{LaneEntry, Lanes};
use super::mark::{self, Row};
use super::positions::Positions;
use super::segment::Active;
use super::size;
use crate::error::OpenError;
use crate::fault::Fault;
use crate::random;
use crate::schema::{self, SpoolRow};

/// Refuses what a later release wrote.
pub(super) fn check_format(active: &Active, path: &Path) -> Result<Result<(), OpenError>, Fault> {
    let meta = active.db.begin_read()?.open_table(schema::META)?;
    let format = ReadableTable::get(&meta, schema::META_FORMAT)?;
    let format = format.ok_or_else(|| Fault::damaged("a format", "none"))?;
    let found = schema::decode_number("a format", format.value())?;
    Ok(too_new(path, found))
}

/// Whether `found` is a format of a later release.
pub(super) fn too_new(path: &Path, found: u64) -> Result<(), OpenError> {
    let expected = schema::FORMAT;
    if found <= expected {
        return Ok(());
    }
    Err(OpenError::TooNew { path: path.to_owned(), expected, found })
}

/// Counts the opening, draws its nonce, and lets the clock go on.
pub(super) fn begin(active: &Active, system: SystemClock) -> Result<(SpoolRow, SpoolClock), Fault> {
    let transaction = active.db.begin_write()?;
    let begun = {
        let mut meta = transaction.open_table(schema::META)?;
        let mut row: SpoolRow = {
            let row = meta.get(schema::META_SPOOL)?;
            mark::spool(row.ok_or_else(|| Fault::damaged("a spool's row", "none"))?.value())?
        };
        if row.segment != active.number {
            return Err(Fault::damaged(
                &format!("segment {}", active.number),
                format!("segment {} under its name", row.segment),
            ));
        }
        row.opened += 1;
        row.nonce = u64::from_le_bytes(random::bytes("a nonce")?);
        meta.insert(schema::META_SPOOL, Row::Spool(row).encode()?.as_slice())?;
        let clock = {
            let kept = meta.get(schema::META_CLOCK)?;
            let kept = kept.ok_or_else(|| Fault::damaged("a clock", "none"))?;
            SpoolClock::from_row(system, schema::decode("a clock", kept.value())?)
        };
        meta.insert(schema::META_CLOCK, schema::encode(&clock.row())?.as_slice())?;
        (row, clock)
    };
    transaction.commit()?;
    Ok(begun)
}

/// The lanes, with their tombstones.
pub(super) fn lanes(active: &Active) -> Result<Lanes, Fault> {
    let mut lanes = Lanes::default();
    let snapshot = active.db.begin_read()?;
    if let Some(row) =
        ReadableTable::get(&snapshot.open_table(schema::META)?, schema::META_RETIRED)?
    {
        lanes.set_retired(RetiredTotals::from_row(mark::retired(row.value())?));
    }
    for row in ReadableTable::range::<u64>(&snapshot.open_table(schema::LANES)?, ..)? {
        let (lane, row) = row?;
        let row = mark::lane(row.value())?;
        lanes.insert(Lane(lane.value()), LaneEntry::from_row(row));
    }
    for row in ReadableTable::range::<(u64, u64)>(&snapshot.open_table(schema::TOMBSTONES)?, ..)? {
        let (key, value) = row?;
        let tombstone = mark::tombstone(value.value())?;
        if let Some(entry) = lanes.get_mut(Lane(key.value().0)) {
            entry.bury_again(tombstone);
        }
    }
    Ok(lanes)
}

/// What the sealed segments hold.
pub(super) fn manifest(active: &Active) -> Result<Vec<(u64, Lane, Piece)>, Fault> {
    let mut manifest = Vec::new();
    let table = active.db.begin_read()?.open_table(schema::MANIFEST)?;
    for row in ReadableTable::range::<(u64, u64, u64)>(&table, ..)? {
        let (key, value) = row?;
        let ((segment, lane, first), (last, bytes)) = (key.value(), value.value());
        let piece = Piece { first: Number(first), last: Number(last), bytes };
        manifest.push((segment, Lane(lane), piece));
    }
    Ok(manifest)
}

/// How far each source has come.
pub(super) fn positions(active: &Active) -> Result<Positions, Fault> {
    let mut positions = Positions::default();
    let snapshot = active.db.begin_read()?;
    let table = match snapshot.open_table(schema::POSITIONS) {
        // Before there were positions.
        Err(TableError::TableDoesNotExist(_)) => return Ok(positions),
        table => table?,
    };
    for row in ReadableTable::range::<(&str, &[u8])>(&table, ..)? {
        positions.insert(mark::position(row?.1.value())?);
    }
    Ok(positions)
}

/// Under which keys packets were handed over, in a spool of `max_bytes`.
pub(super) fn keys(active: &Active, max_bytes: u64) -> Result<Keys, Fault> {
    let mut rows = Vec::new();
    let snapshot = active.db.begin_read()?;
    let table = match snapshot.open_table(schema::KEYS) {
        // Before there were keys.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Keys::new(max_bytes, rows)),
        table => table?,
    };
    for row in ReadableTable::range::<(u64, u64)>(&table, ..)? {
        let (place, row) = row?;
        let (source, number) = place.value();
        rows.push((source, number, schema::decode("a key", row.value())?));
    }
    Ok(Keys::new(max_bytes, rows))
}

/// The segments that are not trusted any more.
pub(super) fn condemned(active: &Active) -> Result<Condemned, Fault> {
    let meta = active.db.begin_read()?.open_table(schema::META)?;
    let row = ReadableTable::get(&meta, schema::META_CONDEMNED)?;
    let row = row.ok_or_else(|| Fault::damaged("the condemned segments", "none"))?;
    schema::decode("the condemned segments", row.value())
}

/// Goes through the runs of the active segment: which packets it holds, and how full it is.
pub(super) fn runs(active: &mut Active, lanes: &mut Lanes) -> Result<(), Fault> {
    let table = active.db.begin_read()?.open_table(schema::RUNS)?;
    for row in ReadableTable::range::<(u64, u64)>(&table, ..)? {
        let (key, value) = row?;
        let (lane, last) = key.value();
        let bytes = value.value().len().saturating_sub(ENVELOPE_BYTES);
        let entry = lanes.get_mut(Lane(lane));
        let entry = entry.ok_or_else(|| Fault::damaged("a lane's row", "runs without one"))?;
        // A run whose envelope is damaged is declared by whoever reads it; its place is known.
        let first = Envelope::open(value.value())
            .map_or(Number(last), |(envelope, _)| envelope.first.min(Number(last)));
        let first = first.max(entry.acked.next());
        if first <= Number(last) {
            let run = Piece { first, last: Number(last), bytes: bytes as u64 };
            entry.add_visible(run);
        }
        active.count(size::stored_bytes(bytes), 0);
    }
    Ok(())
}
