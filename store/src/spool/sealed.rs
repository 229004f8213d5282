//! The sealed segments that are open for reading: an index of the runs that each holds, made by
//! going through its bytes once, so that no read depends on the tables in it (R10).
//!
//! A file that is not there is read as one that holds nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use paquebot_protocol::{Lane, Number, Run};
use redb::StorageBackend;

use super::catalog::Piece;
use super::envelope::{ENVELOPE_BYTES, Envelope};
use super::scan::{self, Found, FoundRun};
use super::segment::Paths;
use super::shared::Shared;
use crate::disk::{Backend, Disk};
use crate::fault::Fault;

/// How many are kept open: a lane with a packet now and then stands in all of them, and to go through
/// one takes about a millisecond a MiB.
const OPEN_MAX: usize = 64;

/// How many runs their indexes may name, over all of them: some 25 MiB of memory.
const RUNS_MAX: usize = 400_000;

/// Opens sealed segments when they are needed.
pub(super) struct SealedSegments {
    disk: Arc<dyn Disk>,
    paths: Paths,
    /// The one used last stands last.
    open: VecDeque<(u64, Sealed)>,
}

/// A sealed segment that is open.
pub(super) struct Sealed {
    segment: u64,
    /// Nothing when there is no such file.
    file: Option<Backend>,
    /// Its runs, by lane and last number; they never overlap.
    runs: BTreeMap<(Lane, Number), Place>,
    /// Runs whose envelope is whole and whose bytes are not.
    damaged: Vec<FoundRun>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: Number,
    offset: u64,
    bytes: u32,
}

impl SealedSegments {
    /// None is open yet.
    pub(super) fn new(disk: Arc<dyn Disk>, paths: Paths) -> Self {
        Self { disk, paths, open: VecDeque::new() }
    }

    /// Lets go of a segment that was removed.
    pub(super) fn forget(&mut self, segment: u64) {
        self.open.retain(|(number, _)| *number != segment);
    }

    /// Lets go of all segments.
    pub(super) fn forget_all(&mut self) {
        self.open.clear();
    }

    /// The disk that they lie on, and where.
    pub(super) fn place(&self) -> (&dyn Disk, &Paths) {
        (&*self.disk, &self.paths)
    }

    /// A sealed segment.
    pub(super) fn get(&mut self, segment: u64, shared: &Shared) -> Result<&mut Sealed, Fault> {
        let place = self.open.iter().position(|(number, _)| *number == segment);
        let open = match place.and_then(|place| self.open.remove(place)) {
            Some((_, sealed)) => sealed,
            None => {
                let pieces: Vec<_> = shared.files().catalog.pieces_of(segment).collect();
                Sealed::open(&*self.disk, &self.paths, segment, &pieces)?
            }
        };
        let named = |open: &VecDeque<(u64, Sealed)>| {
            open.iter().map(|(_, sealed)| sealed.runs.len()).sum::<usize>()
        };
        while self.open.len() >= OPEN_MAX || named(&self.open) > RUNS_MAX {
            if self.open.pop_front().is_none() {
                break;
            }
        }
        self.open.push_back((segment, open));
        let (_, sealed) = self.open.back_mut().ok_or_else(|| Fault::Broken("no segment".into()))?;
        Ok(sealed)
    }

    /// How long a segment's file is.
    pub(super) fn file_bytes(&self, segment: u64) -> io::Result<u64> {
        self.disk.size(&self.paths.segment(segment))
    }
}

impl Sealed {
    /// Goes through a segment for what `pieces` say of it.
    fn open(
        disk: &dyn Disk,
        paths: &Paths,
        segment: u64,
        pieces: &[(Lane, Piece)],
    ) -> Result<Self, Fault> {
        let none = || Self { segment, file: None, runs: BTreeMap::new(), damaged: Vec::new() };
        let file = match disk.open(&paths.segment(segment), false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
            opened => Backend(opened?),
        };
        let mut wanted: BTreeMap<(Lane, Number), Number> = BTreeMap::new();
        wanted.extend(pieces.iter().map(|(lane, piece)| ((*lane, piece.last), piece.first)));
        let is_wanted = |envelope: &Envelope| {
            let from = (envelope.lane, envelope.first);
            let piece = wanted.range(from..=(envelope.lane, Number(u64::MAX))).next();
            piece.is_some_and(|(_, first)| *first <= envelope.last)
        };
        let mut found = Vec::new();
        scan::scan(&file, segment, |one| match one {
            Found::Run(run) if is_wanted(&run.envelope) => found.push(run),
            Found::Run(_) | Found::Row(_) => {}
        })?;
        let (whole, damaged) = found.into_iter().partition(|run| run.chains.is_some());
        let runs = latest(whole).into_iter().map(|run| {
            let Envelope { lane, first, last, .. } = run.envelope;
            let bytes = u32::try_from(run.bytes).unwrap_or(u32::MAX);
            ((lane, last), Place { first, offset: run.offset, bytes })
        });
        Ok(Self { segment, file: Some(file), runs: runs.collect(), damaged })
    }

