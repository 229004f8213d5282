//! What the spool counts for whoever asks, and how that outlives it: each count stands where the places
//! of sources do, under a source that no config can name, so that it is copied, and found again after
//! damage, as they are.
//!
//! Packets that a source hands over are counted in their own commit. Everything else rides on a commit
//! once a second, and has one of its own only when there was none for some seconds.

use super::parcel::Position;
use super::positions::Positions;
use super::rotate::DISK_RESERVE_BYTES;
use super::stage::Stage;
use super::writer::Writer;
use crate::counts::{Count, Counts};

/// The source of all counts.
pub(super) const SOURCE: &str = "$counts";

/// The counts that stand among the positions.
pub(super) fn take_up(positions: &Positions) -> Counts {
    let counts = Counts::default();
    for (name, kept) in positions.of(SOURCE) {
        // What cannot be read begins anew.
        if let (Ok(name), Ok(kept)) = (String::from_utf8(name), kept.try_into()) {
            counts.take_up(&name, u64::from_le_bytes(kept));
        }
    }
    counts
}

/// What a commit keeps of counts.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Each with what is kept of it once the commit is durable.
    counts: Vec<(Count, u64)>,
    /// What is added to some only then.
    stored: Vec<(Count, u64)>,
    all: bool,
}

impl Writer {
    /// Adds to the stage which counts its commit keeps.
    pub(super) fn count_in(&mut self, stage: &mut Stage) -> Keeping {
        let stored = std::mem::take(&mut stage.counted);
        let all = self.rides.are_due();
        let mut counts = if all { self.shared.counts.changes() } else { Vec::new() };
        for (count, packets) in &stored {
            match counts.iter_mut().find(|(known, _)| known.name() == count.name()) {
                Some((_, value)) => *value += packets,
                None => counts.push((count.clone(), count.counted() + packets)),
            }
        }
        stage.positions.extend(counts.iter().map(|(count, value)| Position {
            source: SOURCE.to_owned(),
            place: count.name().as_bytes().to_vec(),
            at: Some(value.to_le_bytes().to_vec()),
        }));
        Keeping { counts, stored, all }
    }

    /// The commit is durable.
    pub(super) fn counted(&mut self, keeping: Keeping) {
        let Keeping { counts, stored, all } = keeping;
        for (count, packets) in stored {
            count.add(packets);
        }
        for (count, value) in counts {
            count.keep(value);
        }
        if all {
            self.rides.done();
        }
    }

    /// Whether counts want a commit of their own.
    pub(super) fn counts_are_overdue(&self) -> bool {
        // On a full disk a write that is not needed may be the one that fails.
        let has_room = || {
            let disk = self.disk.available(self.paths.root()).unwrap_or(u64::MAX);
            disk > DISK_RESERVE_BYTES
        };
        let behind = || self.shared.counts.are_behind();
        self.failed.is_none() && self.rides.are_overdue() && behind() && has_room()
    }
}
