//! Cursors: how far each lane was handled.

use std::sync::Arc;

use paquebot_protocol::{Chain, LaneKey, Number};
use redb::ReadableTable;

use super::facts::CursorAt;
use super::fence::number_of;
use super::history::{Passage, Stretch};
use super::sheet::Sheet;
use crate::error::LedgerError;
use crate::fault::Fault;

/// A lane's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    pub(super) at: Number,
    /// Nothing when the packets before it went elsewhere.
    pub(super) chain: Option<Chain>,
    /// How many numbers it jumped over, since the lane became known.
    pub(super) elsewhere: u64,
    /// How many numbers it passed by skips that had not been handled, since then.
    pub(super) skipped: u64,
}

impl Sheet<'_> {
    /// Where a lane stands, at `first - 1` or above.
    pub(super) fn cursor(
        &mut self,
        key: LaneKey,
        first: Number,
    ) -> Result<Result<CursorAt, LedgerError>, Fault> {
        let mut cursor = self.cursor_row(key)?;
        if cursor == Cursor::default() && self.is_retired(key)? {
            return Ok(Err(LedgerError::Retired { key }));
        }
        let jumped = first.before().since(cursor.at);
        if jumped > 0 {
            if !self.has_room {
                return Ok(Err(LedgerError::DiskFull));
            }
            let lane = (number_of(key.spool), key.lane.0);
            self.passed.extend(self.dead.unsettled(lane, cursor.at.next().0, first.before().0));
            let (from, through) = (cursor.at.0, first.before().0);
            let stretch = Stretch { lane, from, through, how: Passage::Elsewhere };
            self.passes(stretch, &Arc::from(""))?;
            let elsewhere = cursor.elsewhere.saturating_add(jumped);
            cursor = Cursor { at: first.before(), chain: None, elsewhere, ..cursor };
            self.put_cursor(key, cursor)?;
        }
        let mut dead = match self.dead.numbers(key, first, cursor.at) {
            Ok(dead) => dead,
            // Of this lane it is not known which packets are dead letters; others are not concerned.
            Err(fault) => return Ok(Err(fault.into())),
        };
        let staged = self.new_dead.keys().filter(|(spool, lane, number)| {
            let here = (*spool, *lane) == (number_of(key.spool), key.lane.0);
            here && (first.0..=cursor.at.0).contains(number) && !dead.contains(&Number(*number))
        });
        let staged: Vec<_> = staged.map(|(.., number)| Number(*number)).collect();
        dead.extend(staged);
        dead.sort_unstable();
        let tried = self.tried(key, cursor.at)?;
        let Cursor { at, chain, skipped, .. } = cursor;
        Ok(Ok(CursorAt { cursor: at, chain, dead, jumped, skipped, tried }))
    }

    /// A lane's row; a lane without one is at its beginning.
    pub(super) fn cursor_row(&self, key: LaneKey) -> Result<Cursor, Fault> {
        let row = self.cursors.get((number_of(key.spool), key.lane.0))?;
        Ok(row.map_or_else(Cursor::default, |row| {
            let (at, chain, elsewhere, skipped) = row.value();
            Cursor { at: Number(at), chain: chain.map(Chain), elsewhere, skipped }
        }))
    }

    /// Moves a cursor.
    pub(super) fn put_cursor(&mut self, key: LaneKey, cursor: Cursor) -> Result<(), Fault> {
        let Cursor { at, chain, elsewhere, skipped } = cursor;
        self.forget_tried(key, at)?;
        let row = (at.0, chain.map(|chain| chain.0), elsewhere, skipped);
        let key = (number_of(key.spool), key.lane.0);
        self.cursors.insert(key, row)?;
        self.wrote = true;
        Ok(())
    }
}
