//! The keys under which packets were handed over, so that a sender who did not hear the answer may
//! repeat them: for a day, and the last so many of each source.
//!
//! They stand in the active segment, in the transaction of their packets, and are copied when the next
//! segment is begun: they outlive the packets.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use paquebot_protocol::{Lane, Millis, Number, SpoolId};
use redb::WriteTransaction;

use super::facts::Stored;
use super::parcel::Key;
use crate::fault::Fault;
use crate::schema::{self, KeyRow};

/// For how long a key is remembered, by the spool's clock.
const REMEMBERED: Duration = Duration::from_hours(24);

/// How many keys of one source are remembered, if the spool is large enough.
const KEYS_MAX: u64 = 100_000;

/// About how much of a file a key takes.
const KEY_BYTES: u64 = 160;

/// The keys of a spool take at most one part in so many of its quota.
const SHARE: u64 = 16;

/// Every key as of the last commit.
#[derive(Debug)]
pub(super) struct Keys {
    sources: BTreeMap<u64, Source>,
    /// The number of the next key, over all sources.
    next: u64,
    /// How many of one source are remembered.
    most: u64,
}

#[derive(Debug, Default)]
struct Source {
    by_key: HashMap<u128, (u64, KeyRow)>,
    /// In the order in which they came: the key's number, and the key.
    order: VecDeque<(u64, u128)>,
}

/// What a commit changes.
#[derive(Debug, Default)]
pub(super) struct KeyChanges {
    added: Vec<(Key, u64, KeyRow)>,
    forgotten: Vec<(u64, u64)>,
}

impl Keys {
    /// The keys of a spool of `max_bytes`, from the rows that it has in the order of their numbers.
    pub(super) fn new(max_bytes: u64, rows: Vec<(u64, u64, KeyRow)>) -> Self {
        let most = (max_bytes / SHARE / KEY_BYTES).min(KEYS_MAX);
        let mut keys = Self { sources: BTreeMap::new(), next: 1, most };
        for (source, number, row) in rows {
            keys.insert(source, number, row);
        }
        keys
    }

    fn insert(&mut self, source: u64, number: u64, row: KeyRow) {
        self.next = self.next.max(number + 1);
        let source = self.sources.entry(source).or_default();
        source.order.push_back((number, row.key));
        source.by_key.insert(row.key, (number, row));
    }

    /// What was handed over under a key, and the answer that it got.
    pub(super) fn find(&self, key: &Key) -> Option<(Key, Stored)> {
        let (_, row) = self.sources.get(&key.source)?.by_key.get(&key.key)?;
        let KeyRow { content, spool, lane, first, count, .. } = *row;
        let stored = Stored {
            spool: SpoolId(spool.to_be_bytes()),
            lane: Lane(lane),
            first: Number(first),
            count,
            again: false,
            differs: false,
        };
        Some((Key { content, ..*key }, stored))
    }

    /// About how much of a file they take.
    pub(super) fn bytes(&self) -> u64 {
        self.sources.values().map(|source| source.order.len() as u64 * KEY_BYTES).sum()
    }

    /// What a commit at `now` changes that stores packets under `keys`.
    pub(super) fn changes(&self, keys: &[(Key, Stored)], now: Millis) -> KeyChanges {
        let mut changes = KeyChanges::default();
        let mut coming: BTreeMap<u64, u64> = BTreeMap::new();
        for (number, (key, stored)) in (self.next..).zip(keys) {
            let row = KeyRow {
                key: key.key,
                content: key.content,
                spool: u128::from_be_bytes(stored.spool.0),
                lane: stored.lane.0,
                first: stored.first.0,
                count: stored.count,
                at: now.0,
            };
            changes.added.push((*key, number, row));
            *coming.entry(key.source).or_default() += 1;
        }
        for (source, coming) in coming {
            let Some(known) = self.sources.get(&source) else { continue };
            let surplus = (known.order.len() as u64 + coming).saturating_sub(self.most);
            let is_old = |key: &u128| {
                let at = known.by_key.get(key).map_or(0, |(_, row)| row.at);
                Duration::from(now.since(Millis(at))) > REMEMBERED
            };
            let gone = (0..).zip(&known.order);
            let gone = gone.take_while(|(at, (_, key))| *at < surplus || is_old(key));
            changes.forgotten.extend(gone.map(|(_, (number, _))| (source, *number)));
        }
        changes
    }

    /// Writes all of them into a segment that has none.
    pub(super) fn fill(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut table = transaction.open_table(schema::KEYS)?;
        for (source, known) in &self.sources {
            for (number, key) in &known.order {
                let Some((_, row)) = known.by_key.get(key) else { continue };
                table.insert((*source, *number), schema::encode(row)?.as_slice())?;
            }
        }
        Ok(())
    }

    /// The commit with these changes is durable.
    pub(super) fn put_in_place(&mut self, changes: KeyChanges) {
        for (source, number) in changes.forgotten {
            let Some(known) = self.sources.get_mut(&source) else { continue };
            let Some((_, key)) = known.order.pop_front() else { continue };
            if known.by_key.get(&key).is_some_and(|(of, _)| *of == number) {
                known.by_key.remove(&key);
            }
        }
        for (key, number, row) in changes.added {
            self.insert(key.source, number, row);
        }
    }
}

impl KeyChanges {
    /// Writes them, in the transaction of the packets; gives what they take of the file, and what
    /// they give back.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(u64, u64), Fault> {
        if self.added.is_empty() {
            return Ok((0, 0));
        }
        let mut table = transaction.open_table(schema::KEYS)?;
        for (key, number, row) in &self.added {
            table.insert((key.source, *number), schema::encode(row)?.as_slice())?;
        }
        for place in &self.forgotten {
            table.remove(*place)?;
        }
        let bytes = |rows: usize| rows as u64 * KEY_BYTES;
        Ok((bytes(self.added.len()), bytes(self.forgotten.len())))
    }
}
