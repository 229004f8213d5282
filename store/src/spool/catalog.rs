//! What the sealed segments hold, in memory: which segment has a packet, and when a file can go.
//!
//! A piece is a stretch of one lane without gaps within one segment. Pieces of a lane never overlap
//! here: a stretch that was moved to a later segment is forgotten for the earlier one (the newest
//! copy wins).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paquebot_protocol::{Lane, Number};
use redb::Database;

use super::facts::Tombstone;

/// A stretch of a lane within one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) first: Number,
    pub(super) last: Number,
    /// The bytes of its runs.
    pub(super) bytes: u64,
}

impl Piece {
    /// About how many of its bytes lie after `acked`.
    pub(super) fn bytes_after(&self, acked: Number) -> u64 {
        let all = self.last.since(self.first.before());
        let left = self.last.since(acked.max(self.first.before()));
        let share = u128::from(self.bytes) * u128::from(left) / u128::from(all.max(1));
        u64::try_from(share).unwrap_or(self.bytes)
    }
}

impl Piece {
    /// What of it comes after `through`, if anything does.
    pub(super) fn after(&self, through: Number) -> Option<Self> {
        let bytes = self.bytes_after(through);
        let first = self.first.max(through.next());
        (first <= self.last).then_some(Self { first, last: self.last, bytes })
    }

    /// What is left of it beside a tombstone.
    pub(super) fn without(&self, tombstone: &Tombstone) -> impl Iterator<Item = Self> {
        let (from, through) = (tombstone.first.before(), tombstone.last);
        let before = (self.first, self.last.min(from));
        let after = (self.first.max(through.next()), self.last);
        let apart = from >= self.last || through < self.first;
        let parts =
            if apart { [Some((self.first, self.last)), None] } else { [Some(before), Some(after)] };
        let whole = *self;
        parts.into_iter().flatten().filter(|(first, last)| first <= last).map(
            move |(first, last)| {
                let share = u128::from(whole.bytes) * u128::from(last.since(first.before()));
                let share = share / u128::from(whole.last.since(whole.first.before()).max(1));
                Self { first, last, bytes: u64::try_from(share).unwrap_or(whole.bytes) }
            },
        )
    }
}

/// A file that is not written to any more.
#[derive(Debug, Default)]
pub(super) struct SealedSegment {
    pub(super) file_bytes: u64,
    /// The pieces that it still holds, by lane and last number.
    pieces: BTreeSet<(Lane, Number)>,
    /// Its handle, until the reader has closed it.
    pub(super) open: Option<Arc<Database>>,
}

/// All sealed segments.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// By lane and last number: the piece that holds number n is the first from `(lane, n)` on.
    pieces: BTreeMap<(Lane, Number), (u64, Piece)>,
    segments: BTreeMap<u64, SealedSegment>,
}

impl Catalog {
    /// Takes up a file; its pieces follow.
    pub(super) fn add_segment(
        &mut self,
        segment: u64,
        file_bytes: u64,
        open: Option<Arc<Database>>,
    ) {
        self.segments.insert(segment, SealedSegment { file_bytes, pieces: BTreeSet::new(), open });
    }

    /// Takes up a piece of a known segment.
    pub(super) fn add_piece(&mut self, segment: u64, lane: Lane, piece: Piece) {
        self.pieces.insert((lane, piece.last), (segment, piece));
        self.segments.entry(segment).or_default().pieces.insert((lane, piece.last));
    }

    /// Forgets the piece of `lane` that ends at `last`.
    pub(super) fn remove_piece(&mut self, lane: Lane, last: Number) {
        if let Some((segment, _)) = self.pieces.remove(&(lane, last))
            && let Some(sealed) = self.segments.get_mut(&segment)
        {
            sealed.pieces.remove(&(lane, last));
        }
    }

    /// Whether `segment` holds this piece of `lane`.
    pub(super) fn has_piece(&self, segment: u64, lane: Lane, piece: Piece) -> bool {
        self.pieces.get(&(lane, piece.last)) == Some(&(segment, piece))
    }

    /// Takes out the segments that hold nothing any more.
    pub(super) fn take_empty(&mut self) -> Vec<u64> {
        let empty = self.segments.iter().filter(|(_, sealed)| sealed.pieces.is_empty());
        let empty: Vec<u64> = empty.map(|(segment, _)| *segment).collect();
        for segment in &empty {
            self.segments.remove(segment);
        }
        empty
    }

    /// A segment, to be told its size or to have its handle taken.
    pub(super) fn segment_mut(&mut self, segment: u64) -> Option<&mut SealedSegment> {
        self.segments.get_mut(&segment)
    }

    /// Every segment, the oldest first.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u64, &SealedSegment)> {
        self.segments.iter().map(|(segment, sealed)| (*segment, sealed))
    }

    /// The pieces of `lane` that hold `from` or what comes after it, in order.
    pub(super) fn pieces_from(
        &self,
        lane: Lane,
        from: Number,
    ) -> impl Iterator<Item = (u64, Piece)> {
        self.pieces
            .range((lane, from)..=(lane, Number(u64::MAX)))
            .map(|(_, (segment, piece))| (*segment, *piece))
    }

    /// The pieces of `lane` of which nothing lies after `acked`.
    pub(super) fn pieces_through(
        &self,
        lane: Lane,
        acked: Number,
    ) -> impl Iterator<Item = (u64, Piece)> {
        self.pieces
            .range((lane, Number::NONE)..=(lane, acked))
            .map(|(_, (segment, piece))| (*segment, *piece))
    }

    /// The pieces that `segment` still holds, with their lanes.
    pub(super) fn pieces_of(&self, segment: u64) -> impl Iterator<Item = (Lane, Piece)> {
        let held = self.segments.get(&segment).into_iter().flat_map(|sealed| &sealed.pieces);
        held.filter_map(|key| Some((key.0, self.pieces.get(key)?.1)))
    }

    /// Every piece with its segment and lane.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, Lane, Piece)> {
        self.pieces.iter().map(|((lane, _), (segment, piece))| (*segment, *lane, *piece))
    }

    /// How many sealed segments there are.
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The bytes of their files.
    pub(super) fn file_bytes(&self) -> u64 {
        self.segments.values().map(|sealed| sealed.file_bytes).sum()
    }
}
