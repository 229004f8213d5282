//! Records: outcomes, written whole or not at all (R4).
//!
//! A record is judged first, in the order of its marks, and written only when all of it may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use paquebot_protocol::{ClientId, LaneKey};
use redb::ReadableTable;

use super::cursor::Cursor;
use super::dead::{DeadKey, Tally};
use super::facts::{FileId, FileState, Mark};
use super::fence::number_of;
use super::history::{Passage, Stretch};
use super::letters::{DeadLetter, WhenDeadLettersFull};
use super::order::Outcomes;
use super::sheet::Sheet;
use crate::error::RecordError;
use crate::fault::Fault;
use crate::schema::{self, FileRow};

/// A mark that may be written, and whose packets it is about.
struct Judged {
    mark: Mark,
    client: ClientId,
}

impl Sheet<'_> {
    /// Writes a record, or says why not.
    pub(super) fn record(&mut self, record: Outcomes) -> Result<Result<(), RecordError>, Fault> {
        let mut cursors = BTreeMap::new();
        let mut judged = Vec::with_capacity(record.marks.len());
        for mark in record.marks {
            match self.judge(mark, &mut cursors)? {
                Ok(client) => judged.push(Judged { mark, client }),
                Err(refused) => return Ok(Err(refused)),
            }
        }
        if !self.has_room {
            return Ok(Err(RecordError::DiskFull));
        }
        let of_client = match self.judge_letters(&record.dead) {
            Ok(of_client) => of_client,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = self.judge_replays(&record.replays) {
            return Ok(Err(refused));
        }
        let handled = judged.iter().map(|judged| judged.mark.handled).sum::<u64>();
        let handled = handled.saturating_add(record.replays.handled.len() as u64);
        self.add_totals(&record.handler, handled, record.dead.len() as u64)?;
        for Judged { mark, .. } in &judged {
            let lane = (number_of(mark.fence.spool), mark.lane.0);
            self.stale.extend(self.dead.unsettled(lane, mark.from.next().0, mark.through.0));
        }
        self.write_history(&record.handler, &judged, &record.dead)?;
        self.new_of_client.extend(of_client);
        for (key, cursor) in cursors {
            self.put_cursor(key, cursor)?;
        }
        if let Some((file, state)) = record.file {
            self.put_file(file, state)?;
        }
        self.put_replays(record.replays, &record.handler)?;
        for letter in record.dead {
            self.new_dead.insert(key_of(&letter, &judged), letter);
        }
        Ok(Ok(()))
    }

    /// Writes down for whoever asks what passes now.
    fn write_history(
        &mut self,
        handler: &Arc<str>,
        judged: &[Judged],
        dead: &[DeadLetter],
    ) -> Result<(), Fault> {
        for Judged { mark, .. } in judged {
            let lane = (number_of(mark.fence.spool), mark.lane.0);
            let (from, through) = (mark.from.0, mark.through.0);
            let how = match (mark.handled, mark.skipped) {
                // All of them are dead letters.
                (0, 0) => continue,
                (0, _) => Passage::Skipped,
                _ => Passage::Handled,
            };
            self.passes(Stretch { lane, from, through, how }, handler)?;
        }
        for letter in dead {
            let (spool, lane, number) = key_of(letter, judged);
            let (lane, how) = ((spool, lane), Passage::DeadLettered);
            let stretch = Stretch { lane, from: number.saturating_sub(1), through: number, how };
            self.passes(stretch, handler)?;
        }
        Ok(())
    }

    /// Writes down that a stretch passes now.
    pub(super) fn passes(&mut self, stretch: Stretch, handler: &Arc<str>) -> Result<(), Fault> {
        self.history.note(self.transaction, stretch, handler, self.at_ms)?;
        Ok(())
    }

    /// Moves the mark's cursor in `cursors`, if its opening is the latest and the cursor is where
    /// the mark says; gives the client whose packets these are.
    fn judge(
        &self,
        mark: Mark,
        cursors: &mut BTreeMap<LaneKey, Cursor>,
    ) -> Result<Result<ClientId, RecordError>, Fault> {
        let Mark { fence, lane, from, through, chain, skipped, .. } = mark;
        let latest = self.spool(fence.spool)?;
        let latest = latest.filter(|on| (on.opened, on.nonce) == (fence.opened, fence.nonce));
        let Some(spool) = latest else {
            return Ok(Err(RecordError::Fenced { spool: fence.spool }));
        };
        let key = LaneKey { spool: fence.spool, lane };
        let cursor = match cursors.get(&key) {
            Some(cursor) => *cursor,
            None => self.cursor_row(key)?,
        };
        if cursor.at != from || through < from {
            return Ok(Err(RecordError::Moved { key, expected: from, found: cursor.at }));
        }
        if cursor == Cursor::default() && self.is_retired(key)? {
            return Ok(Err(RecordError::Retired { key }));
        }
        let skipped = cursor.skipped.saturating_add(skipped);
        cursors.insert(key, Cursor { at: through, chain: Some(chain), skipped, ..cursor });
        Ok(Ok(spool.client))
    }

    /// What each client has of new letters with these, if its quota takes them (R9).
    fn judge_letters(
        &self,
        letters: &[DeadLetter],
    ) -> Result<BTreeMap<ClientId, Tally>, RecordError> {
        let mut of_client = BTreeMap::new();
        for letter in letters {
            let client = &letter.client;
            let staged = self.new_of_client.get(client).copied().unwrap_or_default();
            let new = of_client.entry(client.clone()).or_insert(staged);
            new.add(letter.record.len() as u64);
        }
        let max_bytes = self.limits.max_bytes;
        for (client, new) in &of_client {
            let there = match self.limits.when_full {
                WhenDeadLettersFull::Pause => self.dead.of_client(client).charge(),
                // What is there makes room; what is new has to fit all the same.
                WhenDeadLettersFull::DropOldest => 0,
            };
            if there.saturating_add(new.charge()) > max_bytes {
                let (client, used_bytes) = (client.clone(), self.dead.of_client(client).charge());
                return Err(RecordError::DeadLettersFull { client, used_bytes, max_bytes });
            }
        }
        Ok(of_client)
    }

    fn add_totals(&mut self, handler: &str, handled: u64, dead: u64) -> Result<(), Fault> {
        if handled == 0 && dead == 0 {
            return Ok(());
        }
        let row = self.totals.get(handler)?.map(|row| row.value());
        let before = row.unwrap_or_default();
        let after = (before.0.saturating_add(handled), before.1.saturating_add(dead));
        self.totals.insert(handler, after)?;
        self.wrote = true;
        Ok(())
    }

    fn put_file(&mut self, file: FileId, state: FileState) -> Result<(), Fault> {
        let FileState { path, length, generation, check, began_ms, rotating, replaces } = state;
        let mut files = self.transaction.open_table(schema::FILES)?;
        for old in replaces {
            files.remove((old.device, old.inode))?;
        }
        let row = FileRow { path, length, generation, check, began_ms, rotating };
        let row = schema::encode(&row)?;
        let key = (file.device, file.inode);
        files.insert(key, row.as_slice())?;
        self.wrote = true;
        Ok(())
    }
}

/// Where a dead letter stands: under the spool of the session that it came in by, because two
/// spools may have been born as one (R7) and their packets' ids with them.
fn key_of(letter: &DeadLetter, marks: &[Judged]) -> DeadKey {
    let id = letter.id;
    let passes = |judged: &&Judged| {
        let Mark { lane, from, through, .. } = judged.mark;
        lane == id.lane && from < id.number && id.number <= through
    };
    let mut passing = marks.iter().filter(passes);
    let spool = passing
        .clone()
        .find(|judged| judged.mark.fence.spool == id.spool)
        .or_else(|| passing.find(|judged| judged.client == letter.client))
        .map_or(id.spool, |judged| judged.mark.fence.spool);
    (number_of(spool), id.lane.0, id.number.0)
}
