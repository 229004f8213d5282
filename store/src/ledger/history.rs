//! The history: when each lane went how far, and how, for whoever asks where a packet is.
//!
//! A stretch of numbers that passed in one second by one handler is one row, under the millisecond in
//! which its first part passed. That part is written in the transaction of its cursor; what follows
//! within the second is kept in memory, and written with the next row or when the ledger is idle. So a
//! crash costs a second's precision, and a lane at full speed costs a row a second. The oldest rows go
//! when there are too many or they are too old. Early ledgers wrote the second instead: such a number is
//! far too small for a millisecond, and those rows stand before all others.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use crate::fault::Fault;
use crate::schema::{self, HistoryKey, HistoryRow};

/// How many rows there may be: about 10 MiB.
const ROWS_MAX: u64 = 100_000;

/// For how long a row is of use, in milliseconds.
const KEPT_MS: u64 = 30 * 24 * 3600 * 1_000;

/// What is below this is a second: as a millisecond it would be in 1973.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// How many rows go with one that comes.
const PRUNED_AT_ONCE: usize = 4;

/// How many lanes are remembered whose second may not be over.
const OPEN_MAX: usize = 4096;

/// How packets ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// A handler took them.
    Handled,
    /// They became dead letters.
    DeadLettered,
    /// Their client declared that they would never come.
    Skipped,
    /// They had their outcome elsewhere, as far as this ledger knows.
    Elsewhere,
    /// They were dead letters, and a replay handled them after all.
    Replayed,
}

/// Packets of a lane that ended together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// When the first of them did, in milliseconds since 1970 (UTC); the others followed within a
    /// second.
    pub at_ms: u64,
    /// How.
    pub how: Passage,
    /// The handler; empty when there was none.
    pub handler: String,
}

/// A stretch of numbers of a lane that is about to pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// The spool and the lane.
    pub(super) lane: (u128, u64),
    /// The number before the first.
    pub(super) from: u64,
    /// The last number.
    pub(super) through: u64,
    /// How it passes.
    pub(super) how: Passage,
}

/// What is not written yet.
#[derive(Debug, Default)]
pub(super) struct History {
    open: HashMap<(u128, u64), Open>,
    /// Whether a stretch is longer than its row says.
    behind: bool,
}

/// The latest stretch of a lane.
#[derive(Debug)]
struct Open {
    at_ms: u64,
    from: u64,
    through: u64,
    written: u64,
    how: Passage,
    handler: Arc<str>,
}

/// The rows, in the order of their times.
pub(super) type Rows<'t> = Table<'t, HistoryKey, HistoryRow>;

impl History {
    /// A stretch passes at `at_ms`, in `transaction`; tells whether anything was written.
    pub(super) fn note(
        &mut self,
        transaction: &WriteTransaction,
        stretch: Stretch,
        handler: &Arc<str>,
        at_ms: u64,
    ) -> Result<bool, Fault> {
        let Stretch { lane, from, through, how } = stretch;
        let goes_on = |open: &&mut Open| {
            let same_second = open.at_ms / 1_000 == at_ms / 1_000;
            same_second && (open.through, open.how) == (from, how) && open.handler == *handler
        };
        if let Some(open) = self.open.get_mut(&lane).filter(goes_on) {
            open.through = through;
            self.behind = true;
            return Ok(false);
        }
        let rows = &mut transaction.open_table(schema::HISTORY)?;
        if self.open.len() >= OPEN_MAX {
            self.write(rows)?;
            self.open.clear();
        }
        let handler = Arc::clone(handler);
        let next = Open { at_ms, from, through, written: through, how, handler };
        next.write(rows, lane)?;
        if let Some(last) = self.open.insert(lane, next)
            && last.through > last.written
        {
            last.write(rows, lane)?;
        }
        prune(rows, at_ms)?;
        Ok(true)
    }

    /// Writes what is behind; tells whether anything was.
    pub(super) fn write(&mut self, rows: &mut Rows<'_>) -> Result<bool, Fault> {
        if !self.behind {
            return Ok(false);
        }
        for (lane, open) in &mut self.open {
            if open.through > open.written {
                open.write(rows, *lane)?;
                open.written = open.through;
            }
        }
        self.behind = false;
        Ok(true)
    }

    /// Whether something waits to be written.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// A transaction failed: what it wrote is not there.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.behind = false;
    }

    /// How a packet passed, if that is still known.
    pub(super) fn find(
        &self,
        rows: &impl ReadableTable<HistoryKey, HistoryRow>,
        lane: (u128, u64),
        number: u64,
    ) -> Result<Option<Passed>, Fault> {
        let holds = |from: u64, through: u64| from < number && number <= through;
        let open = self.open.get(&lane).filter(|open| holds(open.from, open.through));
        if let Some(open) = open.filter(|open| open.how != Passage::Handled) {
            return Ok(Some(open.passed()));
        }
        // From the latest on: within a second a dead letter stands behind those it came out of.
        for row in rows.iter()?.rev() {
            let (key, row) = row?;
            let ((at, spool, of, from), (through, how, handler)) = (key.value(), row.value());
            if (spool, of) == lane && holds(from, through) {
                let how = Passage::of(how)?;
                let (at_ms, handler) = (millis(at), handler.to_owned());
                return Ok(Some(Passed { at_ms, how, handler }));
            }
        }
        Ok(open.map(Open::passed))
    }
}

impl Open {
    fn write(&self, rows: &mut Rows<'_>, lane: (u128, u64)) -> Result<(), Fault> {
        let key = (self.at_ms, lane.0, lane.1, self.from);
        rows.insert(key, (self.through, self.how.code(), &*self.handler))?;
        Ok(())
    }

    fn passed(&self) -> Passed {
        Passed { at_ms: self.at_ms, how: self.how, handler: self.handler.to_string() }
    }
}

impl Passage {
    fn code(self) -> u8 {
        match self {
            Self::Handled => 0,
            Self::DeadLettered => 1,
            Self::Skipped => 2,
            Self::Elsewhere => 3,
            Self::Replayed => 4,
        }
    }

    fn of(code: u8) -> Result<Self, Fault> {
        use Passage::{DeadLettered, Elsewhere, Handled, Replayed, Skipped};
        [Handled, DeadLettered, Skipped, Elsewhere, Replayed]
            .into_iter()
            .find(|how| how.code() == code)
            .ok_or_else(|| Fault::damaged("how packets passed, 0 to 4", code))
    }
}

/// A row's time in milliseconds, whichever of the two it was written in.
fn millis(at: u64) -> u64 {
    if at < SECONDS_BELOW { at * 1_000 } else { at }
}

fn prune(rows: &mut Rows<'_>, now_ms: u64) -> Result<(), Fault> {
    for _ in 0..PRUNED_AT_ONCE {
        let oldest = rows.first()?.map(|(key, _)| key.value());
        let Some(oldest) = oldest else { break };
        let age_ms = now_ms.saturating_sub(millis(oldest.0));
        if rows.len()? <= ROWS_MAX && age_ms <= KEPT_MS {
            break;
        }
        rows.remove(oldest)?;
    }
    Ok(())
}
