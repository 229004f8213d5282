//! Finding letters: the list in the order of their positions, one by its id, those of a lane.

use bytes::Bytes;
use paquebot_protocol::{Lane, LaneKey, Number, PacketId, SpoolId};

use super::file;
use super::tally::Brief;
use super::{DeadKey, DeadLetters, Placed};
use crate::fault::Fault;
use crate::ledger::fence::number_of;
use crate::ledger::letters::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, LetterKey, ListedLetter,
};
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
        let newest = self.next_position.saturating_sub(1);
        if let Some(id) = filter.id {
            return Ok(DeadLetterPage { letters: self.listed(id)?, next: None, newest });
        }
        let from = filter.after.unwrap_or(0).saturating_add(1);
        let segments = self.segments.iter().filter(|(_, segment)| segment.last >= from);
        let segments: Vec<u64> = segments.map(|(number, _)| *number).collect();
        let mut page = DeadLetterPage { newest, ..DeadLetterPage::default() };
        let (mut rows, mut last, mut bytes) = (0, from - 1, 0_u64);
        for segment in segments {
            let mut letters = Vec::new();
            let room = filter.limit.saturating_sub(page.letters.len());
            let next = &mut page.next;
            let each = |placed: Placed, row: DeadRow<'_>| {
                if filter.through.is_some_and(|through| placed.position > through) {
                    return false;
                }
                let matches = matches(filter, &row);
                let heavy = filter.record_bytes_max.is_some_and(|most| {
                    matches && bytes > 0 && bytes.saturating_add(row.bytes) > most
                });
                if letters.len() >= room || rows >= ROWS_MAX || heavy {
                    *next = Some(last);
                    return false;
                }
                rows += 1;
                last = placed.position;
                if matches {
                    bytes = bytes.saturating_add(row.bytes);
                    letters.push((placed.key, listed(placed, &row)));
                }
                true
            };
            self.read(segment, |file| file.each_from(from, each))?;
            letters.retain(|(key, _)| !self.unsettled.contains_key(key));
            for (_, mut listed) in letters {
                if filter.record_bytes_max.is_some() {
                    let letter = self.read(segment, |file| file.letter(listed.position))?;
                    let Some(letter) = letter.flatten() else { continue };
                    listed.letter = letter;
                }
                page.letters.push(listed);
            }
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

    /// The letters of a packet, with their records.
    fn listed(&mut self, id: PacketId) -> Result<Vec<ListedLetter>, Fault> {
        let mut found = Vec::new();
        for (key, brief) in self.by_id(id)? {
            let letter = self.read(brief.segment, |file| file.letter(brief.position))?;
            let (position, key, size) = (brief.position, letter_key(key), brief.bytes);
            let listed = |letter| ListedLetter { position, key, size, letter };
            found.extend(letter.flatten().map(listed));
        }
        Ok(found)
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

fn listed(placed: Placed, row: &DeadRow<'_>) -> ListedLetter {
    let (position, key, size) = (placed.position, letter_key(placed.key), row.bytes);
    ListedLetter { position, key, size, letter: file::letter_of(row, Bytes::new()) }
}

fn letter_key((session, lane, number): DeadKey) -> LetterKey {
    let (session, lane) = (SpoolId(session.to_be_bytes()), Lane(lane));
    LetterKey { session, lane, number: Number(number) }
}

fn matches(filter: &DeadLetterFilter, row: &DeadRow<'_>) -> bool {
    filter.handler.as_ref().is_none_or(|handler| handler == row.handler)
        && filter.client.as_ref().is_none_or(|client| *client == row.client)
        && filter.target.as_ref().is_none_or(|target| target.matches(&row.target))
        && filter.since_ms.is_none_or(|since_ms| row.last_attempt_ms >= since_ms)
        && filter.until_ms.is_none_or(|until_ms| row.last_attempt_ms < until_ms)
}
