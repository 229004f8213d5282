//! Burying packets: a tombstone takes the place of packets that will never come, in one transaction
//! with the totals that account for them (R3, R8). It is sent in their place, and goes when it is
//! acknowledged.
//!
//! Space comes back at once where a run, or a sealed segment, holds nothing else. Where a run holds
//! other packets too it stays as it is, and the tombstone hides what it covers.

use std::collections::BTreeMap;
use std::mem;

use paquebot_protocol::{Lane, Millis};
use redb::Table;

use super::catalog::Piece;
use super::commit::{Runs, Written};
use super::envelope::{ENVELOPE_BYTES, Envelope};
use super::facts::Tombstone;
use super::lanes::LaneEntry;
use super::mark::Row;
use super::size;
use super::writer::Writer;
use crate::error::AppendError;
use crate::fault::Fault;
use crate::reply::Promise;
use crate::schema;

/// How much of the clock a crash of the machine may lose.
const CLOCK_KEPT_FOR: Millis = Millis(1_000);

/// Packets of a lane that are to be declared gone.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) lane: Lane,
    pub(super) tombstones: Vec<Tombstone>,
    /// Told how many packets it declared.
    pub(super) promise: Promise<u64, AppendError>,
}

impl Writer {
    /// Puts a burial aside for the next commit, which follows at once.
    pub(super) fn bury(&mut self, burial: Burial) {
        match &self.failed {
            Some(fault) => burial.promise.keep(Err(fault.clone().into())),
            None => self.burials.push(burial),
        }
    }

    /// Declares packets gone, after everything else that the transaction does.
    pub(super) fn write_burials(
        &self,
        staged: &[(Lane, Tombstone)],
        runs: &mut Runs<'_>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        let all =
            self.burials.iter().flat_map(|of| of.tombstones.iter().map(|one| (of.lane, *one)));
        self.write_tombstones(staged.iter().copied(), None, written)?;
        self.write_tombstones(all, Some(runs), written)
    }

    /// Writes tombstones. Without `runs` those beneath them stay where they are, for when it turns out
    /// that all of this is not there.
    fn write_tombstones(
        &self,
        all: impl Iterator<Item = (Lane, Tombstone)>,
        mut runs: Option<&mut Runs<'_>>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        let mut by_lane: BTreeMap<Lane, Vec<Tombstone>> = BTreeMap::new();
        for (lane, tombstone) in all {
            by_lane.entry(lane).or_default().push(tombstone);
        }
        for (lane, tombstones) in by_lane {
            let Some(entry) = self.changed(lane, &mut written.lanes) else { continue };
            let (mut buried, mut touched) = (Vec::new(), Vec::new());
            for tombstone in tombstones {
                let Some(added) = entry.bury(tombstone) else { continue };
                if let Some(runs) = runs.as_deref_mut() {
                    written.removed += remove_covered(runs, lane, entry, &added.whole)?;
                }
                touched.extend(added.replaced);
                touched.push(added.whole.last);
                buried.push(tombstone);
            }
            for last in touched {
                match entry.gone.after(last).filter(|standing| standing.last == last) {
                    Some(standing) => written.raised.push((lane, *standing)),
                    None => written.settled.push((lane, last)),
                }
            }
            for (segment, piece, left) in self.cut_pieces(lane, entry, &buried, &written.done) {
                written.done.push((lane, segment, piece));
                written.left.extend(left.into_iter().map(|piece| (lane, segment, piece)));
            }
            written.buried.extend(buried.into_iter().map(|tombstone| (lane, tombstone)));
        }
        Ok(())
    }

    /// The pieces of sealed segments that tombstones cut, but for those that are `done`, each with
    /// what is left of it.
    fn cut_pieces(
        &self,
        lane: Lane,
        entry: &mut LaneEntry,
        tombstones: &[Tombstone],
        done: &[(Lane, u64, Piece)],
    ) -> Vec<(u64, Piece, Vec<Piece>)> {
        let files = self.shared.files();
        let mut cut = Vec::new();
        for (segment, piece) in files.catalog.pieces_from(lane, entry.acked.next()) {
            let left = left_of(piece, tombstones);
            if left == [piece] || done.contains(&(lane, segment, piece)) {
                continue;
            }
            let bytes: u64 = left.iter().map(|piece| piece.bytes).sum();
            entry.sealed_bytes = entry.sealed_bytes.saturating_sub(piece.bytes) + bytes;
            cut.push((segment, piece, left));
        }
        cut
    }

