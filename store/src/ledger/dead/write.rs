//! Adding, settling and removing letters.

use std::collections::BTreeMap;

use paquebot_protocol::ClientId;

use super::file::SegmentFile;
use super::tally::Brief;
use super::{DeadKey, DeadLetters, Segment};
use crate::fault::Fault;
use crate::ledger::letters::DeadLetter;
use crate::schema;

/// What the ledger writes down of the dead letters with its next transaction.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Report {
    /// Letters and bytes of each segment that changed; nothing when it is gone.
    pub(in crate::ledger) segments: Vec<(u64, Option<(u64, u64)>)>,
    /// How many are gone, by how they went.
    pub(in crate::ledger) gone: Vec<(&'static str, u64)>,
    /// Letters that were replayed and are out of their segments by now.
    pub(in crate::ledger) out: Vec<DeadKey>,
}

impl DeadLetters {
    /// Adds letters, durably and unsettled. One that is there already is replaced where it stands.
    pub(in crate::ledger) fn insert(
        &mut self,
        letters: &BTreeMap<DeadKey, DeadLetter>,
    ) -> Result<(), Fault> {
        let mut again: BTreeMap<u64, Vec<(Brief, DeadKey, &DeadLetter)>> = BTreeMap::new();
        let mut fresh = Vec::new();
        for (key, letter) in letters {
            match self.find(*key)? {
                Some(before) => {
                    again.entry(before.segment).or_default().push((before, *key, letter));
                }
                None => fresh.push((*key, letter)),
            }
        }
        for (segment, letters) in again {
            for (before, key, _) in &letters {
                // It does not count until it is settled again.
                if !self.unsettled.contains_key(key) {
                    self.discount(before);
                }
            }
            let placed = letters.iter().map(|(before, key, l)| (before.position, *key, *l));
            self.write_in(segment, &placed.collect::<Vec<_>>(), &[])?;
            for (before, key, letter) in letters {
                self.release(segment, &before);
                self.hold(segment, before.position, key, letter);
            }
        }
        if !fresh.is_empty() {
            let active = self.active()?;
            let first = self.next_position;
            let placed = (first..).zip(&fresh).map(|(at, (key, letter))| (at, *key, *letter));
            self.write_in(active, &placed.collect::<Vec<_>>(), &[])?;
            self.next_position += fresh.len() as u64;
            for (position, (key, letter)) in (first..).zip(fresh) {
                self.hold(active, position, key, letter);
            }
        }
        Ok(())
    }

    /// The ledger's transaction is durable: these letters count from now on.
    pub(in crate::ledger) fn settle(&mut self, keys: impl IntoIterator<Item = DeadKey>) {
        for key in keys {
            if let Some(letter) = self.unsettled.remove(&key) {
                self.count(&letter);
            }
        }
    }

    /// The unsettled letters of a lane from `first` to `through`.
    pub(in crate::ledger) fn unsettled(
        &self,
        (spool, lane): (u128, u64),
        first: u64,
        through: u64,
    ) -> Vec<DeadKey> {
        if self.unsettled.is_empty() || first > through {
            return Vec::new();
        }
        let range = (spool, lane, first)..=(spool, lane, through);
        self.unsettled.range(range).map(|(key, _)| *key).collect()
    }

    /// Removes unsettled letters: their packets were handled after all.
    pub(in crate::ledger) fn remove_unsettled(&mut self, keys: &[DeadKey]) -> Result<(), Fault> {
        let letters = keys.iter().filter_map(|key| Some((*key, self.unsettled.get(key)?.clone())));
        self.remove(letters.collect(), None).map(drop)
    }

    /// Removes a client's oldest letters until `charge` more fits into `max_bytes`, or none is left.
    pub(in crate::ledger) fn evict(
        &mut self,
        client: &ClientId,
        charge: u64,
        max_bytes: u64,
    ) -> Result<(), Fault> {
        let numbers: Vec<u64> = self.segments.keys().copied().collect();
        for number in numbers {
            let here = |segment: &Segment| segment.tallies.clients.contains_key(client);
            let over = self.of_client(client).charge().saturating_add(charge);
            if over <= max_bytes {
                break;
            }
            if !self.segments.get(&number).is_some_and(here) {
                continue;
            }
            let mut freed = super::Tally::default();
            let letters = self.pick(number, |brief, _| {
                let wanted = brief.client == *client && freed.charge() < over - max_bytes;
                if wanted {
                    freed.add(brief.bytes);
                }
                wanted
            })?;
            self.remove(letters, Some(schema::GONE_EVICTED))?;
        }
        Ok(())
    }