    /// Verified runs from the one with `from` on, without a gap, up to `through`, about `bytes_max`
    /// but at least one; none when `from` is not there. The last one is cut when it goes on.
    pub(super) fn runs(
        &mut self,
        lane: Lane,
        from: Number,
        through: Number,
        bytes_max: usize,
    ) -> Result<Vec<(Envelope, Run)>, Fault> {
        let (mut runs, mut bytes, mut next) = (Vec::new(), 0, from);
        while next <= through {
            let at_or_after = (lane, next)..=(lane, Number(u64::MAX));
            let Some((key, place)) = self.runs.range(at_or_after).next() else { break };
            let (key, place) = (*key, *place);
            if place.first > next {
                break;
            }
            let Some((envelope, run)) = self.read(place)? else {
                // It was whole when the index was made.
                self.spoil(key, place)?;
                break;
            };
            let run = if run.last() > through { run.part(run.first(), through) } else { Some(run) };
            let Some(run) = run else { break };
            next = run.last().next();
            bytes += run.encoded().len();
            runs.push((envelope, run));
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(runs)
    }

    /// The first number at or after `from` that is there.
    pub(super) fn first_from(&self, lane: Lane, from: Number) -> Option<Number> {
        let place = self.runs.range((lane, from)..=(lane, Number(u64::MAX))).next();
        place.map(|(_, place)| place.first.max(from))
    }

    /// The damaged runs that claim some of `first..=last` of a lane, each with its bytes.
    pub(super) fn damaged(
        &self,
        lane: Lane,
        first: Number,
        last: Number,
    ) -> Result<Vec<(Envelope, Vec<u8>)>, Fault> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for run in &self.damaged {
            let envelope = run.envelope;
            if envelope.lane != lane || envelope.last < first || envelope.first > last {
                continue;
            }
            let (mut bytes, whole) = (Vec::new(), ENVELOPE_BYTES + run.bytes);
            scan::read_lossy(file, run.offset, whole, file.len()?, &mut bytes)?;
            found.push((envelope, bytes));
        }
        Ok(found)
    }

    /// The run at a place; nothing when it is not what was written.
    fn read(&self, place: Place) -> Result<Option<(Envelope, Run)>, Fault> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut bytes = Vec::new();
        let whole = ENVELOPE_BYTES + usize::try_from(place.bytes).unwrap_or(usize::MAX);
        scan::read_lossy(file, place.offset, whole, file.len()?, &mut bytes)?;
        let bytes = Bytes::from(bytes);
        let Some((envelope, run)) = Envelope::open(&bytes) else { return Ok(None) };
        let verified = scan::verify(&envelope, bytes.slice_ref(run)).ok();
        Ok(verified.map(|(run, _)| (envelope, run)))
    }

    /// A run is damaged from here on.
    fn spoil(&mut self, key: (Lane, Number), place: Place) -> Result<(), Fault> {
        self.runs.remove(&key);
        let Some(file) = &self.file else { return Ok(()) };
        let mut head = Vec::new();
        scan::read_lossy(file, place.offset, ENVELOPE_BYTES, file.len()?, &mut head)?;
        if let Some((envelope, bytes)) = Envelope::find(&head) {
            let (segment, offset) = (self.segment, place.offset);
            self.damaged.push(FoundRun { segment, envelope, offset, bytes, chains: None });
        }
        Ok(())
    }
}

/// Of runs that claim the same numbers the one of the latest opening and segment: the others were
/// never committed, or are copies.
pub(super) fn latest(mut found: Vec<FoundRun>) -> Vec<FoundRun> {
    found.sort_by_key(|run| {
        let Envelope { lane, first, last, opened, .. } = run.envelope;
        (lane, Reverse((opened, run.segment)), first, Reverse(last))
    });
    let mut taken: BTreeMap<(Lane, Number), FoundRun> = BTreeMap::new();
    for run in found {
        let Envelope { lane, first, last, .. } = run.envelope;
        let after = taken.range((lane, first)..=(lane, Number(u64::MAX))).next();
        if after.is_none_or(|(_, other)| other.envelope.first > last) {
            taken.insert((lane, last), run);
        }
    }
    taken.into_values().collect()
}
