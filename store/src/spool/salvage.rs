//! When the newest segment is lost or damaged: what the spool holds is put together from what can be
//! found in all of its files (R7, R10).
//!
//! No file is asked what redb thinks of it. Every row of a lane, of the spool and of a tombstone, and
//! every run that proves whole is taken, and then decided:
//!
//! - A lane has gone as far as the farthest row or run of it says. What is acknowledged in any row is.
//! - Of two runs with the same numbers the one of the later opening counts, and a run counts only if
//!   the lane's chain goes through it: what a crash kept from being committed does not come back.
//! - What lies between is declared damaged.
//!
//! - A lane that was retired and forgotten may be found again: it is empty, or its packets come twice,
//!   and it counts twice among the totals.
//!
//! The runs stay where they are, and are moved on from there (`condemn.rs`); a new segment is begun,
//! and the spool takes a new id in it: what the lost tables said of acknowledged packets may be lost
//! too, and numbers may be used again. Duplicates are possible then, loss is not: of a source's
//! positions the latest that is found counts, and its keys are forgotten. A crash in between changes
//! nothing: all of it is done again.

use std::collections::{BTreeMap, BTreeSet};

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Chain, Lane, Millis, Number, SpoolId};

use super::SpoolOptions;
use super::age::{ClockRow, SpoolClock};
use super::begin::Beginning;
use super::catalog::Piece;
use super::condemn::{self, Condemned};
use super::facts::{RetiredTotals, Tombstone};
use super::keys::Keys;
use super::lanes::{LaneEntry, Lanes};
use super::mark::{self, Row};
use super::open::{Files, Found, broken, io_error};
use super::positions::Positions;
use super::scan::{self, FoundRun};
use super::sealed;
use super::segment::{self, Paths};
use super::shared::Shared;
use crate::disk::{Backend, Disk};
use crate::error::OpenError;
use crate::random;
use crate::schema::{LaneRow, RetiredRow, SpoolRow};

/// Why the newest segment is not what it should be.
pub(super) struct Wreck {
    pub(super) why: String,
    /// The number of the newest segment that was ever begun, as far as is known.
    pub(super) newest: u64,
}

/// What was found in the files.
#[derive(Default)]
struct Finds {
    spool: Option<SpoolRow>,
    retired: RetiredRow,
    positions: Positions,
    rows: BTreeMap<Lane, LaneRow>,
    tombstones: BTreeMap<Lane, Vec<Tombstone>>,
    runs: BTreeMap<Lane, Vec<FoundRun>>,
    /// When the latest of them was stored, by the spool's clock.
    stored: Millis,
    /// Lanes and segments of runs that are damaged.
    damaged: BTreeSet<(Lane, u64)>,
}

/// Puts a spool together.
pub(super) fn salvage(
    disk: &dyn Disk,
    paths: &Paths,
    files: &mut Files,
    wreck: &Wreck,
    options: &SpoolOptions,
) -> Result<Found, OpenError> {
    let mut finds = Finds::default();
    for number in files.numbers.iter().rev() {
        finds.search(disk, paths, *number)?;
    }
    let notes = std::mem::take(&mut files.notes);
    let mut damage = std::mem::take(&mut files.damage);
    damage.push(wreck.why.clone());
    let highest = files.numbers.last().copied().unwrap_or(0);
    let before = finds.spool.map(|row| row.spool).or(files.newest.map(|newest| newest.spool));
    let row = SpoolRow {
        spool: SpoolId(random::bytes("a spool id").map_err(|f| broken(paths.root(), f))?),
        replaces: before,
        opened: finds.spool.map_or(0, |row| row.opened) + 1,
        nonce: u64::from_le_bytes(random::bytes("a nonce").map_err(|f| broken(paths.root(), f))?),
        next_lane: finds.next_lane(),
        segment: highest.max(wreck.newest) + 1,
        ledger: finds.spool.and_then(|row| row.ledger),
    };
    // No time has passed since the last packet was stored, as far as is known.
    let reading = (options.clock.0)();
    let clock_row = ClockRow { shown: finds.stored, reading };
    let clock = SpoolClock::from_row(options.clock.clone(), clock_row);
    let shared = Shared::new(clock, std::mem::take(&mut finds.positions));
    let keys = Keys::new(options.max_bytes, Vec::new());
    let mut condemned = Condemned::new();
    if highest >= wreck.newest {
        condemned.insert(highest, true);
    }
    let mut lanes = Lanes::default();
    lanes.set_retired(RetiredTotals::from_row(finds.retired));
    for number in &files.numbers {
        let path = paths.segment(*number);
        let bytes = disk.size(&path).map_err(|source| io_error(&path, source))?;
        shared.files().catalog.add_segment(*number, bytes, None);
    }
    for (lane, lane_row) in std::mem::take(&mut finds.rows) {
        let runs = finds.runs.remove(&lane).unwrap_or_default();
        let tombstones = finds.tombstones.remove(&lane).unwrap_or_default();
        let (entry, pieces, declared) = put_together(lane, lane_row, runs, tombstones);
        if declared > 0 {
            damage.push(format!("{declared} packets to {} are declared damaged", entry.target));
            let damaged = finds.damaged.iter().filter(|(of, _)| *of == lane);
            condemned.extend(damaged.map(|(_, segment)| (*segment, true)));
        }
        for (segment, piece) in pieces {
            shared.files().catalog.add_piece(segment, lane, piece);
        }
        lanes.insert(lane, entry);
    }
    for (lane, runs) in &finds.runs {
        damage.push(format!("runs of lane {lane} are kept aside: nothing tells its target"));
        condemned.extend(runs.iter().map(|run| (run.segment, true)));
    }
    for number in &files.numbers {
        if shared.files().catalog.pieces_of(*number).next().is_none() {
            // In doubt nothing is removed, even if a crash comes in between.
            condemned.insert(*number, true);
        }
    }
    let positions = shared.positions().clone();
    let beginning = Beginning {
        row,
        clock: shared.clock_row(),
        lanes: &lanes,
        pieces: shared.files().catalog.pieces().collect(),
        condemned: &condemned,
        positions: &positions,
        keys: &keys,
    };
    let active = segment::create(disk, paths, 0, &beginning)
        .map_err(|not_made| broken(&paths.segment(row.segment), not_made.fault))?;
    // From here on the new segment is the truth.
    let wall_ms = shared.clock_row().reading.wall_ms;
    let empty = shared.files().catalog.take_empty();
    for segment in empty {
        condemned.remove(&segment);
        damage.extend(condemn::take(disk, paths, segment, wall_ms));
    }
    let before = before.map_or("an unknown one".to_owned(), |before| before.to_string());
    damage.push(format!(
        "the spool was put together from its files and has a new id, {}, in place of {before}: \
         packets may come twice, and those that are missing are declared",
        row.spool
    ));
    let missing = Vec::new();
    Ok(Found { active, row, lanes, shared, condemned, keys, missing, notes, damage })
}

