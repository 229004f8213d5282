//! Looking through the segments at the start: what there is, what counts, what is damaged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::file::{self, SegmentFile};
use super::tally::{Brief, Tallies};
use super::{DeadKey, DeadLetters, Segment};
use crate::disk::{self, Disk};
use crate::error::OpenError;
use crate::fault::Fault;
use crate::schema;

/// What the ledger knows of the dead letters when they are opened.
pub(in crate::ledger) struct Rows {
    /// What each segment held.
    pub(in crate::ledger) segments: BTreeMap<u64, (u64, u64)>,
    /// Letters up to this position count whatever the cursors say.
    pub(in crate::ledger) known: u64,
    /// Letters that were handled after all, and may still stand in their segments.
    pub(in crate::ledger) replayed: BTreeSet<DeadKey>,
}

/// What was found.
pub(in crate::ledger) struct Opened {
    pub(in crate::ledger) dead: DeadLetters,
    pub(in crate::ledger) notes: Vec<String>,
}

impl DeadLetters {
    /// Opens what is in `root`; `cursor` says how far a lane was handled.
    pub(in crate::ledger) fn open(
        disk: &Arc<dyn Disk>,
        root: &Path,
        segment_bytes: u64,
        rows: &Rows,
        cursor: impl Fn(u128, u64) -> Result<u64, Fault>,
    ) -> Result<Opened, OpenError> {
        let dir = Self::dir(root);
        let io_error = |source| OpenError::Io { path: dir.clone(), source };
        disk::make_dir(&**disk, &dir).map_err(io_error)?;
        let names = disk.list(&dir).map_err(io_error)?;
        let mut dead = Self {
            disk: Arc::clone(disk),
            root: root.to_owned(),
            segment_bytes,
            segments: BTreeMap::new(),
            open: VecDeque::new(),
            unsettled: BTreeMap::new(),
            leaving: Vec::new(),
            replayed: rows.replayed.clone(),
            tallies: Tallies::default(),
            next_segment: 1,
            next_position: 1,
            changed: BTreeSet::new(),
            gone: BTreeMap::new(),
            notes: Vec::new(),
            recount: true,
        };
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            disk.remove(&dir.join(name)).map_err(io_error)?;
        }
        let mut numbers: BTreeSet<u64> = names.iter().filter_map(|n| Self::number(n)).collect();
        dead.next_segment = numbers.last().map_or(1, |last| last + 1);
        numbers.extend(rows.segments.keys());
        for number in numbers {
            let there = names.iter().any(|name| Self::number(name) == Some(number));
            let expected = rows.segments.get(&number).copied().unwrap_or_default();
            dead.take_up(number, there, expected, rows.known, &cursor)?;
        }
        dead.next_segment =
            rows.segments.keys().last().map_or(1, |last| last + 1).max(dead.next_segment);
        let notes = dead.take_notes();
        Ok(Opened { dead, notes })
    }

    fn take_up(
        &mut self,
        number: u64,
        there: bool,
        (rows, _): (u64, u64),
        known: u64,
        cursor: &impl Fn(u128, u64) -> Result<u64, Fault>,
    ) -> Result<(), OpenError> {
        let path = self.path(number);
        let failed =
            |fault: Fault| OpenError::Damaged { path: path.clone(), found: fault.to_string() };
        if !there {
            self.changed.insert(number);
            if rows > 0 {
                self.count_lost(rows);
                self.notes.push(format!(
                    "segment {number} of the dead letters is not there: {rows} dead letters are lost"
                ));
            }
            return Ok(());
        }
        let mut segment = Segment::default();
        let mut found: Vec<(DeadKey, Brief)> = Vec::new();
        let looked = SegmentFile::look(&*self.disk, &path, |position, row| {
            let key = file::key_of(&row);
            segment.hold(key, position, row.bytes, row.last_attempt_ms);
            found.push((
                key,
                Brief {
                    segment: number,
                    position,
                    client: row.client,
                    handler: row.handler.to_owned(),
                    bytes: row.bytes,
                },
            ));
        });
        match looked {
            Ok(format) if format > schema::FORMAT => {
                let (expected, found) = (schema::FORMAT, format);
                return Err(OpenError::TooNew { path, expected, found });
            }
            Ok(_) => {}
            Err(Fault::Full) => return Err(failed(Fault::Full)),
            Err(fault @ (Fault::Damaged(_) | Fault::Broken(_))) => {
                self.segments.insert(number, Segment { rows, ..Segment::default() });
                return self.set_aside(number, &fault).map_err(failed);
            }
        }
        // One that the ledger still counts on goes when the ledger knows: gone without a word it would
        // be a loss.
        if found.is_empty() && rows == 0 {
            self.changed.insert(number);
            return self.disk.remove(&path).map_err(|source| OpenError::Io { path, source });
        }
        segment.file_bytes =
            self.disk.size(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        self.next_position = self.next_position.max(segment.last + 1);
        if rows != segment.rows {
            self.changed.insert(number);
        }
        for (key, brief) in found {
            let (spool, lane, letter) = key;
            // Behind the cursor, and not handled after all.
            let counts =
                || Ok(brief.position <= known || letter <= cursor(spool, lane).map_err(failed)?);
            if self.replayed.contains(&key) || !counts()? {
                self.unsettled.insert(key, brief);
            } else {
                segment.tallies.add(&brief);
                self.tallies.add(&brief);
            }
        }
        self.segments.insert(number, segment);
        Ok(())
    }
}
