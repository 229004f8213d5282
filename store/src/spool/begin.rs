//! What a segment begins with: who the spool is, its lanes, what the others hold, and what sources
//! have to remember.

use paquebot_protocol::Lane;
use redb::WriteTransaction;

use super::age::ClockRow;
use super::bury;
use super::catalog::Piece;
use super::condemn::Condemned;
use super::keys::Keys;
use super::lanes::Lanes;
use super::mark::Row;
use super::positions::Positions;
use crate::fault::Fault;
use crate::schema::{self, SpoolRow};

/// The beginning of a segment.
pub(super) struct Beginning<'a> {
    pub(super) row: SpoolRow,
    pub(super) clock: ClockRow,
    pub(super) lanes: &'a Lanes,
    /// What the sealed segments hold.
    pub(super) pieces: Vec<(u64, Lane, Piece)>,
    pub(super) condemned: &'a Condemned,
    pub(super) positions: &'a Positions,
    pub(super) keys: &'a Keys,
}

impl Beginning<'_> {
    /// Writes it into a segment that has nothing yet.
    pub(super) fn fill(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
        meta.insert(schema::META_SPOOL, Row::Spool(self.row).encode()?.as_slice())?;
        meta.insert(schema::META_CLOCK, schema::encode(&self.clock)?.as_slice())?;
        meta.insert(schema::META_CONDEMNED, schema::encode(self.condemned)?.as_slice())?;
        let retired = Row::Retired(self.lanes.retired().row());
        meta.insert(schema::META_RETIRED, retired.encode()?.as_slice())?;
        let mut lanes = transaction.open_table(schema::LANES)?;
        let mut tombstones = transaction.open_table(schema::TOMBSTONES)?;
        for (lane, entry) in self.lanes.iter() {
            lanes.insert(lane.0, Row::Lane(lane, entry.row()).encode()?.as_slice())?;
            for tombstone in entry.gone.iter() {
                bury::insert(&mut tombstones, lane, tombstone)?;
            }
        }
        let mut manifest = transaction.open_table(schema::MANIFEST)?;
        for (segment, lane, piece) in &self.pieces {
            manifest.insert((*segment, lane.0, piece.first.0), (piece.last.0, piece.bytes))?;
        }
        self.positions.fill(transaction)?;
        self.keys.fill(transaction)?;
        transaction.open_table(schema::RUNS)?;
        Ok(())
    }
}