impl Finds {
    /// Goes through a segment.
    fn search(&mut self, disk: &dyn Disk, paths: &Paths, number: u64) -> Result<(), OpenError> {
        let path = paths.segment(number);
        let refused = |source| io_error(&path, source);
        let file = Backend(disk.open(&path, false).map_err(refused)?);
        let mut runs = Vec::new();
        scan::scan(&file, number, |found| match found {
            scan::Found::Run(run) => runs.push(run),
            scan::Found::Row(Row::Spool(row)) => self.take_spool(row),
            scan::Found::Row(Row::Lane(lane, row)) => self.take_lane(lane, row),
            scan::Found::Row(Row::Retired(row)) if row.lanes > self.retired.lanes => {
                self.retired = row;
            }
            scan::Found::Row(Row::Retired(_)) => {}
            scan::Found::Row(Row::Position(row)) => self.positions.insert(row),
            scan::Found::Row(Row::Tombstone(lane, last, row)) => {
                self.tombstones.entry(lane).or_default().push(mark::of(last, row));
            }
        })
        .map_err(refused)?;
        for run in runs {
            let lane = run.envelope.lane;
            self.stored = self.stored.max(run.envelope.stored);
            // Newer segments were looked through before: what they say is acknowledged is.
            if self.rows.get(&lane).is_some_and(|row| run.envelope.last <= row.acked) {
                continue;
            }
            if run.chains.is_some() {
                self.runs.entry(lane).or_default().push(run);
            } else {
                self.damaged.insert((lane, number));
            }
        }
        Ok(())
    }

    /// The latest opening's row counts; within one the row that names the other as replaced.
    fn take_spool(&mut self, row: SpoolRow) {
        let later = |known: SpoolRow| {
            let replaced = row.opened == known.opened && row.replaces == Some(known.spool);
            row.opened > known.opened || replaced
        };
        if self.spool.is_none_or(later) {
            let next_lane = self.spool.map_or(1, |known| known.next_lane).max(row.next_lane);
            self.spool = Some(SpoolRow { next_lane, ..row });
        }
    }

    /// The row counts that has gone farthest.
    fn take_lane(&mut self, lane: Lane, row: LaneRow) {
        let Some(known) = self.rows.get_mut(&lane) else {
            self.rows.insert(lane, row);
            return;
        };
        let acked = known.acked.max(row.acked);
        let (stored, retiring) = (known.stored.max(row.stored), known.retiring || row.retiring);
        // A burial changes nothing but the totals.
        let gone = |row: &LaneRow| row.totals.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
        if (row.next, row.acked, gone(&row)) > (known.next, known.acked, gone(known)) {
            *known = row;
        }
        (known.acked, known.stored, known.retiring) = (acked, stored, retiring);
    }

    fn next_lane(&self) -> u64 {
        let rows = self.rows.keys().chain(self.runs.keys()).map(|lane| lane.0.saturating_add(1));
        rows.max().unwrap_or(1).max(self.spool.map_or(1, |row| row.next_lane))
    }
}

