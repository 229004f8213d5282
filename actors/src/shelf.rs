//! The shelf: runs at hand for sending, so that a packet that was just stored does not have to be
//! read back, and a backlog is read ahead of the socket by a bounded amount (R9).

use std::collections::{HashMap, VecDeque};

use paquebot_protocol::{Lane, Number, Run};

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
    runs: VecDeque<Run>,
    bytes: usize,
    reading: bool,
    hungry: bool,
}

impl Shelf {
    /// Takes a run that was just stored, if it goes on from what is at hand or, with nothing at
    /// hand, from `sent_through`, and there is room.
    pub(crate) fn put_fresh(&mut self, lane: Lane, sent_through: Number, run: Run) {
        let row = self.lanes.entry(lane).or_default();
        let at_hand = row.runs.back().map_or(sent_through, Run::last);
        let fits = self.bytes + run.encoded().len() <= FRESH_BYTES_MAX;
        if run.first() == at_hand.next() && fits && !row.reading {
            self.bytes += row.push(run);
        }
    }

    /// Takes runs that were read for this lane, as far as they go on from what is at hand.
    pub(crate) fn put_read(&mut self, lane: Lane, sent_through: Number, runs: Vec<Run>) {
        let Some(row) = self.lanes.get_mut(&lane) else { return };
        if std::mem::take(&mut row.reading) {
            self.reads = self.reads.saturating_sub(1);
        }
        for run in runs {
            let at_hand = row.runs.back().map_or(sent_through, Run::last);
            if run.first() <= at_hand.next() && run.last() > at_hand {
                self.bytes += row.push(run);
            }
        }
    }

    /// The run that holds `from`, cut to begin there and to hold `packets_max` at most.
    pub(crate) fn take(&mut self, lane: Lane, from: Number, packets_max: u64) -> Option<Run> {
        let row = self.lanes.get_mut(&lane)?;
        while let Some(run) = row.runs.pop_front() {
            let bytes = run.encoded().len();
            row.bytes = row.bytes.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
            if run.last() < from {
                continue;
            }
            let through = Number(from.0.saturating_add(packets_max.saturating_sub(1)));
            let whole = run.first() == from && run.last() <= through;
            let taken = if whole { Some(run.clone()) } else { run.part(from, through) };
            if run.last() > through || run.first() > from {
                self.bytes += row.push_front(run);
            }
            return taken.filter(|taken| taken.first() == from);
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
        let at_hand = row.runs.back().map_or(sent, Run::last);
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

    /// Forgets what is at hand of one lane.
    pub(crate) fn clear_lane(&mut self, lane: Lane) {
        if let Some(row) = self.lanes.get_mut(&lane) {
            self.bytes = self.bytes.saturating_sub(row.bytes);
            row.bytes = 0;
            row.runs.clear();
        }
    }
}

impl Row {
    fn push(&mut self, run: Run) -> usize {
        let bytes = run.encoded().len();
        self.bytes += bytes;
        self.runs.push_back(run);
        bytes
    }

    fn push_front(&mut self, run: Run) -> usize {
        let bytes = run.encoded().len();
        self.bytes += bytes;
        self.runs.push_front(run);
        bytes
    }
}
