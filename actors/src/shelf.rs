//! The shelf: runs at hand for sending, so that a packet that was just stored does not have to be
//! read back, and a backlog is read ahead of the socket by a bounded amount (R9).

use std::collections::{HashMap, VecDeque};

use paquebot_protocol::{Lane, Millis, Number, Run};
use paquebot_store::Stretch;

/// Fresh runs that may lie here over all lanes; what comes beyond is read back from the disk.
const FRESH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much of a lane is read at once.
pub(crate) const READ_BYTES: usize = 2 * 1024 * 1024;

/// A lane with less than this at hand and more on disk is read ahead.
const READ_AHEAD_BELOW_BYTES: usize = READ_BYTES / 2;

/// Over all lanes: reads under way, and bytes at hand beyond which no further lane is read, but for
/// one, so that something always moves.
const READS_MAX: usize = 8;
const AT_HAND_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Runs at hand, by lane.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    lanes: HashMap<Lane, Row>,
    bytes: usize,
    reads: usize,
    /// Lanes that want to be read and have to wait for their turn.
    hungry: VecDeque<Lane>,
}

#[derive(Debug, Default)]
struct Row {
    stretches: VecDeque<Stretch>,
    bytes: usize,
    reading: bool,
    hungry: bool,
}

impl Shelf {
    /// Takes a run that was just stored, if it goes on from what is at hand or, with nothing at
    /// hand, from `sent_through`, and there is room.
    pub(crate) fn put_fresh(
        &mut self,
        lane: Lane,
        sent_through: Number,
        run: Run,
        expires: Option<Millis>,
    ) {
        let row = self.lanes.entry(lane).or_default();
        let at_hand = row.through(sent_through);
        let fits = self.bytes + run.encoded().len() <= FRESH_BYTES_MAX;
        if run.first() == at_hand.next() && fits && !row.reading {
            self.bytes += row.push(Stretch::Run { run, expires });
        }
    }

    /// Takes what was read for this lane, as far as it goes on from what is at hand.
    pub(crate) fn put_read(&mut self, lane: Lane, sent_through: Number, read: Vec<Stretch>) {
        let Some(row) = self.lanes.get_mut(&lane) else { return };
        if std::mem::take(&mut row.reading) {
            self.reads = self.reads.saturating_sub(1);
        }
        for stretch in read {
            let at_hand = row.through(sent_through);
            if first(&stretch) <= at_hand.next() && stretch.last() > at_hand {
                self.bytes += row.push(stretch);
            }
        }
    }

    /// The tombstone that holds `from`, or the run, cut to begin there and to hold `packets_max` at
    /// most.
    pub(crate) fn take(&mut self, lane: Lane, from: Number, packets_max: u64) -> Option<Stretch> {
        let row = self.lanes.get_mut(&lane)?;
        while let Some(stretch) = row.stretches.pop_front() {
            let size = bytes(&stretch);
            row.bytes = row.bytes.saturating_sub(size);
            self.bytes = self.bytes.saturating_sub(size);
            if stretch.last() < from {
                continue;
            }
            let Stretch::Run { run, expires } = stretch else {
                return Some(stretch).filter(|stretch| first(stretch) <= from);
            };
            let through = Number(from.0.saturating_add(packets_max.saturating_sub(1)));
            let whole = run.first() == from && run.last() <= through;
            let taken = if whole { Some(run.clone()) } else { run.part(from, through) };
            if run.last() > through || run.first() > from {
                self.bytes += row.push_front(Stretch::Run { run, expires });
            }
            let taken = taken.filter(|taken| taken.first() == from);
            return taken.map(|run| Stretch::Run { run, expires });
        }
        None
    }

    /// Where to read on for this lane, of which everything up to `stored_through` is on disk; says so
    /// once until [`Shelf::put_read`].
    pub(crate) fn read_from(
        &mut self,
        lane: Lane,
        sent: Number,
        stored_through: Number,
    ) -> Option<Number> {
        let row = self.lanes.entry(lane).or_default();
        let at_hand = row.through(sent);
        if row.reading || at_hand >= stored_through || row.bytes >= READ_AHEAD_BELOW_BYTES {
            return None;
        }
        let full = self.reads >= READS_MAX || self.bytes >= AT_HAND_BYTES_MAX;
        if full && self.reads > 0 {
            if !std::mem::replace(&mut row.hungry, true) {
                self.hungry.push_back(lane);
            }
            return None;
        }
        row.reading = true;
        self.reads += 1;
        Some(at_hand.next())
    }

    /// A lane whose turn to be read has come.
    pub(crate) fn next_hungry(&mut self) -> Option<Lane> {
        let full = self.reads >= READS_MAX || self.bytes >= AT_HAND_BYTES_MAX;
        if full && self.reads > 0 {
            return None;
        }
        let lane = self.hungry.pop_front()?;
        self.lanes.entry(lane).or_default().hungry = false;
        Some(lane)
    }

    /// Forgets everything at hand: the connection is gone. Answers to reads that are under way must
    /// be thrown away by whoever asked.
    pub(crate) fn clear(&mut self) {
        self.lanes.clear();
        self.hungry.clear();
        self.bytes = 0;
        self.reads = 0;
    }

    /// Forgets a lane for which nothing will come any more.
    pub(crate) fn forget_lane(&mut self, lane: Lane) {
        self.clear_lane(lane);
        // A read that is under way, or about to be, still has its turn to give back.
        if self.lanes.get(&lane).is_some_and(|row| !row.reading && !row.hungry) {
            self.lanes.remove(&lane);
        }
    }

    /// Forgets what is at hand of one lane.
    pub(crate) fn clear_lane(&mut self, lane: Lane) {
        if let Some(row) = self.lanes.get_mut(&lane) {
            self.bytes = self.bytes.saturating_sub(row.bytes);
            row.bytes = 0;
            row.stretches.clear();
        }
    }
}

impl Row {
    fn push(&mut self, stretch: Stretch) -> usize {
        let bytes = bytes(&stretch);
        self.bytes += bytes;
        self.stretches.push_back(stretch);
        bytes
    }

    fn push_front(&mut self, stretch: Stretch) -> usize {
        let bytes = bytes(&stretch);
        self.bytes += bytes;
        self.stretches.push_front(stretch);
        bytes
    }

    /// The last number at hand, or `sent` when there is nothing.
    fn through(&self, sent: Number) -> Number {
        self.stretches.back().map_or(sent, Stretch::last)
    }
}

fn first(stretch: &Stretch) -> Number {
    match stretch {
        Stretch::Run { run, .. } => run.first(),
        Stretch::Tombstone(tombstone) => tombstone.first,
    }
}

fn bytes(stretch: &Stretch) -> usize {
    match stretch {
        Stretch::Run { run, .. } => run.encoded().len(),
        Stretch::Tombstone(_) => size_of::<Stretch>(),
    }
}
