//! Giving space back (R9): a sealed segment goes when its last packet is acknowledged, a file that
//! grew and is empty again is replaced by a small one, and what a stuck lane still holds in an old
//! segment is moved forward, so that the file can go.
//!
//! A file goes only after the commit that says that nobody needs it is durable.

use std::collections::BTreeMap;
use std::mem;

use paquebot_protocol::{Lane, Number, Run};

use super::catalog::Piece;
use super::read::Ask;
use super::size;
use super::writer::Writer;
use crate::clock;
use crate::error::ReadError;

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

/// What a segment still holds: each piece with its runs.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) segment: u64,
    pub(super) pieces: Vec<(Moving, Vec<Run>)>,
}

/// What the reader found when it loaded a segment.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) segment: u64,
    pub(super) pieces: Result<Vec<(Moving, Vec<Run>)>, ReadError>,
}

impl Writer {
    /// Whether the files want looking after.
    pub(super) fn ticks(&self) -> bool {
        self.failed.is_some()
            || self.active.len() > size::GIVE_BACK_BYTES
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
        self.loaded();
        if self.moving.is_none()
            && self.moved.is_none()
            && let Some(segment) = self.stuck()
        {
            self.load(segment);
        }
    }

    /// Removes the segments that hold nothing any more.
    pub(super) fn remove_empty(&mut self) {
        let empty = self.shared.files().catalog.take_empty();
        if empty.is_empty() {
            return;
        }
        for segment in empty {
            // A file that stays is removed at the next opening: no manifest names it.
            let _ = self.disk.remove(&self.paths.segment(segment));
            let _ = self.reader.send(Ask::Forget { segment });
        }
        let _ = self.disk.sync_dir(&self.paths.segments());
    }

    /// A segment with so little in it that this is worth moving.
    fn stuck(&self) -> Option<u64> {
        let tight = self.file_bytes() > self.options.max_bytes / 2;
        let files = self.shared.files();
        let oldest = files.catalog.segments().next()?.0;
        let mut left: BTreeMap<u64, u64> = BTreeMap::new();
        for (segment, lane, piece) in files.catalog.pieces() {
            let acked = self.lanes.get(lane).map(|entry| entry.acked).unwrap_or_default();
            *left.entry(segment).or_default() += piece.bytes_after(acked);
        }
        let worth = |segment: u64, file_bytes: u64| {
            let bytes = left.get(&segment).copied().unwrap_or_default();
            let sparse = bytes < file_bytes / MOVE_SHARE && !self.immovable.contains(&segment);
            sparse && (tight || (segment == oldest && bytes <= MOVE_BYTES))
        };
        let found = files.catalog.segments().find(|(segment, s)| worth(*segment, s.file_bytes));
        found.map(|(segment, _)| segment)
    }

    /// Asks the reader for what `segment` still holds.
    fn load(&mut self, segment: u64) {
        let moving = |(of, lane, piece): (u64, Lane, Piece)| {
            let from = self.lanes.get(lane)?.acked.next().max(piece.first);
            (of == segment).then_some(Moving { lane, from, piece })
        };
        let pieces = self.shared.files().catalog.pieces().filter_map(moving).collect();
        if self.reader.send(Ask::Load { segment, pieces }).is_ok() {
            self.moving = Some(segment);
        }
    }

    /// Takes what the reader has loaded into the next commit.
    pub(super) fn loaded(&mut self) {
        let Some(Loaded { segment, pieces }) = self.shared.loaded().take() else { return };
        self.moving = None;
        match pieces {
            Ok(pieces) if self.failed.is_none() => self.moved = Some(Moved { segment, pieces }),
            Ok(_) => {}
            // It stays where it is, and is reported to whoever reads it.
            Err(_) => self.immovable.push(segment),
        }
    }
}
