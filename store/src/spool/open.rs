//! Opening a spool: who it is, what it holds, and what a crash or damage left behind.
//!
//! The segment with the highest number is the truth: it was whole before it had its name. It counts
//! the opening and draws a nonce (R7), durably, before anything else is done. What it does not know
//! of is not needed: temporary files, and segments whose last packet was acknowledged. When it is
//! lost or damaged, what it knew is put together from what can be found (`salvage.rs`). Nothing else
//! is removed (R10).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

use paquebot_protocol::{Lane, Number, SpoolId};

use super::age::SpoolClock;
use super::begin::Beginning;
use super::catalog::Piece;
use super::condemn::Condemned;
use super::facts::{Identity, Opened};
use super::full::Parked;
use super::keys::Keys;
use super::lanes::Lanes;
use super::made_for;
use super::newest::{self, Newest};
use super::positions::Positions;
use super::quarantine;
use super::read::{Ask, Reader};
use super::salvage::{self, Wreck};
use super::sealed::SealedSegments;
use super::segment::{self, Active, Paths, Touch};
use super::shared::Shared;
use super::stage::Stage;
use super::tables;
use super::writer::Writer;
use super::{OnCommit, SpoolOptions};
use crate::clock;
use crate::counts::Rides;
use crate::disk::{self, DirLock, Disk};
use crate::error::OpenError;
use crate::fault::Fault;
use crate::random;
use crate::schema::{self, SpoolRow};

/// What the directory held.
pub(super) struct Found {
    pub(super) active: Active,
    pub(super) row: SpoolRow,
    pub(super) lanes: Lanes,
    pub(super) shared: Shared,
    pub(super) condemned: Condemned,
    pub(super) keys: Keys,
    /// Packets whose segment is not there.
    pub(super) missing: Vec<(Lane, Number)>,
    pub(super) notes: Vec<String>,
    pub(super) damage: Vec<String>,
}

/// The files that the directory has.
pub(super) struct Files {
    /// The segments, by number.
    pub(super) numbers: BTreeSet<u64>,
    /// Those whose fsync failed.
    pub(super) failed: BTreeSet<u64>,
    pub(super) newest: Option<Newest>,
    pub(super) notes: Vec<String>,
    pub(super) damage: Vec<String>,
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
    let mut files = Files::list(&*disk, &paths)?;
    let distrusted = files.numbers.last().is_some_and(|number| files.failed.contains(number));
    let touch = if distrusted { Touch::Memory } else { Touch::File };
    let found = find(&*disk, &paths, &mut files, touch, &options)?;
    let Found { active, row, lanes, shared, condemned, keys, missing, mut notes, mut damage } =
        found;
    let SpoolRow { spool, replaces, opened, nonce, next_lane, ledger, .. } = row;
    let made_for = made_for::find(&*disk, &paths, options.client.as_ref(), &mut notes);
    let identity = Identity { spool, replaces, opened, nonce, ledger };
    shared.files().active = Some(Arc::clone(&active.db));
    let shared = Arc::new(shared);
    let sealed = SealedSegments::new(Arc::clone(&disk), paths.clone());
    let looking = Reader::new(Arc::clone(&shared), Weak::new(), sealed);
    let mut writer = Writer {
        next_segment: active.number + 1,
        clock_kept: shared.clock_row().shown,
        options,
        disk,
        paths,
        shared,
        on_commit,
        identity,
        next_lane,
        lanes: Lanes::default(),
        keys,
        pending_packets: 0,
        pending_bytes: 0,
        active,
        stage: Stage::default(),
        drops: BTreeMap::new(),
        drops_since: None,
        forgetting: BTreeSet::new(),
        looked_for_idle: clock::now(),
        parked: Parked::default(),
        policies: HashMap::new(),
        refused: None,
        usual_bytes: 0,
        looking,
        burials: Vec::new(),
        aging: BTreeSet::new(),
        sweeping: BTreeSet::new(),
        moved: None,
        moving: None,
        immovable: Vec::new(),
        condemned,
        condemned_anew: false,
        rides: Rides::new(),
        notes: Vec::new(),
        failed: None,
        ticked: clock::now(),
        reader,
        reading: None,
        lock,
    };
    let retired = lanes.retired();
    writer.lanes.set_retired(retired);
    for (lane, entry) in lanes.iter() {
        writer.put_lane(lane, entry.clone());
    }
    writer.active.base = writer.tables_bytes();
    let base = writer.active.base;
    writer.active.count(base, 0);
    if distrusted {
        damage.push(writer.begin_anew());
    }
    for (lane, at) in missing {
        let _ = writer.reader.send(Ask::Verify { lane, at });
    }
    writer.shared.status().quarantine.files = quarantine::count(&*writer.disk, &writer.paths);
    writer.publish_status();
    let lanes = writer.shared.lane_states();
    let letters = writer.letters();
    damage.extend(adopted(&*writer.disk, &writer.paths));
    Ok((writer, Opened { identity, made_for, lanes, letters, retired, notes, damage }))
}

