//! Records: outcomes, written whole or not at all (R4).
//!
//! A record is judged first, in the order of its marks, and written only when all of it may be.

use std::collections::BTreeMap;

use paquebot_protocol::{ClientId, LaneKey};
use redb::ReadableTable;

use super::cursor::Cursor;
use super::dead::DeadKey;
use super::facts::{DeadLetter, FileId, FileState, Mark};
use super::fence::number_of;
use super::writer::{Outcomes, Sheet};
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
        let handled = judged.iter().map(|judged| judged.mark.handled).sum();
        self.add_totals(&record.handler, handled, record.dead.len() as u64)?;
        for (key, cursor) in cursors {
            self.put_cursor(key, cursor)?;
        }
        if let Some((file, state)) = record.file {
            self.put_file(file, state)?;
        }
        for letter in record.dead {
            self.new_dead.insert(key_of(&letter, &judged), letter);
        }
        Ok(Ok(()))
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
        let skipped = cursor.skipped.saturating_add(skipped);
        cursors.insert(key, Cursor { at: through, chain: Some(chain), skipped, ..cursor });
        Ok(Ok(spool.client))
    }

    fn add_totals(&mut self, handler: &str, handled: u64, dead: u64) -> Result<(), Fault> {
        if handled == 0 && dead == 0 {
            return Ok(());
        }
        let before = self.totals.get(handler)?.map_or((0, 0), |row| row.value());
        let after = (before.0.saturating_add(handled), before.1.saturating_add(dead));
        self.totals.insert(handler, after)?;
        self.wrote = true;
        Ok(())
    }

    fn put_file(&mut self, file: FileId, state: FileState) -> Result<(), Fault> {
        let FileState { path, length, generation } = state;
        let row = schema::encode(&FileRow { path, length, generation })?;
        self.files.insert((file.device, file.inode), row.as_slice())?;
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
