//! Opening a spool: who it is, what it holds, and what a crash left behind.
//!
//! The segment with the highest number is the truth: it was whole before it had its name. It counts
//! the opening and draws a nonce (R7), durably, before anything else is done. What it does not know
//! of is not needed: temporary files, and segments whose last packet was acknowledged. What it knows
//! of must be there. Nothing else is removed, and nothing is repaired on doubt (R10).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

use paquebot_protocol::{Lane, Number, SpoolId};
use redb::{ReadableDatabase, ReadableTable};

use super::age::SpoolClock;
use super::bury;
use super::catalog::Piece;
use super::envelope::{ENVELOPE_BYTES, Envelope};
use super::facts::{Identity, Opened};
use super::full::Parked;
use super::lanes::{LaneEntry, Lanes};
use super::read::{Ask, Reader};
use super::sealed::SealedSegments;
use super::segment::{self, Active, Paths};
use super::shared::Shared;
use super::stage::Stage;
use super::writer::Writer;
use super::{OnCommit, SpoolOptions, SystemClock, size};
use crate::clock;
use crate::disk::{self, DirLock, Disk};
use crate::error::OpenError;
use crate::fault::Fault;
use crate::random;
use crate::schema::{self, LaneRow, SpoolRow};

/// What the directory held.
struct Found {
    active: Active,
    row: SpoolRow,
    lanes: Lanes,
    shared: Shared,
    notes: Vec<String>,
}

/// Opens the spool in `options.dir`, or makes it; gives the writer, not yet running.
pub(super) fn open(
    options: SpoolOptions,
    disk: Arc<dyn Disk>,
    on_commit: OnCommit,
    reader: Sender<Ask>,
) -> Result<(Writer, Opened), OpenError> {
    let paths = Paths::new(&options.dir);
    let lock = prepare(&*disk, &paths)?;
    let (numbers, notes) = numbers(&*disk, &paths)?;
    let system = options.clock.clone();
    let found = match numbers.last() {
        None => make(&*disk, &paths, system, notes)?,
        Some(number) => read(&*disk, &paths, *number, &numbers, system, notes)?,
    };
    let Found { active, row, lanes, shared, notes } = found;
    let SpoolRow { spool, replaces, opened, nonce, ledger, .. } = row;
    let identity = Identity { spool, replaces, opened, nonce, ledger };
    shared.files().active = Some(Arc::clone(&active.db));
    let shared = Arc::new(shared);
    let looking = Reader {
        shared: Arc::clone(&shared),
        orders: Weak::new(),
        sealed: SealedSegments::new(Arc::clone(&disk), paths.clone()),
    };
    let mut writer = Writer {
        next_segment: active.number + 1,
        clock_kept: shared.clock_row().shown,
        options,
        disk,
        paths,
        shared,
        on_commit,
        identity,
        next_lane: row.next_lane,
        lanes: Lanes::default(),
        pending_packets: 0,
        pending_bytes: 0,
        active,
        stage: Stage::default(),
        drops: BTreeMap::new(),
        drops_since: None,
        parked: Parked::default(),
        policies: HashMap::new(),
        looking,
        burials: Vec::new(),
        aging: BTreeSet::new(),
        sweeping: BTreeSet::new(),
        moved: None,
        moving: None,
        immovable: Vec::new(),
        failed: None,
        ticked: clock::now(),
        reader,
        reading: None,
        lock,
    };
    for (lane, entry) in lanes.iter() {
        writer.put_lane(lane, entry.clone());
    }
    writer.active.base = writer.tables_bytes();
    let base = writer.active.base;
    writer.active.count(base, 0);
    writer.publish_status();
    let lanes = writer.shared.lanes().values().map(|known| known.state.clone()).collect();
    Ok((writer, Opened { identity, lanes, notes }))
}

/// Makes the directories and takes the lock.
fn prepare(disk: &dyn Disk, paths: &Paths) -> Result<DirLock, OpenError> {
    for dir in [paths.root(), &paths.segments(), &paths.quarantine()] {
        disk::make_dir(disk, dir).map_err(|source| io_error(dir, source))?;
    }
    disk::lock_dir(disk, paths.root(), &paths.lock())
}

