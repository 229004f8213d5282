//! Finding letters: the list in the order of their positions, one by its id, those of a lane.

use bytes::Bytes;
use paquebot_protocol::{LaneKey, Number, PacketId};

use super::file;
use super::tally::Brief;
use super::{DeadKey, DeadLetters, Placed};
use crate::fault::Fault;
use crate::ledger::fence::number_of;
use crate::ledger::letters::{DeadLetter, DeadLetterFilter, DeadLetterPage, ListedLetter};
use crate::schema::{self, DeadRow};

/// Rows that are looked at for one page, so that a filter that matches little keeps no commit
/// waiting: a page may be short and still name the next.
const ROWS_MAX: usize = 10_000;

impl DeadLetters {
    /// The numbers of a lane's dead letters from `first` to `through`.
    pub(in crate::ledger) fn numbers(
        &mut self,
        key: LaneKey,
        first: Number,
        through: Number,
    ) -> Result<Vec<Number>, Fault> {
        let lane = (number_of(key.spool), key.lane.0);
        let mut numbers = Vec::new();
        if first > through {
            return Ok(numbers);
        }
        for segment in self.segments_of(lane, first.0, through.0) {
            let found = self.read(segment, |file| file.of_lane(lane, first.0, through.0))?;
            let settled = found.unwrap_or_default().into_iter().filter(|(number, _)| {
                let key = (lane.0, lane.1, *number);
                !self.unsettled.contains_key(&key)
            });
            numbers.extend(settled.map(|(number, _)| Number(number)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A page of the list.
    pub(in crate::ledger) fn list(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> Result<DeadLetterPage, Fault> {
        let from = filter.after.unwrap_or(0).saturating_add(1);
        let segments = self.segments.iter().filter(|(_, segment)| segment.last >= from);
        let segments: Vec<u64> = segments.map(|(number, _)| *number).collect();
        let mut page = DeadLetterPage::default();
        let (mut rows, mut last) = (0, from - 1);
        for segment in segments {
            let mut letters = Vec::new();
            let room = filter.limit.saturating_sub(page.letters.len());
            let next = &mut page.next;
            let each = |placed: Placed, row: DeadRow<'_>| {
                if letters.len() >= room || rows >= ROWS_MAX {
                    *next = Some(last);
                    return false;
                }
                rows += 1;
                last = placed.position;
                if matches(filter, &row) {
                    let (position, size) = (placed.position, row.bytes);
                    let letter = file::letter_of(&row, Bytes::new());
                    letters.push((placed.key, ListedLetter { position, size, letter }));
                }
                true
            };
            self.read(segment, |file| file.each_from(from, each))?;
            let counts = |(key, _): &(DeadKey, _)| !self.unsettled.contains_key(key);
            page.letters.extend(letters.into_iter().filter(counts).map(|(_, letter)| letter));
            if page.next.is_some() {
                break;
            }
        }
        Ok(page)
    }

    /// The letter of a packet, with its record.
    pub(in crate::ledger) fn letter(&mut self, id: PacketId) -> Result<Option<DeadLetter>, Fault> {
        let Some((_, brief)) = self.by_id(id)?.into_iter().next() else { return Ok(None) };
        Ok(self.read(brief.segment, |file| file.letter(brief.position))?.flatten())
    }

    /// Removes the letters of these packets; gives how many there were.
    pub(in crate::ledger) fn discard(&mut self, ids: &[PacketId]) -> Result<u64, Fault> {
        let mut letters = Vec::new();
        for id in ids {
            letters.extend(self.by_id(*id)?);
        }
        letters.sort_unstable_by_key(|(key, _)| *key);
        letters.dedup_by_key(|(key, _)| *key);
        self.remove(letters, Some(schema::GONE_DISCARDED))
    }

    /// The letters of a packet: two, when two spools were born as one (R7).
    fn by_id(&mut self, id: PacketId) -> Result<Vec<(DeadKey, Brief)>, Fault> {
        let (lane, number) = (id.lane.0, id.number.0);
        let mut places: Vec<(u64, (u128, u64))> = Vec::new();
        for (segment, held) in &self.segments {
            let lanes = held.lanes.iter().filter(|((_, held), (least, most))| {
                *held == lane && (*least..=*most).contains(&number)
            });
            places.extend(lanes.map(|(lane, _)| (*segment, *lane)));
        }
        let mut found = Vec::new();
        for (segment, lane) in places {
            let key = (lane.0, lane.1, number);
            if self.unsettled.contains_key(&key) {
                continue;
            }
            let position = self.read(segment, |file| file.position(key))?;
            let Some(position) = position.flatten() else { continue };
            let mut take = |_: Placed, row: DeadRow<'_>| {
                if row.born == id.spool {
                    let (client, handler) = (row.client, row.handler.to_owned());
                    let brief = Brief { segment, position, client, handler, bytes: row.bytes };
                    found.push((key, brief));
                }
                false
            };
            self.read(segment, |file| file.each_from(position, &mut take))?;
        }
        Ok(found)
    }
}

fn matches(filter: &DeadLetterFilter, row: &DeadRow<'_>) -> bool {
    filter.handler.as_ref().is_none_or(|handler| handler == row.handler)
        && filter.client.as_ref().is_none_or(|client| *client == row.client)
        && filter.target.as_ref().is_none_or(|target| target.matches(&row.target))
        && filter.since_ms.is_none_or(|since_ms| row.last_attempt_ms >= since_ms)
}
