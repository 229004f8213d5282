//! After a write to a segment that failed, and when one turns out to be damaged (R10).
//!
//! A segment whose write failed is read as if it had been repaired, without writing to it, and what
//! was durable before is written into a new file, which takes its name. One that cannot be read goes
//! to quarantine: its letters are counted as lost, and nothing else stops.

use super::file::{self, SegmentFile};
use super::tally::Brief;
use super::{DeadLetters, Segment};
use crate::disk;
use crate::fault::Fault;
use crate::ledger::quarantine;
use crate::schema;

impl DeadLetters {
    /// Mends every segment that failed.
    pub(in crate::ledger) fn mend(&mut self) -> Result<(), Fault> {
        let failed = self.segments.iter().filter(|(_, segment)| segment.failed);
        let failed: Vec<u64> = failed.map(|(number, _)| *number).collect();
        for number in failed {
            match SegmentFile::overlaid(&*self.disk, &self.path(number)) {
                Ok(old) => self.rewrite(number, &old)?,
                Err(Fault::Full) => return Err(Fault::Full),
                Err(fault @ (Fault::Damaged(_) | Fault::Broken(_))) => {
                    self.set_aside(number, &fault)?;
                }
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, number: u64, old: &redb::Database) -> Result<(), Fault> {
        let last = self.segments.get(&number).map_or(0, |segment| segment.last);
        let mut segment = Segment { last, ..Segment::default() };
        let unsettled = &mut self.unsettled;
        let (dir, path) = (Self::dir(&self.root), Self::path_of(&self.root, number));
        let file = SegmentFile::rewrite(old, &*self.disk, &dir, &path, last, |position, row| {
            let key = file::key_of(&row);
            segment.hold(key, position, row.bytes, row.last_attempt_ms);
            let (client, handler) = (row.client, row.handler.to_owned());
            let brief = Brief { segment: number, position, client, handler, bytes: row.bytes };
            // One that did not count may be there in its older or its newer form.
            match unsettled.get_mut(&key) {
                Some(before) => *before = brief,
                None => segment.tallies.add(&brief),
            }
        })?;
        if let Some(before) = self.segments.insert(number, segment) {
            self.tallies.subtract_all(&before.tallies);
        }
        if let Some(segment) = self.segments.get(&number) {
            self.tallies.add_all(&segment.tallies);
        }
        self.changed.insert(number);
        self.recount = true;
        self.keep_open(number, file);
        Ok(())
    }

    /// Moves a segment that cannot be read to quarantine.
    pub(super) fn set_aside(&mut self, number: u64, fault: &Fault) -> Result<(), Fault> {
        let quarantine = quarantine::dir(&self.root);
        disk::make_dir(&*self.disk, &quarantine)?;
        let aside = quarantine::free_name(&*self.disk, &quarantine, &format!("dead-{number:08}"))?;
        self.disk.rename(&self.path(number), &aside)?;
        self.disk.sync_dir(&quarantine)?;
        self.disk.sync_dir(&Self::dir(&self.root))?;
        self.let_go(number);
        let lost = self.segments.remove(&number).map_or(0, |segment| {
            self.tallies.subtract_all(&segment.tallies);
            segment.rows
        });
        self.unsettled.retain(|_, letter| letter.segment != number);
        self.changed.insert(number);
        self.count_lost(lost);
        self.notes.push(format!(
            "segment {number} of the dead letters cannot be read ({fault}): it is kept as {}, and \
             {lost} dead letters are lost",
            aside.display()
        ));
        Ok(())
    }

    pub(super) fn count_lost(&mut self, rows: u64) {
        self.recount = true;
        if rows > 0 {
            *self.gone.entry(schema::GONE_LOST).or_default() += rows;
        }
    }
}