/// The numbers of the segments, in order; half-made ones are removed.
fn numbers(disk: &dyn Disk, paths: &Paths) -> Result<(BTreeSet<u64>, Vec<String>), OpenError> {
    let dir = paths.segments();
    let (mut numbers, mut notes) = (BTreeSet::new(), Vec::new());
    for name in disk.list(&dir).map_err(|source| io_error(&dir, source))? {
        if let Some(number) = Paths::number(&name) {
            numbers.insert(number);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "tmp") {
            let path = dir.join(&name);
            disk.remove(&path).map_err(|source| io_error(&path, source))?;
            notes.push(format!("removed {name}, a segment that was never finished"));
        }
    }
    Ok((numbers, notes))
}

/// A new spool.
fn make(
    disk: &dyn Disk,
    paths: &Paths,
    system: SystemClock,
    notes: Vec<String>,
) -> Result<Found, OpenError> {
    let clock = SpoolClock::new(system);
    let row = SpoolRow {
        spool: SpoolId(random::bytes("a spool id").map_err(no_random)?),
        replaces: None,
        opened: 1,
        nonce: u64::from_le_bytes(random::bytes("a nonce").map_err(no_random)?),
        next_lane: 1,
        segment: 1,
        ledger: None,
    };
    let fill = |transaction: &redb::WriteTransaction| {
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
        meta.insert(schema::META_SPOOL, schema::encode(&row)?.as_slice())?;
        meta.insert(schema::META_CLOCK, schema::encode(&clock.row())?.as_slice())?;
        transaction.open_table(schema::LANES)?;
        transaction.open_table(schema::MANIFEST)?;
        transaction.open_table(schema::RUNS)?;
        transaction.open_table(schema::TOMBSTONES)?;
        Ok(())
    };
    let active = segment::create(disk, paths, 1, 0, fill)
        .map_err(|not_made| damaged(&paths.segment(1), not_made.fault))?;
    let (lanes, shared) = (Lanes::default(), Shared::new(clock));
    Ok(Found { active, row, lanes, shared, notes })
}

/// A spool that is there, with `number` its active segment.
fn read(
    disk: &dyn Disk,
    paths: &Paths,
    number: u64,
    numbers: &BTreeSet<u64>,
    system: SystemClock,
    notes: Vec<String>,
) -> Result<Found, OpenError> {
    let path = paths.segment(number);
    let active = segment::open_active(disk, paths, number).map_err(|f| damaged(&path, f))?;
    check_format(&active, &path)?;
    let (row, clock) = begin(&active, system).map_err(|fault| damaged(&path, fault))?;
    let lanes = read_lanes(&active).map_err(|fault| damaged(&path, fault))?;
    let manifest = read_manifest(&active).map_err(|fault| damaged(&path, fault))?;
    let mut found = Found { active, row, lanes, shared: Shared::new(clock), notes };
    found.read_tombstones().map_err(|fault| damaged(&path, fault))?;
    found.read_runs().map_err(|fault| damaged(&path, fault))?;
    found.take_manifest(disk, paths, manifest)?;
    found.remove_unneeded(disk, paths, numbers)?;
    Ok(found)
}

fn check_format(active: &Active, path: &Path) -> Result<(), OpenError> {
    let format = || -> Result<u64, Fault> {
        let meta = active.db.begin_read()?.open_table(schema::META)?;
        let format = ReadableTable::get(&meta, schema::META_FORMAT)?;
        let format = format.ok_or_else(|| Fault::damaged("a format", "none"))?;
        schema::decode_number("a format", format.value())
    };
    match format().map_err(|fault| damaged(path, fault))? {
        found if found > schema::FORMAT => {
            Err(OpenError::TooNew { path: path.to_owned(), expected: schema::FORMAT, found })
        }
        _ => Ok(()),
    }
}

