//! A batch: packets of one target that a source hands over together, encoded once, not yet
//! numbered.
//!
//! Numbers come from the store alone (R2), so a batch holds records and their hashes, and the store
//! copies them into runs without looking at them again.

use serde::Serialize;

use crate::chain::record_hash;
use crate::packet::Packet;

/// The head of a record within a run: MessagePack `bin 16`, or `bin 32` for the long ones.
const HEAD_BYTES: usize = 3;
const BIN_8: u8 = 0xc4;
const BIN_16: u8 = 0xc5;
const BIN_32: u8 = 0xc6;

/// Where a record ends, and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) end: usize,
    pub(crate) hash: u64,
}

/// Encoded packets of one target, in the order in which they will be numbered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    records: Vec<u8>,
    marks: Vec<Mark>,
    ttl_min_ms: Option<u64>,
}

impl Batch {
    /// An empty batch with room for `bytes` of records.
    #[must_use]
    pub fn with_capacity(packets: usize, bytes: usize) -> Self {
        let (records, marks) = (Vec::with_capacity(bytes), Vec::with_capacity(packets));
        Self { records, marks, ttl_min_ms: None }
    }

    /// Appends a packet.
    pub fn push(&mut self, packet: &Packet<'_>) {
        let start = self.records.len();
        self.records.extend_from_slice(&[BIN_16, 0, 0]);
        let mut serializer = rmp_serde::Serializer::new(&mut self.records).with_struct_map();
        let written = packet.serialize(&mut serializer);
        debug_assert!(written.is_ok(), "a Vec takes every byte and a packet has no other failure");
        let body = start + HEAD_BYTES;
        let hash = record_hash(self.records.get(body..).unwrap_or_default());
        let length = self.records.len() - body;
        let (head, used) = record_head(length);
        self.records.splice(start..body, head.into_iter().take(used));
        self.marks.push(Mark { end: self.records.len(), hash });
        if let Some(ttl_ms) = packet.meta.ttl_ms {
            self.ttl_min_ms = Some(self.ttl_min_ms.map_or(ttl_ms, |least| least.min(ttl_ms)));
        }
    }

    /// How many packets it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.marks.len()
    }

    /// How many bytes they take when stored and sent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// The shortest time to live among its packets, in milliseconds; nothing when all live on.
    #[must_use]
    pub fn ttl_min_ms(&self) -> Option<u64> {
        self.ttl_min_ms
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    pub(crate) fn records(&self) -> &[u8] {
        &self.records
    }
}

/// The head of a record of `length` bytes: its bytes, and how many of them count.
pub(crate) fn record_head(length: usize) -> ([u8; 5], usize) {
    if let Ok(short) = u16::try_from(length) {
        let [a, b] = short.to_be_bytes();
        ([BIN_16, a, b, 0, 0], HEAD_BYTES)
    } else {
        // The length fits 32 bits: packets are limited to 16 MiB where they enter.
        let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        ([BIN_32, a, b, c, d], 5)
    }
}

/// Splits the first record off `records`: its bytes without the head, and the rest.
pub(crate) fn split_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match records {
        [BIN_16, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [BIN_32, a, b, c, d, rest @ ..] => {
            (usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?, rest)
        }
        [BIN_8, length, rest @ ..] => (usize::from(*length), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}