impl Writer {
    /// The active segment is one whose fsync failed when it was last written to.
    fn begin_anew(&mut self) -> String {
        let number = self.active.number;
        self.condemn(number, false);
        if let Err(fault) = self.rotate() {
            self.fail(fault);
        }
        let _ = self.disk.remove(&self.paths.failed(number));
        format!(
            "segment {number} is not trusted, because an fsync of it failed; it is moved forward"
        )
    }
}

/// Takes up what there is.
fn find(
    disk: &dyn Disk,
    paths: &Paths,
    files: &mut Files,
    touch: Touch,
    options: &SpoolOptions,
) -> Result<Found, OpenError> {
    let newest = files.newest.map_or(0, |newest| newest.segment);
    let why = match files.numbers.last().copied() {
        None if newest == 0 => return make(disk, paths, options),
        None => format!("all segments up to number {newest} are gone"),
        Some(number) if number < newest => {
            format!("the newest segment, number {newest}, is gone")
        }
        Some(number) => match read(disk, paths, number, files, touch, options) {
            Ok(found) => return found,
            Err(Fault::Damaged(found)) => {
                format!("the newest segment, number {number}, is damaged: {found}")
            }
            Err(fault) => return Err(broken(&paths.segment(number), fault)),
        },
    };
    salvage::salvage(disk, paths, files, &Wreck { why, newest }, options)
}

/// Makes the directories and takes the lock.
fn prepare(disk: &dyn Disk, paths: &Paths) -> Result<DirLock, OpenError> {
    for dir in [paths.root(), &paths.segments(), &paths.quarantine()] {
        disk::make_dir(disk, dir).map_err(|source| io_error(dir, source))?;
    }
    disk::lock_dir(disk, paths.root(), &paths.lock())
}

