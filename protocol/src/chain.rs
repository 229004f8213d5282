//! The chain: a 64-bit hash over a lane's whole history, by which two stores prove that they mean
//! the same packets (R7).
//!
//! Each packet turns the chain once, so that a run can be cut anywhere and the value at any packet
//! can be computed from the packets before it. The nonce of the opening in which a packet was born
//! is part of the turn: two clones of one machine that store the very same bytes in the very same
//! millisecond still part ways.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::id::{Lane, Number, SpoolId};
use crate::target::TargetId;

/// Separates our hashes from everybody else's.
const START: &[u8] = b"paquebot chain 1";

/// The value of a lane's chain at some packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Chain(pub u64);

/// Where and when a packet was born: its spool, and the nonce of that spool's opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The spool whose name the packet's id bears for ever, whatever it is re-keyed to later.
    pub spool: SpoolId,
    /// The random number that the spool took at that opening.
    pub nonce: u64,
}

/// What a spool can say of a lane's chain at the ledger's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    /// This is its value there.
    Chain(Chain),
    /// All packets after the last acknowledged one and up to there are gone from the spool, declared
    /// by tombstones: whatever the ledger means by them, none can be lost any more.
    Gone,
    /// The number was never assigned, or what would prove it is gone while packets before it are not.
    Unknown,
}

impl Held {
    /// Whether the ledger's cursor, with its chain if it has one, may be believed (R7). Without a
    /// proof it may not: duplicates are better than a loss.
    #[must_use]
    pub fn proves(self, ledger: Option<Chain>) -> bool {
        match self {
            Self::Chain(ours) => ledger == Some(ours),
            Self::Gone => true,
            Self::Unknown => false,
        }
    }
}

/// The hash of one packet's record.
#[must_use]
pub fn record_hash(record: &[u8]) -> u64 {
    xxh3_64(record)
}

impl Chain {
    /// The chain of a lane that has no packet yet.
    #[must_use]
    pub fn start(target: &TargetId, lane: Lane) -> Self {
        let seed = xxh3_64_with_seed(START, lane.0);
        Self(xxh3_64_with_seed(target.as_str().as_bytes(), seed))
    }

    /// The chain after one more packet.
    #[must_use]
    pub fn after(self, record_hash: u64, nonce: u64) -> Self {
        let mut turn = [0_u8; 16];
        let (hash, birth) = turn.split_at_mut(8);
        hash.copy_from_slice(&record_hash.to_le_bytes());
        birth.copy_from_slice(&nonce.to_le_bytes());
        Self(xxh3_64_with_seed(&turn, self.0))
    }

    /// The checksum of a run that ends at this value: it covers every packet by way of the chain,
    /// and what else the run's head says.
    #[must_use]
    pub fn seal(self, origin: Origin, first: Number, count: u32) -> u64 {
        let mut head = [0_u8; 36];
        let (spool, rest) = head.split_at_mut(16);
        let (nonce, rest) = rest.split_at_mut(8);
        let (number, packets) = rest.split_at_mut(8);
        spool.copy_from_slice(&origin.spool.0);
        nonce.copy_from_slice(&origin.nonce.to_le_bytes());
        number.copy_from_slice(&first.0.to_le_bytes());
        packets.copy_from_slice(&count.to_le_bytes());
        xxh3_64_with_seed(&head, self.0)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({:016x})", self.0)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
