//! Rows that can be found by their bytes alone, so that a lane's row, a tombstone or the spool's own
//! row outlives the tables that it stands in (R10).
//!
//! ```text
//! mark (8 bytes), length (u32), check (u64), the row (MessagePack)
//! ```

use paquebot_protocol::chain::record_hash;
use paquebot_protocol::{Lane, Number};
use serde::{Deserialize, Serialize};

use super::facts::Tombstone;
use super::parcel::POSITION_BYTES_MAX;
use crate::fault::Fault;
use crate::schema::{self, LaneRow, PositionRow, RetiredRow, SpoolRow, TombstoneRow};

/// Tells a row from anything else that stands in a file.
pub(super) const MARK: [u8; 8] = *b"PAQUEROW";

/// What stands before the row.
const HEAD_BYTES: usize = 20;

/// No row is longer: a target id has at most 255 bytes, a position what a parcel takes of it.
pub(super) const ROW_BYTES_MAX: usize = POSITION_BYTES_MAX + 256;

/// A row that says by itself what it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Row {
    /// Who the spool is.
    Spool(SpoolRow),
    /// A lane.
    Lane(Lane, LaneRow),
    /// A tombstone, with its lane and last number.
    Tombstone(Lane, Number, TombstoneRow),
    /// The sums of the lanes that are gone.
    Retired(RetiredRow),
    /// How far a source has come.
    Position(PositionRow),
}

impl Row {
    /// A tombstone's row.
    pub(super) fn tombstone(lane: Lane, tombstone: &Tombstone) -> Self {
        let Tombstone { first, last, chain, chain_after, reason } = *tombstone;
        Self::Tombstone(lane, last, TombstoneRow { first, chain, chain_after, reason })
    }

    /// The row's bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Fault> {
        let row = schema::encode(self)?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + row.len());
        bytes.extend_from_slice(&MARK);
        bytes.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&record_hash(&row).to_le_bytes());
        bytes.extend_from_slice(&row);
        Ok(bytes)
    }

    /// The row at the beginning of `bytes`, and how long it is; nothing when it is damaged.
    pub(super) fn find(bytes: &[u8]) -> Option<(Self, usize)> {
        let rest = bytes.strip_prefix(&MARK)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (check, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let row = rest.get(..length).filter(|row| record_hash(row).to_le_bytes() == *check)?;
        let row = schema::decode("a row", row).ok()?;
        Some((row, HEAD_BYTES + length))
    }
}

/// A lane's row in `bytes`.
pub(super) fn lane(bytes: &[u8]) -> Result<LaneRow, Fault> {
    match Row::find(bytes) {
        Some((Row::Lane(_, row), _)) => Ok(row),
        _ => Err(Fault::damaged("a lane's row", "other bytes")),
    }
}

/// The spool's row in `bytes`.
pub(super) fn spool(bytes: &[u8]) -> Result<SpoolRow, Fault> {
    match Row::find(bytes) {
        Some((Row::Spool(row), _)) => Ok(row),
        _ => Err(Fault::damaged("a spool's row", "other bytes")),
    }
}

/// The sums of the lanes that are gone in `bytes`.
pub(super) fn retired(bytes: &[u8]) -> Result<RetiredRow, Fault> {
    match Row::find(bytes) {
        Some((Row::Retired(row), _)) => Ok(row),
        _ => Err(Fault::damaged("the row of retired lanes", "other bytes")),
    }
}

/// The position in `bytes`.
pub(super) fn position(bytes: &[u8]) -> Result<PositionRow, Fault> {
    match Row::find(bytes) {
        Some((Row::Position(row), _)) => Ok(row),
        _ => Err(Fault::damaged("a source's position", "other bytes")),
    }
}

/// The tombstone in `bytes`.
pub(super) fn tombstone(bytes: &[u8]) -> Result<Tombstone, Fault> {
    match Row::find(bytes) {
        Some((Row::Tombstone(_, last, row), _)) => Ok(of(last, row)),
        _ => Err(Fault::damaged("a tombstone", "other bytes")),
    }
}

/// The tombstone of a row.
pub(super) fn of(last: Number, row: TombstoneRow) -> Tombstone {
    let TombstoneRow { first, chain, chain_after, reason } = row;
    Tombstone { first, last, chain, chain_after, reason }
}