impl Files {
    /// Looks what there is; half-made segments are removed.
    fn list(disk: &dyn Disk, paths: &Paths) -> Result<Self, OpenError> {
        let dir = paths.segments();
        let (mut numbers, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let (mut notes, mut damage) = (Vec::new(), Vec::new());
        for name in disk.list(&dir).map_err(|source| io_error(&dir, source))? {
            let path = dir.join(&name);
            let refused = |source| io_error(&path, source);
            if let Some(number) = Paths::number(&name) {
                numbers.insert(number);
            } else if let Some(number) = name.strip_suffix(".failed") {
                failed.extend(number.parse::<u64>());
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "tmp") {
                disk.remove(&path).map_err(refused)?;
                notes.push(format!("removed {name}, which was never finished"));
            }
        }
        let newest = match newest::read(disk, paths) {
            Ok(newest) => newest,
            Err(Fault::Damaged(found)) => {
                let path = paths.newest();
                quarantine::take(disk, paths, &path).map_err(|source| io_error(&path, source))?;
                damage.push(format!("{}: {found}; it is written anew", path.display()));
                None
            }
            Err(fault) => return Err(broken(&paths.newest(), fault)),
        };
        tables::too_new(&paths.newest(), newest.map_or(0, |newest| newest.format))?;
        Ok(Self { numbers, failed, newest, notes, damage })
    }
}

/// A new spool.
fn make(disk: &dyn Disk, paths: &Paths, options: &SpoolOptions) -> Result<Found, OpenError> {
    let (clock, lanes, condemned) =
        (SpoolClock::new(options.clock.clone()), Lanes::default(), Condemned::default());
    let (positions, keys) = (Positions::default(), Keys::new(options.max_bytes, Vec::new()));
    let row = SpoolRow {
        spool: SpoolId(random::bytes("a spool id").map_err(no_random)?),
        replaces: None,
        opened: 1,
        nonce: u64::from_le_bytes(random::bytes("a nonce").map_err(no_random)?),
        next_lane: 1,
        segment: 1,
        ledger: None,
    };
    let beginning = Beginning {
        row,
        clock: clock.row(),
        lanes: &lanes,
        pieces: Vec::new(),
        condemned: &condemned,
        positions: &positions,
        keys: &keys,
    };
    let active = segment::create(disk, paths, 0, &beginning)
        .map_err(|not_made| broken(&paths.segment(1), not_made.fault))?;
    let (shared, missing) = (Shared::new(clock, positions), Vec::new());
    let (notes, damage) = (Vec::new(), Vec::new());
    Ok(Found { active, row, lanes, shared, condemned, keys, missing, notes, damage })
}

/// A spool that is there, with `number` its active segment. Damage of that is the outer error.
fn read(
    disk: &dyn Disk,
    paths: &Paths,
    number: u64,
    files: &mut Files,
    touch: Touch,
    options: &SpoolOptions,
) -> Result<Result<Found, OpenError>, Fault> {
    let path = paths.segment(number);
    let mut active = segment::open_active(disk, paths, number, touch)?;
    if let Err(too_new) = tables::check_format(&active, &path)? {
        return Ok(Err(too_new));
    }
    let mut lanes = tables::lanes(&active)?;
    let (manifest, condemned) = (tables::manifest(&active)?, tables::condemned(&active)?);
    let (positions, keys) =
        (tables::positions(&active)?, tables::keys(&active, options.max_bytes)?);
    tables::runs(&mut active, &mut lanes)?;
    let (row, clock) = tables::begin(&active, options.clock.clone())?;
    if touch == Touch::File && files.newest.is_none_or(|newest| newest.segment != number) {
        // A crash cut short what made this segment, or somebody removed the file.
        let newest = Newest { format: schema::FORMAT, segment: number, spool: row.spool };
        newest::write(disk, paths, newest)?;
    }
    let (missing, notes) = (Vec::new(), std::mem::take(&mut files.notes));
    let damage = std::mem::take(&mut files.damage);
    let shared = Shared::new(clock, positions);
    let mut found = Found { active, row, lanes, shared, condemned, keys, missing, notes, damage };
    let taken = found
        .take_manifest(disk, paths, manifest)
        .and_then(|()| found.remove_unneeded(disk, paths, &files.numbers));
    Ok(taken.map(|()| found))
}

impl Found {
    /// Takes up what the sealed segments hold.
    fn take_manifest(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        manifest: Vec<(u64, Lane, Piece)>,
    ) -> Result<(), OpenError> {
        let catalog = &mut self.shared.files().catalog;
        let mut gone = BTreeSet::new();
        for (segment, lane, piece) in manifest {
            let Some(entry) = self.lanes.get_mut(lane).filter(|entry| piece.last > entry.acked)
            else {
                continue;
            };
            if catalog.segment_mut(segment).is_none() {
                let path = paths.segment(segment);
                let bytes = match disk.size(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        gone.insert(segment);
                        self.damage.push(format!("segment {segment} is gone"));
                        0
                    }
                    size => size.map_err(|source| io_error(&path, source))?,
                };
                catalog.add_segment(segment, bytes, None);
            }
            if gone.contains(&segment) {
                let first = piece.first.max(entry.acked.next());
                self.missing.push((lane, first));
            }
            entry.sealed_bytes += piece.bytes;
            catalog.add_piece(segment, lane, piece);
        }
        Ok(())
    }

    /// Removes the segments of which everything was acknowledged; those that are damaged go into the
    /// quarantine.
    fn remove_unneeded(
        &mut self,
        disk: &dyn Disk,
        paths: &Paths,
        numbers: &BTreeSet<u64>,
    ) -> Result<(), OpenError> {
        let wall_ms = self.shared.clock_row().reading.wall_ms;
        let catalog = &mut self.shared.files().catalog;
        let active = self.active.number;
        for number in numbers.iter().filter(|number| **number != active) {
            if catalog.segment_mut(*number).is_some() {
                continue;
            }
            if self.condemned.remove(number) == Some(true) {
                self.damage.extend(super::condemn::take(disk, paths, *number, wall_ms));
                continue;
            }
            let path = paths.segment(*number);
            disk.remove(&path).map_err(|source| io_error(&path, source))?;
            let note = format!("removed segment {number}: all of it was acknowledged");
            self.notes.push(note);
        }
        self.condemned.retain(|number, _| catalog.segment_mut(*number).is_some());
        Ok(())
    }
}

/// Says who took this spool's packets over, if somebody did while it was not running.
fn adopted(disk: &dyn Disk, paths: &Paths) -> Option<String> {
    let file = disk.open_to_read(&paths.root().join("adopted")).ok()?;
    let mut told = vec![0; usize::try_from(file.len().ok()?.min(4096)).ok()?];
    file.read(0, &mut told).ok()?;
    let told = String::from_utf8_lossy(&told).trim().to_owned();
    Some(format!("packets of this spool were adopted elsewhere and come twice: {told}"))
}

#[expect(clippy::needless_pass_by_value, reason = "stands in a map_err")]
fn no_random(fault: Fault) -> OpenError {
    OpenError::System { expected: "random bytes", found: fault.to_string() }
}

pub(super) fn io_error(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

/// Something is in the way that is not damage.
pub(super) fn broken(path: &Path, fault: Fault) -> OpenError {
    io_error(path, std::io::Error::other(fault))
}
