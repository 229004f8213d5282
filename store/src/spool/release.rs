//! Giving space back (R9): a sealed segment goes when its last packet is acknowledged, a file that
//! grew and is empty again is replaced by a small one, and what a stuck lane still holds in an old
//! segment is moved forward, so that the file can go.
//!
//! A file goes only after the commit that says that nobody needs it is durable.

use std::mem;

use paquebot_protocol::{Lane, Number, Run};

use super::catalog::Piece;
use super::envelope::Envelope;
use super::read::Ask;
use super::size;
use super::writer::Writer;
use crate::clock;
use crate::fault::Fault;

/// A segment of which no more than one part in so many is needed is moved forward.
const MOVE_SHARE: u64 = 4;

/// An oldest segment with no more than this in it is moved forward, wherever the quota stands.
const MOVE_BYTES: u64 = 256 * 1024;

/// A file of which no more than one part in so many was in use for a while is given up.
const GIVE_BACK_SHARE: u64 = 8;

/// A piece of a sealed segment on its way into the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    pub(super) lane: Lane,
    /// The first packet of it that is not acknowledged.
    pub(super) from: Number,
    pub(super) piece: Piece,
}

/// What a segment still holds: pieces, each with its runs, from the first one on.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) segment: u64,
    pub(super) pieces: Vec<MovedPiece>,
}

/// A piece with its runs, as they are stored.
pub(super) type MovedPiece = (Moving, Vec<(Envelope, Run)>);

/// What the reader found when it loaded a segment.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) segment: u64,
    pub(super) pieces: Result<Vec<MovedPiece>, Fault>,
}

impl Writer {
    /// Whether the files want looking after.
    pub(super) fn ticks(&self) -> bool {
        self.failed.is_some()
            || self.active.len() > size::GIVE_BACK_BYTES
            || !self.parked.is_empty()
            || self.shared.files().catalog.len() > 0
    }

    /// Looks after the files.
    pub(super) fn tick(&mut self) {
        self.ticked = clock::now();
        if self.failed.is_some() {
            return self.heal();
        }
        let peak = mem::replace(&mut self.active.peak, self.active.filled);
        let len = self.active.len();
        if len > size::GIVE_BACK_BYTES && peak < len / GIVE_BACK_SHARE {
            // When this fails, the file stays as large as it is, and is tried again.
            let _ = self.rotate();
        }
        if !self.parked.is_empty() {
            self.unpark();
        }
        self.loaded();
        if self.moving.is_some() || self.moved.is_some() {
            return;
        }
        let condemned = self.condemned_next().filter(|_| self.check_room(self.step(), 0).is_ok());
        if let Some(segment) = condemned {
            self.load(segment, usize::try_from(self.step()).unwrap_or(usize::MAX));
        } else if let Some(segment) = self.stuck() {
            self.load(segment, usize::MAX);
        }
    }

    /// A segment with so little in it that this is worth moving.
    pub(super) fn stuck(&self) -> Option<u64> {
        let tight = self.file_bytes() > self.options.max_bytes / 2;
        let files = self.shared.files();
        // While there is room, only the oldest is looked at: it keeps what others have left behind.
        let some = files.catalog.segments().take(if tight { usize::MAX } else { 1 });
        let mut movable = some.filter(|(segment, _)| !self.immovable.contains(segment));
        let worth = movable.find(|(segment, sealed)| {
            let left = files.catalog.pieces_of(*segment);
            let bytes: u64 = left.map(|(lane, piece)| piece.bytes_after(self.acked(lane))).sum();
            bytes < sealed.file_bytes / MOVE_SHARE && (tight || bytes <= MOVE_BYTES)
        });
        worth.map(|(segment, _)| segment)
    }

    /// Asks the reader for what `segment` still holds, about `bytes_max` of it.
    fn load(&mut self, segment: u64, bytes_max: usize) {
        let pieces = self.pieces_to_move(segment);
        if self.reader.send(Ask::Load { segment, pieces, bytes_max }).is_ok() {
            self.moving = Some(segment);
        }
    }

    /// What `segment` still holds.
    pub(super) fn pieces_to_move(&self, segment: u64) -> Vec<Moving> {
        let moving = |(lane, piece): (Lane, Piece)| {
            let from = self.acked(lane).next().max(piece.first);
            Moving { lane, from, piece }
        };
        self.shared.files().catalog.pieces_of(segment).map(moving).collect()
    }

    fn acked(&self, lane: Lane) -> Number {
        self.lanes.get(lane).map(|entry| entry.acked).unwrap_or_default()
    }

    /// Takes what the reader has loaded into the next commit.
    pub(super) fn loaded(&mut self) {
        let Some(Loaded { segment, pieces }) = self.shared.loaded().take() else { return };
        self.moving = None;
        match pieces {
            Ok(pieces) if self.failed.is_none() => self.moved = Some(Moved { segment, pieces }),
            Ok(_) => {}
            // It stays where it is, and whoever reads it hears why.
            Err(_) => self.immovable.push(segment),
        }
    }
}