    /// The commit that failed declared packets gone, and may or may not be what is read of its
    /// segment from here on: they are gone for the lane table, and whoever asked hears `unknown`.
    pub(super) fn adopt_burials(&mut self, unknown: &AppendError) {
        for burial in mem::take(&mut self.burials) {
            let lane = burial.lane;
            if let Some(mut entry) = self.lanes.get(lane).cloned() {
                let tombstones = burial.tombstones.into_iter();
                let buried: Vec<_> = tombstones.filter(|one| entry.bury(*one).is_some()).collect();
                let cut = self.cut_pieces(lane, &mut entry, &buried, &[]);
                for (segment, piece, left) in cut {
                    let catalog = &mut self.shared.files().catalog;
                    catalog.remove_piece(lane, piece.last);
                    left.into_iter().for_each(|left| catalog.add_piece(segment, lane, left));
                }
                self.put_lane(lane, entry);
            }
            burial.promise.keep(Err(unknown.clone()));
        }
    }

    /// What was to be buried is, or had its outcome before.
    pub(super) fn keep_burials(&mut self, buried: &[(Lane, Tombstone)]) {
        for burial in mem::take(&mut self.burials) {
            let declared = |tombstone: &&Tombstone| buried.contains(&(burial.lane, **tombstone));
            let packets = burial.tombstones.iter().filter(declared).map(Tombstone::count).sum();
            burial.promise.keep(Ok(packets));
        }
    }

    /// What was to be buried is not, or perhaps not.
    pub(super) fn refuse_burials(&mut self, error: &AppendError) {
        for burial in mem::take(&mut self.burials) {
            burial.promise.keep(Err(error.clone()));
        }
    }

    /// Writes the clock down, when it was not for a while.
    pub(super) fn write_clock(&self, transaction: &redb::WriteTransaction) -> Result<(), Fault> {
        if self.clock_is_kept() {
            return Ok(());
        }
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_CLOCK, schema::encode(&self.shared.clock_row())?.as_slice())?;
        Ok(())
    }

    /// Whether what is written down of the clock is recent enough.
    pub(super) fn clock_is_kept(&self) -> bool {
        let shown = self.shared.clock_row().shown;
        shown.since(self.clock_kept) < CLOCK_KEPT_FOR && self.clock_kept <= shown
    }
}

/// A tombstone's row.
pub(super) fn insert(
    tombstones: &mut Table<'_, (u64, u64), &'static [u8]>,
    lane: Lane,
    tombstone: &Tombstone,
) -> Result<(), Fault> {
    let row = Row::tombstone(lane, tombstone).encode()?;
    tombstones.insert((lane.0, tombstone.last.0), row.as_slice())?;
    Ok(())
}

/// Removes the runs of the active segment that hold nothing but what `tombstone` covers or what is
/// acknowledged; gives what they took of the file.
fn remove_covered(
    runs: &mut Runs<'_>,
    lane: Lane,
    entry: &LaneEntry,
    tombstone: &Tombstone,
) -> Result<u64, Fault> {
    let (first, last) = (tombstone.first, tombstone.last);
    let mut removed = 0;
    runs.retain_in((lane.0, first.0)..=(lane.0, last.0), |_, value| {
        let begins = Envelope::open(value).map(|(envelope, _)| envelope.first);
        let nothing_else =
            first <= entry.acked.next() || begins.is_some_and(|begins| begins >= first);
        if nothing_else {
            removed += size::stored_bytes(value.len().saturating_sub(ENVELOPE_BYTES));
        }
        !nothing_else
    })?;
    Ok(removed)
}

/// What is left of a piece beside tombstones.
fn left_of(piece: Piece, tombstones: &[Tombstone]) -> Vec<Piece> {
    tombstones.iter().fold(vec![piece], |parts, tombstone| {
        parts.iter().flat_map(|part| part.without(tombstone)).collect()
    })
}
