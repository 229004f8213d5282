//! What can go wrong, one enum for each thing that is asked of a store.

use std::io;
use std::path::PathBuf;

use paquebot_protocol::{ClientId, Lane, LaneKey, Number, SpoolId};

use crate::reply::Closed;
use crate::spool::POSITION_BYTES_MAX;

/// A store cannot be opened. Nothing was destroyed (R10).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("expected {dir} to be free, found it locked by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk refuses.
    #[error("{path}: {source}")]
    Io {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{path}: expected an intact store, found {found}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// The store was written by a later release.
    #[error("{path}: expected format {expected} or lower, found {found}; use a later release")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The highest format that this release reads.
        expected: u64,
        /// The format of the file.
        found: u64,
    },
    /// A thread cannot be started, or random bytes cannot be drawn.
    #[error("expected {expected}, found {found}")]
    System {
        /// What was wanted of the system.
        expected: &'static str,
        /// What it said.
        found: String,
    },
}

/// A packet was not stored, or it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The spool's quota is used up; space comes back as packets are acknowledged.
    #[error("expected room within {max_bytes} bytes, found {used_bytes} in use")]
    Full {
        /// The bytes of the spool's files.
        used_bytes: u64,
        /// How many it may have.
        max_bytes: u64,
    },
    /// The lane has used up its share of the spool, and others want room too.
    #[error("expected at most {share_bytes} bytes for one target, found {used_bytes} in use")]
    LaneFull {
        /// The bytes of the lane's runs.
        used_bytes: u64,
        /// How many it may have.
        share_bytes: u64,
    },
    /// The target would need one lane too many.
    #[error("expected at most {max} lanes, found a target that needs another")]
    LanesFull {
        /// How many there may be.
        max: usize,
    },
    /// The disk has no room, whatever the quota says.
    #[error("expected room on the disk, found none")]
    DiskFull,
    /// Nobody waited for the packets any more before they were stored: they were not.
    #[error("expected somebody to wait for the packet, found nobody any more")]
    Abandoned,
    /// The key was used before, for something else.
    #[error("expected a new key, found it used for packet {spool}-{lane}-{number} with other data")]
    KeyReused {
        /// The spool of the packet that was stored under it.
        spool: SpoolId,
        /// Its lane.
        lane: Lane,
        /// Its number.
        number: Number,
    },
    /// A source's position is longer than a row may be.
    #[error("expected a position of at most {POSITION_BYTES_MAX} bytes, found {found}")]
    PositionTooLong {
        /// How long it is, in bytes.
        found: usize,
    },
    /// The store failed while it wrote: whether the packet is stored is not known, so it is to be
    /// sent again with the same key.
    #[error("expected a working store, found {0}")]
    Failed(String),
    /// The store is closed.
    #[error("expected an open store, found it closed")]
    Closed,
}

/// Packets cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Some byte of a run is not what was written.
    #[error("lane {lane}: expected packets {first} to {last}, found damage: {found}")]
    Damaged {
        /// The lane.
        lane: Lane,
        /// The first packet of the run.
        first: Number,
        /// The last one.
        last: Number,
        /// What is wrong.
        found: String,
    },
    /// The disk refuses.
    #[error("expected to read the spool, found {0}")]
    Failed(String),
    /// The store is closed.
    #[error("expected an open store, found it closed")]
    Closed,
}

/// The ledger cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The lane has ended for ever, and its cursor is gone: whoever asks comes from before that (R6).
    #[error("expected a lane that is not retired, found lane {}", key.lane)]
    Retired {
        /// The lane.
        key: LaneKey,
    },
    /// The client comes under ever new spool ids, each of which stays on record.
    #[error("expected at most {max} spools of client {client}, found one more")]
    TooManySpools {
        /// The client.
        client: ClientId,
        /// How many it may have.
        max: u64,
    },
    /// The disk refuses, or refused before.
    #[error("expected a working ledger, found {0}")]
    Failed(String),
    /// The disk has no room.
    #[error("expected room on the disk, found none")]
    DiskFull,
    /// The store is closed.
    #[error("expected an open store, found it closed")]
    Closed,
}

/// An outcome was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Somebody else moved the cursor: this attempt's effect must not count. Nothing was written.
    #[error("lane {}: expected the cursor at {expected}, found it at {found}", key.lane)]
    Moved {
        /// The lane.
        key: LaneKey,
        /// Where the attempt began.
        expected: Number,
        /// Where the cursor is.
        found: Number,
    },
    /// A newer opening of the spool has been admitted. Nothing was written.
    #[error("spool {spool}: expected its latest opening, found a newer one on record")]
    Fenced {
        /// The spool.
        spool: SpoolId,
    },
    /// The lane has ended for ever (R6). Nothing was written.
    #[error("expected a lane that is not retired, found lane {}", key.lane)]
    Retired {
        /// The lane.
        key: LaneKey,
    },
    /// A dead letter that was replayed is not there any more: somebody else has replayed, discarded or
    /// removed it. Nothing was written.
    #[error("expected the dead letter of packet {number} in lane {lane}, found none any more")]
    NoLetter {
        /// Its lane.
        lane: Lane,
        /// Its number.
        number: Number,
    },
    /// The client's quota of dead letters is used up, so this lane waits. Nothing was written.
    #[error(
        "expected room for dead letters of client {client} within {max_bytes} bytes, found \
         {used_bytes} in use; replay or discard some"
    )]
    DeadLettersFull {
        /// The client.
        client: ClientId,
        /// The bytes that its dead letters take.
        used_bytes: u64,
        /// How many they may take.
        max_bytes: u64,
    },
    /// The disk refuses: whether it was recorded is not known.
    #[error("expected a working ledger, found {0}")]
    Failed(String),
    /// The disk has no room: whether it was recorded is not known.
    #[error("expected room on the disk, found none")]
    DiskFull,
    /// The store is closed.
    #[error("expected an open store, found it closed")]
    Closed,
}

impl RecordError {
    /// Whether the outcome may have been recorded all the same: what was done for it must be judged
    /// by what the ledger says, not undone on this word.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::DiskFull | Self::Closed)
    }

    /// Whether somebody else has had the lane since: that is no fault of whoever handled it.
    #[must_use]
    pub fn is_too_late(&self) -> bool {
        matches!(
            self,
            Self::Moved { .. } | Self::Fenced { .. } | Self::Retired { .. } | Self::NoLetter { .. }
        )
    }
}

impl Closed for AppendError {
    fn closed() -> Self {
        Self::Closed
    }
}

impl Closed for ReadError {
    fn closed() -> Self {
        Self::Closed
    }
}

impl Closed for LedgerError {
    fn closed() -> Self {
        Self::Closed
    }
}

impl Closed for RecordError {
    fn closed() -> Self {
        Self::Closed
    }
}
