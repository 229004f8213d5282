//! A run: consecutive packets of one lane, encoded once, stored as one value and sent as one frame.
//!
//! ```text
//! [spool, nonce, first, count, chain, check, packets]      MessagePack array of 7
//!  bin 16  u64    u64    u32    u64    u64    bin: records one after another, each in a bin
//! ```
//!
//! `chain` is the lane's chain before the first packet, `check` seals the chain after the last one
//! together with the head, so one pass over the packets proves every byte.

use bytes::{BufMut, Bytes, BytesMut};
use rmp::{decode, encode};

use crate::batch::{Batch, record_head, split_record};
use crate::chain::{Chain, Origin, record_hash};
use crate::id::{Lane, Number, PacketId, SpoolId};

/// Room for the longest head, so that the packets never have to move for it.
pub const RUN_HEAD_BYTES_MAX: usize = 80;

/// The bytes are not a run, or not the run that they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The array or one of its fields cannot be read.
    #[error("expected a run's {field}, found other bytes")]
    Malformed {
        /// The field that was expected.
        field: &'static str,
    },
    /// There are no packets, or their numbers leave the range.
    #[error("expected 1 or more packets from number {first}, found {count}")]
    Span {
        /// The first number.
        first: Number,
        /// How many packets the head claims.
        count: u32,
    },
    /// The packets do not make the number that the head claims.
    #[error("expected {expected} packets, found another number of them")]
    Count {
        /// How many the head claims.
        expected: u32,
    },
    /// Some byte is not what was written.
    #[error("expected checksum {expected:016x}, found {found:016x}")]
    Checksum {
        /// What the head says.
        expected: u64,
        /// What the packets give.
        found: u64,
    },
}

/// What a run says of itself before its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunHead {
    /// Where and when its packets were born.
    pub origin: Origin,
    /// The number of its first packet.
    pub first: Number,
    /// How many packets it has, at least one.
    pub count: u32,
    /// The lane's chain before the first packet.
    pub chain: Chain,
    /// Seals the chain after the last packet together with this head.
    pub check: u64,
}

/// A run and its encoding. Cheap to clone: the bytes are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    head: RunHead,
    encoded: Bytes,
    packets: Bytes,
}

impl Run {
    /// Reads the head; the packets are looked at by [`Run::verify`] only.
    ///
    /// # Errors
    /// When the bytes are not one run and nothing else.
    pub fn decode(encoded: Bytes) -> Result<Self, RunError> {
        let mut rest: &[u8] = &encoded;
        let field = |field| move |_| RunError::Malformed { field };
        if decode::read_array_len(&mut rest).ok() != Some(7) {
            return Err(RunError::Malformed { field: "array of 7" });
        }
        let spool_len = decode::read_bin_len(&mut rest).map_err(|_| field("spool")(()))?;
        let (16, Some((spool, after))) = (spool_len, rest.split_first_chunk::<16>()) else {
            return Err(field("spool")(()));
        };
        rest = after;
        let mut integer = |name| -> Result<u64, RunError> {
            decode::read_int(&mut rest).map_err(|_| RunError::Malformed { field: name })
        };
        let nonce = integer("nonce")?;
        let first = Number(integer("first")?);
        let count = u32::try_from(integer("count")?).map_err(|_| field("count")(()))?;
        let chain = Chain(integer("chain")?);
        let check = integer("check")?;
        let length = decode::read_bin_len(&mut rest).map_err(|_| field("packets")(()))?;
        if usize::try_from(length).ok() != Some(rest.len()) {
            return Err(RunError::Malformed { field: "packets" });
        }
        let in_range = first.plus(u64::from(count)).is_some_and(|end| end.0 < u64::MAX);
        if count == 0 || first == Number::NONE || !in_range {
            return Err(RunError::Span { first, count });
        }
        let packets = encoded.slice_ref(rest);
        let origin = Origin { spool: SpoolId(*spool), nonce };
        Ok(Self { head: RunHead { origin, first, count, chain, check }, encoded, packets })
    }

    /// Proves every byte and gives the chain after the last packet.
    ///
    /// # Errors
    /// When a byte is not what was written.
    pub fn verify(&self) -> Result<Chain, RunError> {
        let RunHead { origin, first, count, check, .. } = self.head;
        let mut chain = self.head.chain;
        let mut rest: &[u8] = &self.packets;
        for _ in 0..count {
            let (record, after) = split_record(rest).ok_or(RunError::Count { expected: count })?;
            chain = chain.after(record_hash(record), origin.nonce);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(RunError::Count { expected: count });
        }
        let found = chain.seal(origin, first, count);
        if found == check { Ok(chain) } else { Err(RunError::Checksum { expected: check, found }) }
    }

    /// The lane's chain at `number`, which must be one of the run's or the one before its first.
    #[must_use]
    pub fn chain_at(&self, number: Number) -> Option<Chain> {
        if number.next() < self.head.first || number > self.last() {
            return None;
        }
        let turns = usize::try_from(number.next().since(self.head.first)).ok()?;
        let turn =
            |chain: Chain, (_, record)| chain.after(record_hash(record), self.head.origin.nonce);
        Some(self.records().take(turns).fold(self.head.chain, turn))
    }