/// Counts the opening, draws its nonce, and lets the clock go on.
fn begin(active: &Active, system: SystemClock) -> Result<(SpoolRow, SpoolClock), Fault> {
    let transaction = active.db.begin_write()?;
    let begun = {
        let mut meta = transaction.open_table(schema::META)?;
        let mut row: SpoolRow = {
            let row = meta.get(schema::META_SPOOL)?;
            let row = row.ok_or_else(|| Fault::damaged("a spool's row", "none"))?;
            schema::decode("a spool's row", row.value())?
        };
        if row.segment != active.number {
            return Err(Fault::damaged(
                &format!("segment {}", active.number),
                format!("segment {} under its name", row.segment),
            ));
        }
        row.opened += 1;
        row.nonce = u64::from_le_bytes(random::bytes("a nonce")?);
        meta.insert(schema::META_SPOOL, schema::encode(&row)?.as_slice())?;
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

fn read_lanes(active: &Active) -> Result<Lanes, Fault> {
    let mut lanes = Lanes::default();
    let table = active.db.begin_read()?.open_table(schema::LANES)?;
    for row in ReadableTable::range::<u64>(&table, ..)? {
        let (lane, row) = row?;
        let row: LaneRow = schema::decode("a lane's row", row.value())?;
        lanes.insert(Lane(lane.value()), LaneEntry::from_row(row));
    }
    Ok(lanes)
}

fn read_manifest(active: &Active) -> Result<Vec<(u64, Lane, Piece)>, Fault> {
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

impl Found {
    /// Takes up the tombstones.
    fn read_tombstones(&mut self) -> Result<(), Fault> {
        let table = self.active.db.begin_read()?.open_table(schema::TOMBSTONES)?;
        for row in ReadableTable::range::<(u64, u64)>(&table, ..)? {
            let (key, value) = row?;
            let (lane, last) = key.value();
            let tombstone = bury::read(last, value.value())?;
            if let Some(entry) = self.lanes.get_mut(Lane(lane)) {
                entry.bury_again(tombstone);
            }
        }
        Ok(())
    }

    /// Goes through the runs of the active segment: which packets it holds, and how full it is.
    fn read_runs(&mut self) -> Result<(), Fault> {
        let table = self.active.db.begin_read()?.open_table(schema::RUNS)?;
        for row in ReadableTable::range::<(u64, u64)>(&table, ..)? {
            let (key, value) = row?;
            let (lane, last) = key.value();
            let bytes = value.value().len().saturating_sub(ENVELOPE_BYTES);
            let entry = self.lanes.get_mut(Lane(lane));
            let entry = entry.ok_or_else(|| Fault::damaged("a lane's row", "runs without one"))?;
            // A run whose envelope is damaged is reported to whoever reads it; its place is known.
            let first = Envelope::open(value.value())
                .map_or(Number(last), |(envelope, _)| envelope.first.min(Number(last)));
            let first = first.max(entry.acked.next());
            if first <= Number(last) {
                let run = Piece { first, last: Number(last), bytes: bytes as u64 };
                entry.add_visible(run);
            }
            self.active.count(size::stored_bytes(bytes), 0);
        }
        Ok(())
    }

    /// Takes up what the sealed segments hold; each that holds something must be there.
    fn take_manifest(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        manifest: Vec<(u64, Lane, Piece)>,
    ) -> Result<(), OpenError> {
        let mut missing: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let catalog = &mut self.shared.files().catalog;
        for (segment, lane, piece) in manifest {
            let Some(entry) = self.lanes.get_mut(lane).filter(|entry| piece.last > entry.acked)
            else {
                continue;
            };
            if catalog.segment_mut(segment).is_none() {
                let Ok(bytes) = disk.size(&paths.segment(segment)) else {
                    let from = piece.first.max(entry.acked.next());
                    let target = &entry.target;
                    let packets = format!("{from} to {} of lane {lane} ({target})", piece.last);
                    missing.entry(segment).or_default().push(packets);
                    continue;
                };
                catalog.add_segment(segment, bytes, None);
            }
            entry.sealed_bytes += piece.bytes;
            catalog.add_piece(segment, lane, piece);
        }
        match missing.pop_first() {
            None => Ok(()),
            Some((segment, packets)) => {
                let packets = format!("packets {}", packets.join(", "));
                Err(OpenError::MissingSegment { path: paths.segment(segment), packets })
            }
        }
    }

    /// Removes the segments of which everything was acknowledged.
    fn remove_unneeded(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        numbers: &BTreeSet<u64>,
    ) -> Result<(), OpenError> {
        let catalog = &mut self.shared.files().catalog;
        let active = self.active.number;
        for number in numbers.iter().filter(|number| **number != active) {
            if catalog.segment_mut(*number).is_none() {
                let path = paths.segment(*number);
                disk.remove(&path).map_err(|source| io_error(&path, source))?;
                let note = format!("removed segment {number}: all of it was acknowledged");
                self.notes.push(note);
            }
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stands in a map_err")]
fn no_random(fault: Fault) -> OpenError {
    OpenError::System { expected: "random bytes", found: fault.to_string() }
}

fn io_error(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

#[expect(clippy::needless_pass_by_value, reason = "stands in map_errs")]
fn damaged(path: &Path, fault: Fault) -> OpenError {
    OpenError::Damaged { path: PathBuf::from(path), found: fault.to_string() }
}
