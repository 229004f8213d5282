//! The model ledger, which survives a crash of the server: openings that fence, cursors that move by
//! compare-and-set, dead letters, retired lanes, and the totals of R8 beside each cursor.

use std::collections::{BTreeMap, BTreeSet};

use super::handler::Effect;
use paquebot_protocol::{Chain, Lane, LaneKey, Number, Packet, Retired, SpoolId};

/// A packet's data: a serial number, and some bytes so that packets differ in length.
pub(crate) fn data_of(serial: u64) -> Vec<u8> {
    let mut data = serial.to_be_bytes().to_vec();
    data.resize(8 + usize::try_from(serial % 7).unwrap_or_default(), b'.');
    data
}

/// The serial number in a packet's data.
pub(crate) fn serial_of(record: &[u8]) -> u64 {
    let packet = Packet::decode(record).expect("the record that was stored");
    packet.data.first_chunk().map_or(0, |serial| u64::from_be_bytes(*serial))
}

/// One opening of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    pub(crate) spool: SpoolId,
    pub(crate) opened: u64,
    pub(crate) nonce: u64,
}

/// Where a lane stands, and what became of everything up to there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cursor {
    pub(crate) at: Number,
    pub(crate) chain: Option<Chain>,
    pub(crate) handled: u64,
    pub(crate) dead: u64,
    pub(crate) elsewhere: u64,
    pub(crate) skipped: u64,
}

/// What a ledger writes in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) fence: Fence,
    pub(crate) lane: Lane,
    pub(crate) from: Number,
    pub(crate) through: Number,
    pub(crate) chain: Chain,
    pub(crate) dead: Vec<Number>,
    pub(crate) skipped: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    cursors: BTreeMap<LaneKey, Cursor>,
    dead: BTreeSet<(LaneKey, Number)>,
    openings: BTreeMap<SpoolId, (u64, u64)>,
    retired: BTreeMap<SpoolId, Retired>,
    /// The effects that were recorded here: the last of each lane, and the lane of each packet.
    effects_through: BTreeMap<LaneKey, Number>,
    effects_in: BTreeMap<u64, LaneKey>,
    /// Numbers that a cursor jumped over, because their outcome was in another ledger.
    pub(crate) elsewhere: u64,
    /// Outcomes that it did not record, because the cursor was elsewhere.
    pub(crate) refused: u64,
}

impl Ledger {
    /// Whether this opening may go on; if so, it is the latest.
    pub(crate) fn admit(&mut self, fence: Fence) -> bool {
        let Fence { spool, opened, nonce } = fence;
        let latest = self.openings.entry(spool).or_insert((opened, nonce));
        if opened > latest.0 {
            *latest = (opened, nonce);
        }
        *latest == (opened, nonce)
    }

    /// Whether no later opening is on record, nor another with the same number.
    pub(crate) fn is_latest(&self, fence: Fence) -> bool {
        self.openings.get(&fence.spool) == Some(&(fence.opened, fence.nonce))
    }

    /// Where a lane goes on, of which the client holds everything from `first` on, with the dead
    /// letters among what follows; nothing when the lane is retired.
    pub(crate) fn look_up(&mut self, key: LaneKey, first: Number) -> Option<(Cursor, Vec<Number>)> {
        if self.retired.get(&key.spool).is_some_and(|retired| retired.contains(key.lane)) {
            return None;
        }
        let before = first.before();
        let found = self.cursors.entry(key).or_default();
        if found.at < before {
            self.elsewhere += before.since(found.at);
            found.elsewhere += before.since(found.at);
            (found.at, found.chain) = (before, None);
        }
        let found = *found;
        let dead = self.dead.range((key, before)..=(key, found.at)).map(|(_, number)| *number);
        Some((found, dead.filter(|number| *number >= first).collect()))
    }

    /// Moves a cursor, if it is still where the attempt began and no later opening is on record.
    pub(crate) fn record(&mut self, record: &Record) -> bool {
        let Record { fence, lane, from, through, chain, ref dead, skipped } = *record;
        let key = LaneKey { spool: fence.spool, lane };
        if !self.is_latest(fence) {
            return false;
        }
        let Some(cursor) = self.cursors.get_mut(&key).filter(|cursor| cursor.at == from) else {
            self.refused += 1;
            return false;
        };
        let passed = through.since(from);
        let died = dead.len() as u64;
        (cursor.at, cursor.chain) = (through, Some(chain));
        cursor.skipped += if skipped { passed } else { 0 };
        cursor.handled += if skipped { 0 } else { passed - died };
        cursor.dead += died;
        self.dead.extend(dead.iter().map(|number| (key, *number)));
        true
    }

    /// Takes down an effect; says whether it goes on from the effects of its lane that are on record,
    /// and is on record for no other lane, unless the packet may have been handled under another name.
    pub(crate) fn note(&mut self, effect: &Effect, may_repeat: bool) -> bool {
        let Effect { key, number, serial } = *effect;
        let last = self.effects_through.insert(key, number);
        let elsewhere = self.effects_in.insert(serial, key).is_some_and(|other| other != key);
        last.is_none_or(|last| last < number) && (may_repeat || !elsewhere)
    }

    /// A lane ends for ever, by word of its spool's latest opening.
    pub(crate) fn retire(&mut self, fence: Fence, lane: Lane) {
        if self.is_latest(fence) {
            self.retired.entry(fence.spool).or_default().retire(lane);
            self.cursors.remove(&LaneKey { spool: fence.spool, lane });
        }
    }

    pub(crate) fn forget(&mut self, key: LaneKey) {
        self.cursors.remove(&key);
        self.effects_through.remove(&key);
    }

    pub(crate) fn cursor(&self, key: LaneKey) -> Option<Number> {
        self.row(key).map(|cursor| cursor.at)
    }

    pub(crate) fn row(&self, key: LaneKey) -> Option<&Cursor> {
        self.cursors.get(&key)
    }

    /// Everything up to a cursor has a final outcome (R8).
    pub(crate) fn check(&self) {
        for (key, cursor) in &self.cursors {
            let Cursor { at, handled, dead, elsewhere, skipped, .. } = *cursor;
            assert_eq!(at.0, handled + dead + elsewhere + skipped, "{key:?}: {cursor:?}");
        }
    }
}