    /// The packets `from..=through` of this run as a run of their own; `None` when there are none.
    #[must_use]
    pub fn part(&self, from: Number, through: Number) -> Option<Self> {
        let (from, through) = (from.max(self.head.first), through.min(self.last()));
        if from > through {
            return None;
        }
        let chain = self.chain_at(from.before())?;
        let mut builder = RunBuilder::new(self.head.origin, from, chain, self.packets.len());
        for (number, record) in self.records() {
            if number >= from && number <= through {
                builder.push_record(record);
            }
        }
        builder.finish()
    }

    /// The packets' records with their numbers. Ends early at bytes that [`Run::verify`] refuses.
    pub fn records(&self) -> impl Iterator<Item = (Number, &[u8])> {
        let mut rest: &[u8] = &self.packets;
        let mut number = self.head.first.before();
        std::iter::from_fn(move || {
            let (record, after) = split_record(rest)?;
            rest = after;
            number = number.next();
            Some((number, record))
        })
    }

    /// What the run says of itself.
    #[must_use]
    pub fn head(&self) -> &RunHead {
        &self.head
    }

    /// The number of the first packet.
    #[must_use]
    pub fn first(&self) -> Number {
        self.head.first
    }

    /// The number of the last packet.
    #[must_use]
    pub fn last(&self) -> Number {
        Number(self.head.first.0.saturating_add(u64::from(self.head.count) - 1))
    }

    /// The bytes as stored and sent.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The id of the packet `number` of this run, when the run travels in `lane`.
    #[must_use]
    pub fn packet_id(&self, lane: Lane, number: Number) -> PacketId {
        PacketId { spool: self.head.origin.spool, lane, number }
    }
}

/// Puts records together into a run.
#[derive(Debug)]
pub struct RunBuilder {
    origin: Origin,
    first: Number,
    count: u32,
    before: Chain,
    chain: Chain,
    buffer: BytesMut,
}

impl RunBuilder {
    /// A run from `first`, after `chain`, with room for `bytes` of records.
    #[must_use]
    pub fn new(origin: Origin, first: Number, chain: Chain, bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(RUN_HEAD_BYTES_MAX + bytes);
        buffer.put_bytes(0, RUN_HEAD_BYTES_MAX);
        Self { origin, first, count: 0, before: chain, chain, buffer }
    }

    /// Takes packets of `batch` from the `from`-th on until `bytes_max` would be passed, but always
    /// one; gives the place to go on from.
    pub fn fill(&mut self, batch: &Batch, from: usize, bytes_max: usize) -> usize {
        let marks = batch.marks();
        let start = from.checked_sub(1).and_then(|at| marks.get(at)).map_or(0, |mark| mark.end);
        let (mut at, mut end) = (from, start);
        while let Some(mark) = marks.get(at) {
            let fits = self.bytes() + (mark.end - start) <= bytes_max;
            if !fits && self.count > 0 {
                break;
            }
            self.chain = self.chain.after(mark.hash, self.origin.nonce);
            self.count += 1;
            end = mark.end;
            at += 1;
        }
        self.buffer.extend_from_slice(batch.records().get(start..end).unwrap_or_default());
        at
    }

    /// How many bytes of records it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len() - RUN_HEAD_BYTES_MAX
    }

    /// The chain after the packets so far.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The run, or `None` when nothing was put in.
    #[must_use]
    pub fn finish(mut self) -> Option<Run> {
        if self.count == 0 {
            return None;
        }
        let check = self.chain.seal(self.origin, self.first, self.count);
        let head = RunHead {
            origin: self.origin,
            first: self.first,
            count: self.count,
            chain: self.before,
            check,
        };
        let mut written = Vec::with_capacity(RUN_HEAD_BYTES_MAX);
        write_head(&mut written, &head, self.bytes());
        let start = RUN_HEAD_BYTES_MAX - written.len();
        self.buffer.get_mut(start..RUN_HEAD_BYTES_MAX)?.copy_from_slice(&written);
        let buffer = self.buffer.freeze();
        Some(Run {
            head,
            packets: buffer.slice(RUN_HEAD_BYTES_MAX..),
            encoded: buffer.slice(start..),
        })
    }

    /// Takes one packet's record, as it is.
    pub fn push_record(&mut self, record: &[u8]) {
        self.chain = self.chain.after(record_hash(record), self.origin.nonce);
        self.count += 1;
        let (head, used) = record_head(record.len());
        self.buffer.extend_from_slice(head.get(..used).unwrap_or_default());
        self.buffer.extend_from_slice(record);
    }
}

fn write_head(out: &mut Vec<u8>, head: &RunHead, packets_bytes: usize) {
    let length = u32::try_from(packets_bytes).unwrap_or(u32::MAX);
    let integers =
        [head.origin.nonce, head.first.0, u64::from(head.count), head.chain.0, head.check];
    let mut write = || -> Result<(), encode::ValueWriteError> {
        encode::write_array_len(out, 7)?;
        encode::write_bin(out, &head.origin.spool.0)?;
        for integer in integers {
            encode::write_uint(out, integer)?;
        }
        encode::write_bin_len(out, length)?;
        Ok(())
    };
    let written = write();
    debug_assert!(written.is_ok(), "a Vec takes every byte");
}