/// A lane from what was found of it: its entry, what is held of it where, and how many packets had to
/// be declared damaged.
fn put_together(
    lane: Lane,
    row: LaneRow,
    runs: Vec<FoundRun>,
    tombstones: Vec<Tombstone>,
) -> (LaneEntry, Vec<(u64, Piece)>, u64) {
    let mut entry = LaneEntry::from_row(row);
    bury_all(&mut entry, tombstones);
    let runs = on_chain(&entry, lane, sealed::latest(runs));
    if let Some((last, after)) = runs.last().and_then(ends)
        && last >= entry.next
    {
        (entry.next, entry.chain) = (last.next(), after);
    }
    let gaps = gaps(&entry, &runs);
    let declared = gaps.iter().map(Tombstone::count).sum();
    let mut pieces = Vec::new();
    for run in &runs {
        let (first, last) = (run.envelope.first.max(entry.acked.next()), run.envelope.last);
        let whole = Piece { first, last, bytes: run.bytes as u64 };
        let hidden = entry.gone.from(first).take_while(|hidden| hidden.first <= last);
        let visible = hidden.fold(vec![whole], |parts, hidden| {
            parts.iter().flat_map(|part| part.without(hidden)).collect()
        });
        for part in visible {
            entry.sealed_bytes += part.bytes;
            join(&mut pieces, run.segment, part);
        }
        entry.expires = [entry.expires, run.envelope.expires].into_iter().flatten().min();
    }
    for gap in gaps {
        entry.bury(gap);
    }
    (entry, pieces, declared)
}

/// Takes up the tombstones that were found, some of which have become parts of others.
fn bury_all(entry: &mut LaneEntry, mut tombstones: Vec<Tombstone>) {
    tombstones.sort_by_key(|one| (one.first, std::cmp::Reverse(one.last)));
    let mut through = entry.acked;
    for mut tombstone in tombstones {
        if tombstone.last <= through {
            continue;
        }
        if tombstone.first <= through {
            (tombstone.first, tombstone.chain) = (through.next(), None);
        }
        through = tombstone.last;
        if through >= entry.next {
            (entry.next, entry.chain) = (through.next(), tombstone.chain_after);
        }
        entry.bury_again(tombstone);
    }
}

/// The runs that the lane's chain goes through, in order.
fn on_chain(entry: &LaneEntry, lane: Lane, runs: Vec<FoundRun>) -> Vec<FoundRun> {
    let mut kept: Vec<FoundRun> = Vec::new();
    for run in runs {
        let Some((before, after)) = run.chains else { continue };
        if run.envelope.last <= entry.acked {
            continue;
        }
        let is_end = run.envelope.last.next() == entry.next;
        if is_end && after != entry.chain {
            continue;
        }
        if run.envelope.first == Number::FIRST && before != Chain::start(&entry.target, lane) {
            continue;
        }
        if let Some((last, chain)) = kept.last().and_then(ends)
            && last.next() == run.envelope.first
            && chain != before
        {
            let later = kept.last().is_some_and(|one| run.envelope.opened > one.envelope.opened);
            if !later {
                continue;
            }
            kept.pop();
        }
        kept.push(run);
    }
    kept
}

fn ends(run: &FoundRun) -> Option<(Number, Chain)> {
    run.chains.map(|(_, after)| (run.envelope.last, after))
}

/// What neither runs nor tombstones hold of a lane.
fn gaps(entry: &LaneEntry, runs: &[FoundRun]) -> Vec<Tombstone> {
    // Everything that is there, with the chain before it, if it is known, and the one after it.
    let gone = entry.gone.iter().map(|one| (one.first, one.last, one.chain, one.chain_after));
    let held = runs.iter().filter_map(|run| {
        let (before, after) = run.chains?;
        Some((run.envelope.first, run.envelope.last, Some(before), after))
    });
    let mut there: Vec<_> = gone.chain(held).collect();
    there.push((entry.next, entry.next, Some(entry.chain), entry.chain));
    there.sort_by_key(|(first, ..)| *first);
    let (mut gaps, mut through, mut chain) = (Vec::new(), entry.acked, None);
    for (first, last, before, after) in there {
        if first > through.next() {
            let (from, to, reason) = (through.next(), first.before(), SkipReason::Damaged);
            let chain_after = before.unwrap_or(after);
            gaps.push(Tombstone { first: from, last: to, chain, chain_after, reason });
        }
        if last > through {
            (through, chain) = (last, Some(after));
        }
    }
    gaps
}

/// Adds a part to the pieces of a lane.
fn join(pieces: &mut Vec<(u64, Piece)>, segment: u64, part: Piece) {
    match pieces.last_mut() {
        Some((of, last)) if *of == segment && last.last.next() == part.first => {
            last.last = part.last;
            last.bytes += part.bytes;
        }
        _ => pieces.push((segment, part)),
    }
}
