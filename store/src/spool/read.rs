//! The thread "spool-read": reads packets back, from the active segment and from sealed ones, and
//! verifies every byte before it lets it out.
//!
//! It takes a snapshot of the active segment (redb's readers see one commit, and hold up nobody for
//! the moment that they last), and looks up sealed pieces in the catalog. Between the two a piece
//! may have moved, been sealed or been removed; when something is missing, it looks again.
//!
//! Sealed segments are read by the place of each run in the file (`sealed.rs`), the active one by
//! its tables. What cannot be read for good is declared (`damage.rs`).
//!
//! It also closes sealed segments, because it is the only other one who may hold them.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Weak};

use paquebot_protocol::{Held, Lane, Millis, Number, Run};

use super::envelope::Envelope;
use super::expire::HeldRuns;
use super::facts::Stretch;
use super::release::{Loaded, Moving};
use super::sealed::SealedSegments;
use super::shared::Shared;
use super::tombstone::cover;
use super::view::{View, runs};
use super::writer::Order;
use crate::error::ReadError;
use crate::fault::Fault;
use crate::reply::{Promise, Reply};

/// How often a read looks again when something is not where it was said to be.
pub(super) const LOOKS_MAX: usize = 4;

/// What a tombstone counts for in a read: as much as in a window.
const TOMBSTONE_BYTES: usize = 64;

/// What the thread is asked.
pub(super) enum Ask {
    /// Runs and tombstones of a lane.
    Read { lane: Lane, from: Number, bytes_max: usize, promise: Promise<Vec<Stretch>, ReadError> },
    /// The chain of a lane at a number.
    ChainAt { lane: Lane, number: Number, promise: Promise<Held, ReadError> },
    /// What a segment still holds, to be moved: about so many bytes of it.
    Load { segment: u64, pieces: Vec<Moving>, bytes_max: usize },
    /// A packet that may be gone.
    Verify { lane: Lane, at: Number },
    /// Which packets at the head of a lane have outlived their time.
    Sweep { lane: Lane, from: Number, now: Millis },
    /// How long the first pending packets of these lanes are here.
    Oldest { lanes: Vec<Lane>, reply: Reply<Vec<(Lane, Number, Millis)>> },
    /// A segment was sealed: close it.
    Close { segment: u64 },
    /// A segment was removed.
    Forget { segment: u64 },
    /// The spool is closed.
    End,
}

/// What the thread owns.
pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    /// Only while somebody holds a handle: the writer ends when nobody can ask any more.
    pub(super) orders: Weak<SyncSender<Order>>,
    pub(super) sealed: SealedSegments,
    /// What is asked again at once, because what was not there has come, and how often that was so.
    pub(super) again: Option<Ask>,
    pub(super) agains: usize,
}