    /// Removes the letters that were last tried before `before_ms`.
    pub(in crate::ledger) fn expire(&mut self, before_ms: u64) -> Result<(), Fault> {
        let old = self.segments.iter().filter(|(_, s)| s.rows > 0 && s.oldest_ms < before_ms);
        let old: Vec<u64> = old.map(|(number, _)| *number).collect();
        for number in old {
            let mut left_ms = u64::MAX;
            let letters = self.pick(number, |_, last_attempt_ms| {
                let wanted = last_attempt_ms < before_ms;
                if !wanted {
                    left_ms = left_ms.min(last_attempt_ms);
                }
                wanted
            })?;
            self.remove(letters, Some(schema::GONE_EXPIRED))?;
            if let Some(segment) = self.segments.get_mut(&number) {
                segment.oldest_ms = left_ms;
            }
        }
        Ok(())
    }

    /// Removes letters; gives how many there were. Those that counted are counted under `why`.
    pub(super) fn remove(
        &mut self,
        letters: Vec<(DeadKey, Brief)>,
        why: Option<&'static str>,
    ) -> Result<u64, Fault> {
        let mut by_segment: BTreeMap<u64, Vec<(DeadKey, Brief)>> = BTreeMap::new();
        for (key, brief) in letters {
            by_segment.entry(brief.segment).or_default().push((key, brief));
        }
        let mut removed = 0;
        for (segment, letters) in by_segment {
            let rows: Vec<_> = letters.iter().map(|(key, brief)| (brief.position, *key)).collect();
            self.write_in(segment, &[], &rows)?;
            for (key, brief) in letters {
                if self.unsettled.remove(&key).is_none() {
                    self.discount(&brief);
                }
                self.release(segment, &brief);
                removed += 1;
            }
        }
        if let Some(why) = why.filter(|_| removed > 0) {
            self.recount = true;
            *self.gone.entry(why).or_default() += removed;
        }
        Ok(removed)
    }

    /// What the ledger's next transaction has to say of the dead letters.
    pub(in crate::ledger) fn report(&self) -> Report {
        let held = |number: &u64| {
            let segment = self.segments.get(number).filter(|segment| segment.rows > 0);
            (*number, segment.map(|segment| (segment.rows, segment.bytes)))
        };
        Report {
            segments: self.changed.iter().map(held).collect(),
            gone: self.gone.iter().map(|(why, count)| (*why, *count)).collect(),
            out: self.out(),
        }
    }

    /// The ledger has written it down. Segments without a letter may go now, not before: a segment
    /// that is missing while the ledger counts on it is a loss.
    pub(in crate::ledger) fn reported(&mut self, out: &[DeadKey]) {
        for key in out {
            self.replayed.remove(key);
        }
        self.changed.clear();
        self.recount |= !self.gone.is_empty();
        self.gone.clear();
        let last = self.segments.keys().last().copied();
        let empty = |(number, s): (&u64, &Segment)| {
            (s.rows == 0 && !s.failed && Some(*number) != last).then_some(*number)
        };
        let empty: Vec<u64> = self.segments.iter().filter_map(empty).collect();
        for number in empty {
            self.let_go(number);
            self.segments.remove(&number);
            // One that stays is found empty at the next start, and removed then.
            let _ = self.disk.remove(&self.path(number));
        }
    }

    /// A letter, if it is there.
    pub(super) fn find(&mut self, key: DeadKey) -> Result<Option<Brief>, Fault> {
        if let Some(brief) = self.unsettled.get(&key) {
            return Ok(Some(brief.clone()));
        }
        let (spool, lane, number) = key;
        for segment in self.segments_of((spool, lane), number, number) {
            let position = self.read(segment, |file| file.position(key))?;
            let Some(position) = position.flatten() else { continue };
            let found = self.pick_from(segment, position, 1, |_, _| true)?;
            return Ok(found.into_iter().next().map(|(_, brief)| brief));
        }
        Ok(None)
    }

