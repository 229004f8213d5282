//! A lane as a read sees it: one snapshot of the active segment, and what the catalog knew just
//! before it.

use std::collections::VecDeque;
use std::sync::Arc;

use paquebot_protocol::{Chain, Lane, Number, Run};
use redb::{ReadTransaction, ReadableDatabase};

use super::catalog::Piece;
use super::envelope::Envelope;
use super::facts::Tombstone;
use super::mark;
use super::read::{Reader, Trouble};
use super::scan;
use super::tombstone::Tombstones;
use crate::fault::Fault;
use crate::schema::{self, LaneRow};

/// How many sealed pieces of a lane one read looks up: more than it will have time for.
const PIECES_MAX: usize = 64;

/// A lane.
pub(super) struct View {
    pub(super) acked: Number,
    pub(super) next: Number,
    pub(super) chain: Chain,
    /// The tombstones, when there is no snapshot to find them in.
    gone: Arc<Tombstones>,
    /// Nothing after a failed write, until there is a new active segment.
    pub(super) active: Option<ReadTransaction>,
    pub(super) pieces: VecDeque<(u64, Piece)>,
    /// What lies after this was not looked up.
    pub(super) through: Number,
}

impl Reader {
    /// A lane as of now; nothing when there is no such lane.
    pub(super) fn view(&self, lane: Lane, from: Number) -> Result<Option<View>, Trouble> {
        let (active, pieces) = {
            let files = self.shared.files();
            let pieces = files.catalog.pieces_from(lane, from).take(PIECES_MAX);
            (files.active.clone(), pieces.collect::<VecDeque<_>>())
        };
        let all = pieces.len() < PIECES_MAX;
        let through = pieces.back().filter(|_| !all).map_or(Number(u64::MAX), |(_, p)| p.last);
        let Some(active) = active else {
            let lanes = self.shared.lanes();
            return Ok(lanes.get(&lane).map(|known| View {
                acked: known.state.acked_through,
                next: known.state.next,
                chain: known.chain,
                gone: Arc::clone(&known.gone),
                active: None,
                pieces,
                through,
            }));
        };
        let snapshot = active.begin_read()?;
        let row = snapshot.open_table(schema::LANES)?.get_owned(lane.0)?;
        let Some(row) = row else { return Ok(None) };
        let LaneRow { acked, next, chain, .. } = mark::lane(row.value())?;
        let gone = Arc::default();
        Ok(Some(View { acked, next, chain, gone, active: Some(snapshot), pieces, through }))
    }
}

impl View {
    /// The first tombstone that ends at `number` or after it.
    pub(super) fn tombstone_after(
        &self,
        lane: Lane,
        number: Number,
    ) -> Result<Option<Tombstone>, Fault> {
        Ok(self.tombstones(lane, number, number)?.into_iter().next())
    }

    /// The tombstones that end at `from` or after it, through the first that ends beyond `through`.
    pub(super) fn tombstones(
        &self,
        lane: Lane,
        from: Number,
        through: Number,
    ) -> Result<Vec<Tombstone>, Fault> {
        let mut found: Vec<Tombstone> = Vec::new();
        let enough = |found: &Vec<Tombstone>| found.last().is_some_and(|one| one.last >= through);
        let Some(active) = &self.active else {
            for tombstone in self.gone.from(from) {
                if enough(&found) {
                    break;
                }
                found.push(*tombstone);
            }
            return Ok(found);
        };
        let table = active.open_table(schema::TOMBSTONES)?;
        for row in table.range_owned((lane.0, from.0)..=(lane.0, u64::MAX))? {
            if enough(&found) {
                break;
            }
            let (_, value) = row?;
            found.push(mark::tombstone(value.value())?);
        }
        Ok(found)
    }
}

/// Verified runs of the active segment from the one with `from` on, without a gap, up to `through`,
/// about `bytes_max` but at least one; none when `from` is not there, or damaged. The last one is cut
/// when it goes on.
pub(super) fn runs(
    segment: &ReadTransaction,
    lane: Lane,
    from: Number,
    through: Number,
    bytes_max: usize,
) -> Result<Vec<(Envelope, Run)>, Trouble> {
    let table = segment.open_table(schema::RUNS)?;
    let (mut runs, mut bytes, mut next) = (Vec::new(), 0, from);
    if from > through {
        return Ok(runs);
    }
    for entry in table.range_owned((lane.0, from.0)..=(lane.0, u64::MAX))? {
        let (key, value) = entry?;
        let Ok((envelope, run)) = scan::open(lane, Number(key.value().1), value.value()) else {
            break;
        };
        if run.first() > next {
            break;
        }
        let run = if run.last() > through { run.part(run.first(), through) } else { Some(run) };
        let Some(run) = run else { break };
        next = run.last().next();
        bytes += run.encoded().len();
        runs.push((envelope, run));
        if bytes >= bytes_max || next > through {
            break;
        }
    }
    Ok(runs)
}