/// Why a read looks again, or fails.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A packet is not where it should be.
    Missing(Number),
    /// The disk, or redb.
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: Weak<SyncSender<Order>>,
        sealed: SealedSegments,
    ) -> Self {
        Self { shared, orders, sealed, again: None, agains: 0 }
    }

    /// Answers until the spool is closed.
    pub(super) fn run(mut self, asks: &Receiver<Ask>) {
        loop {
            let ask = match self.again.take() {
                Some(ask) => ask,
                None => {
                    self.agains = 0;
                    let Ok(ask) = asks.recv() else { return };
                    ask
                }
            };
            match ask {
                Ask::Read { lane, from, bytes_max, promise } => {
                    let again = |promise| Ask::Read { lane, from, bytes_max, promise };
                    let read = self.look(|reader| reader.read(lane, from, bytes_max));
                    self.answer(lane, read, promise, again);
                }
                Ask::ChainAt { lane, number, promise } => {
                    let again = |promise| Ask::ChainAt { lane, number, promise };
                    let held = self.look_chain(lane, number);
                    self.answer(lane, held, promise, again);
                }
                Ask::Load { segment, pieces, bytes_max } => {
                    self.load(segment, pieces, bytes_max);
                }
                Ask::Verify { lane, at } => {
                    if let Err(Trouble::Missing(at)) = self.look(|reader| reader.read(lane, at, 0))
                    {
                        self.declare(lane, at, None);
                    }
                }
                Ask::Sweep { lane, from, now } => self.sweep(lane, from, now),
                Ask::Oldest { lanes, reply } => {
                    reply(lanes.into_iter().filter_map(|lane| self.oldest(lane)).collect());
                }
                Ask::Close { segment } => self.close(segment),
                Ask::Forget { segment } => self.sealed.forget(segment),
                Ask::End => return,
            }
        }
    }

    /// Keeps a promise, or has declared what is in the way of that.
    fn answer<T>(
        &mut self,
        lane: Lane,
        found: Result<T, Trouble>,
        promise: Promise<T, ReadError>,
        again: impl FnOnce(Promise<T, ReadError>) -> Ask,
    ) {
        match found {
            Ok(found) => promise.keep(Ok(found)),
            Err(Trouble::Fault(fault)) => promise.keep(Err(ReadError::Failed(fault.to_string()))),
            Err(Trouble::Missing(at)) => self.declare(lane, at, Some(again(promise))),
        }
    }

    /// Looks, and looks again when something is not where it should be.
    pub(super) fn look<T>(
        &mut self,
        mut look: impl FnMut(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut looks = 1;
        loop {
            match look(self) {
                Err(_) if looks < LOOKS_MAX => looks += 1,
                found => return found,
            }
        }
    }

    /// Since when the first pending packet of a lane is here, and which is the last of its run.
    fn oldest(&mut self, lane: Lane) -> Option<(Lane, Number, Millis)> {
        // What is damaged is declared when it is to be sent.
        let held = self.look(|reader| reader.held(lane, Number::FIRST, 1)).ok()?;
        held.runs.first().map(|(envelope, run)| (lane, run.last(), envelope.stored))
    }

    /// Runs from `from` on, about `bytes_max`, without what tombstones hide.
    pub(super) fn held(
        &mut self,
        lane: Lane,
        from: Number,
        bytes_max: usize,
    ) -> Result<HeldRuns, Trouble> {
        let (mut runs, mut bytes, mut next) = (Vec::new(), 0, from);
        let Some(mut view) = self.view(lane, from)? else {
            return Ok(HeldRuns { runs, goes_on: false });
        };
        next = next.max(view.acked.next());
        while next < view.next && next <= view.through && bytes < bytes_max {
            let tombstone = view.tombstone_after(lane, next)?;
            if let Some(tombstone) = tombstone.filter(|tombstone| tombstone.first <= next) {
                next = tombstone.last.next();
                continue;
            }
            let until = tombstone.map_or(Number(u64::MAX), |tombstone| tombstone.first.before());
            let found = self.fetch(&mut view, lane, next, until, bytes_max - bytes)?;
            let from = next;
            next = found.last().map(|(_, run)| run.last().next()).ok_or(Trouble::Missing(next))?;
            for (envelope, run) in found {
                bytes += run.encoded().len();
                // What comes before may be under a tombstone already.
                let begins_before = run.first() < from;
                let visible = if begins_before { run.part(from, run.last()) } else { Some(run) };
                runs.extend(visible.map(|run| (envelope, run)));
            }
        }
        Ok(HeldRuns { runs, goes_on: next < view.next })
    }

    /// Runs and tombstones from the one with `from` on, about `bytes_max`, but at least one if there
    /// is any.
    fn read(
        &mut self,
        lane: Lane,
        from: Number,
        bytes_max: usize,
    ) -> Result<Vec<Stretch>, Trouble> {
        let Some(mut view) = self.view(lane, from)? else { return Ok(Vec::new()) };
        let (mut stretches, mut bytes) = (Vec::new(), 0);
        let mut next = from.max(view.acked.next());
        while next < view.next
            && next <= view.through
            && (bytes < bytes_max || stretches.is_empty())
        {
            let tombstone = view.tombstone_after(lane, next)?;
            if let Some(tombstone) = tombstone.filter(|tombstone| tombstone.first <= next) {
                stretches.push(Stretch::Tombstone(tombstone));
                next = tombstone.last.next();
                bytes += TOMBSTONE_BYTES;
                continue;
            }
            let until = tombstone.map_or(Number(u64::MAX), |tombstone| tombstone.first.before());
            let left = bytes_max.saturating_sub(bytes);
            let found = self.fetch(&mut view, lane, next, until, left)?;
            next = found.last().map(|(_, run)| run.last().next()).ok_or(Trouble::Missing(next))?;
            for (Envelope { expires, .. }, run) in found {
                bytes += run.encoded().len();
                stretches.push(Stretch::Run { run, expires });
            }
        }
        Ok(stretches)
    }

    /// What is held of the chain at `number`, looked for until it is found.
    pub(super) fn look_chain(&mut self, lane: Lane, number: Number) -> Result<Held, Trouble> {
        self.look(|reader| reader.chain_at(lane, number))
    }

    /// What is held of the chain at `number`.
    fn chain_at(&mut self, lane: Lane, number: Number) -> Result<Held, Trouble> {
        let wanted = number.next();
        let Some(mut view) = self.view(lane, number)? else { return Ok(Held::Unknown) };
        if wanted >= view.next {
            let end = wanted == view.next;
            return Ok(if end { Held::Chain(view.chain) } else { Held::Unknown });
        }
        if number < view.acked {
            return Ok(Held::Unknown);
        }
        if let Some(tombstone) = view.tombstone_after(lane, wanted)?
            && tombstone.first <= wanted
        {
            let before = tombstone.chain.filter(|_| tombstone.first == wanted);
            return match before {
                Some(chain) => Ok(Held::Chain(chain)),
                None => self.chain_after(&mut view, lane, number),
            };
        }
        match self.fetch(&mut view, lane, wanted, wanted, 0)?.first() {
            Some((_, run)) => Ok(run.chain_at(number).map_or(Held::Unknown, Held::Chain)),
            None => Err(Trouble::Missing(wanted)),
        }
    }

    /// The chain after packet `number`, which what follows does not tell.
    pub(super) fn chain_after(
        &mut self,
        view: &mut View,
        lane: Lane,
        number: Number,
    ) -> Result<Held, Trouble> {
        let acked = view.acked;
        if cover(view.tombstones(lane, acked.next(), number)?, acked, number) {
            return Ok(Held::Gone);
        }
        match view.tombstone_after(lane, number)? {
            Some(hiding) if hiding.first <= number => {
                let end = hiding.last == number;
                Ok(if end { Held::Chain(hiding.chain_after) } else { Held::Unknown })
            }
            _ => {
                let runs = self.fetch(view, lane, number, number, 0)?;
                let (_, run) = runs.first().ok_or(Trouble::Missing(number))?;
                Ok(run.chain_at(number).map_or(Held::Unknown, Held::Chain))
            }
        }
    }

    /// Runs from the one with `next` on up to `until`, all from one place; none when no place has it.
    pub(super) fn fetch(
        &mut self,
        view: &mut View,
        lane: Lane,
        next: Number,
        until: Number,
        bytes_max: usize,
    ) -> Result<Vec<(Envelope, Run)>, Trouble> {
        while view.pieces.front().is_some_and(|(_, piece)| piece.last < next) {
            view.pieces.pop_front();
        }
        match (view.pieces.front(), &view.active) {
            (Some((segment, piece)), _) if piece.first <= next => {
                let sealed = self.sealed.get(*segment, &self.shared)?;
                Ok(sealed.runs(lane, next, piece.last.min(until), bytes_max)?)
            }
            (piece, Some(active)) => {
                let through = piece.map_or(Number(u64::MAX), |(_, piece)| piece.first.before());
                runs(active, lane, next, through.min(until), bytes_max)
            }
            (_, None) => Ok(Vec::new()),
        }
    }

    /// What the pieces hold that is not acknowledged, about `bytes_max` of it, for the writer to
    /// move.
    pub(super) fn load(&mut self, segment: u64, pieces: Vec<Moving>, bytes_max: usize) {
        let (mut loaded, mut bytes, mut failed) = (Vec::new(), 0, None);
        for moving in pieces {
            if bytes >= bytes_max {
                break;
            }
            let Moving { lane, from, piece } = moving;
            let found = self.look(|reader| {
                let sealed = reader.sealed.get(segment, &reader.shared)?;
                let runs = sealed.runs(lane, from, piece.last, bytes_max - bytes)?;
                if runs.is_empty() { Err(Trouble::Missing(from)) } else { Ok(runs) }
            });
            match found {
                Ok(runs) => {
                    bytes += runs.iter().map(|(_, run)| run.encoded().len()).sum::<usize>();
                    loaded.push((moving, runs));
                }
                // It is moved, or seen to be acknowledged, another time.
                Err(Trouble::Missing(at)) => self.declare(lane, at, None),
                Err(Trouble::Fault(fault)) => failed = Some(fault),
            }
        }
        let pieces = failed.map_or(Ok(loaded), Err);
        // The writer looks with its next tick.
        *self.shared.loaded() = Some(Loaded { segment, pieces });
    }

    /// Closes a segment that was sealed, so that it can be read without a repair ever after.
    fn close(&mut self, segment: u64) {
        // It may have been read before it was closed, after a failure.
        self.sealed.forget(segment);
        let sealed = self.shared.files().catalog.segment_mut(segment).and_then(|s| s.open.take());
        // When this fails, it is read like one that was not closed.
        let closed = sealed.and_then(Arc::into_inner).map(redb::Database::close);
        let Some(Ok(after)) = closed.map(|_| self.sealed.file_bytes(segment)) else { return };
        // Closing has cut off what the file did not need.
        let mut status = self.shared.status();
        if let Some(sealed) = self.shared.files().catalog.segment_mut(segment) {
            let before = mem::replace(&mut sealed.file_bytes, after);
            status.file_bytes = status.file_bytes.saturating_sub(before).saturating_add(after);
        }
    }
}

impl Ask {
    /// Answers whoever asked with an error.
    pub(super) fn refuse(self, error: &ReadError) {
        match self {
            Self::Read { promise, .. } => promise.keep(Err(error.clone())),
            Self::ChainAt { promise, .. } => promise.keep(Err(error.clone())),
            _ => {}
        }
    }
}