    /// The letters of a segment that count and that `wanted` takes, given when each was last tried.
    fn pick(
        &mut self,
        segment: u64,
        wanted: impl FnMut(&Brief, u64) -> bool,
    ) -> Result<Vec<(DeadKey, Brief)>, Fault> {
        let picked = self.pick_from(segment, 0, u64::MAX, wanted)?;
        Ok(picked.into_iter().filter(|(key, _)| !self.unsettled.contains_key(key)).collect())
    }

    fn pick_from(
        &mut self,
        segment: u64,
        position: u64,
        rows_max: u64,
        mut wanted: impl FnMut(&Brief, u64) -> bool,
    ) -> Result<Vec<(DeadKey, Brief)>, Fault> {
        let mut picked = Vec::new();
        let mut rows = 0;
        let each = |placed: super::Placed, row: schema::DeadRow<'_>| {
            let (position, bytes) = (placed.position, row.bytes);
            let (client, handler) = (row.client.clone(), row.handler.to_owned());
            let brief = Brief { segment, position, client, handler, bytes };
            if wanted(&brief, row.last_attempt_ms) {
                picked.push((placed.key, brief));
            }
            rows += 1;
            rows < rows_max
        };
        self.read(segment, |file| file.each_from(position, each))?;
        Ok(picked)
    }

    /// The segment that takes letters, begun if need be.
    fn active(&mut self) -> Result<u64, Fault> {
        if let Some(last) = self.segments.keys().last().copied() {
            let most = self.segment_bytes;
            if self.file(last)?.is_some_and(|file| file.bytes() < most) {
                return Ok(last);
            }
        }
        let number = self.next_segment;
        self.next_segment += 1;
        let (dir, path) = (Self::dir(&self.root), self.path(number));
        let file = SegmentFile::create(&*self.disk, &dir, &path).map_err(|not| not.fault)?;
        self.segments.insert(number, Segment::default());
        self.keep_open(number, file);
        Ok(number)
    }

    /// One transaction in a segment. When it fails, the segment waits to be mended.
    fn write_in(
        &mut self,
        number: u64,
        added: &[(u64, DeadKey, &DeadLetter)],
        removed: &[(u64, DeadKey)],
    ) -> Result<(), Fault> {
        self.change(number, |file| file.write(added, removed))
    }

    /// The same, of whatever kind.
    pub(super) fn change(
        &mut self,
        number: u64,
        write: impl FnOnce(&SegmentFile) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Some(file) = self.file(number)? else {
            return Err(Fault::damaged("a segment of dead letters", "one that is gone"));
        };
        let written = write(file);
        let bytes = file.bytes();
        self.changed.insert(number);
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.file_bytes = bytes;
            segment.failed = written.is_err();
        }
        if written.is_err() {
            self.let_go(number);
        }
        written
    }

    fn hold(&mut self, number: u64, position: u64, key: DeadKey, letter: &DeadLetter) {
        let bytes = letter.record.len() as u64;
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.hold(key, position, bytes, letter.last_attempt_ms);
        }
        let (client, handler) = (letter.client.clone(), letter.handler.clone());
        self.unsettled.insert(key, Brief { segment: number, position, client, handler, bytes });
    }

    fn release(&mut self, number: u64, letter: &Brief) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.release(letter.bytes);
        }
    }

    pub(super) fn count(&mut self, letter: &Brief) {
        self.recount = true;
        self.tallies.add(letter);
        if let Some(segment) = self.segments.get_mut(&letter.segment) {
            segment.tallies.add(letter);
        }
    }

    pub(super) fn discount(&mut self, letter: &Brief) {
        self.recount = true;
        self.tallies.subtract(letter);
        if let Some(segment) = self.segments.get_mut(&letter.segment) {
            segment.tallies.subtract(letter);
        }
    }
}
