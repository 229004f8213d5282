//! What the ledger's thread is told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use paquebot_protocol::{ClientId, Lane, LaneKey, Number, PacketId, SpoolId};

use super::clients::ClientOnRecord;
use super::facts::{
    Admitted, CursorAt, Fence, FileId, FileState, Mark, PausedHandler, Record, Tried, Watch,
};
use super::letters::{DeadLetter, DeadLetterFilter, DeadLetterPage, Replays, StillDead};
use super::trace::Traced;
use crate::error::{LedgerError, RecordError};
use crate::reply::Promise;

/// An order.
pub(super) enum Order {
    Admit {
        fence: Fence,
        replaces: Option<SpoolId>,
        client: ClientId,
        promise: Promise<Admitted, LedgerError>,
    },
    Cursor {
        key: LaneKey,
        first: Number,
        promise: Promise<CursorAt, LedgerError>,
    },
    Record {
        record: Outcomes,
        promise: Promise<(), RecordError>,
    },
    Tried {
        fence: Fence,
        lane: Lane,
        tried: Tried,
        promise: Promise<(), RecordError>,
    },
    Retire {
        fence: Fence,
        lane: Lane,
        promise: Promise<(), RecordError>,
    },
    Files {
        promise: Promise<Vec<(FileId, FileState)>, LedgerError>,
    },
    Trace {
        id: PacketId,
        promise: Promise<Traced, LedgerError>,
    },
    ListLetters {
        filter: DeadLetterFilter,
        promise: Promise<DeadLetterPage, LedgerError>,
    },
    Letter {
        id: PacketId,
        promise: Promise<Option<DeadLetter>, LedgerError>,
    },
    Discard {
        ids: Vec<PacketId>,
        promise: Promise<u64, LedgerError>,
    },
    StillDead {
        still: Vec<StillDead>,
        promise: Promise<u64, LedgerError>,
    },
    Clients {
        clients: Vec<ClientOnRecord>,
        promise: Promise<(), LedgerError>,
    },
    Pause {
        paused: PausedHandler,
        promise: Promise<(), LedgerError>,
    },
    Resume {
        handler: String,
        promise: Promise<bool, LedgerError>,
    },
    Expire {
        before_ms: u64,
        promise: Promise<(), LedgerError>,
    },
    Backup {
        path: PathBuf,
        promise: Promise<(), LedgerError>,
    },
    Watch(Watch),
    Close,
}

/// A record without its reply.
pub(super) struct Outcomes {
    pub(super) handler: Arc<str>,
    pub(super) marks: Vec<Mark>,
    pub(super) file: Option<(FileId, FileState)>,
    pub(super) dead: Vec<DeadLetter>,
    pub(super) replays: Replays,
}

impl Order {
    /// The order to write `record` down.
    pub(super) fn record(record: Record) -> Self {
        let Record { handler, marks, file, dead, replays, reply } = record;
        let record = Outcomes { handler, marks, file, dead, replays };
        Self::Record { record, promise: Promise::new(reply) }
    }

    /// The bytes of dead letters that it adds to a transaction.
    pub(super) fn dead_bytes(&self) -> usize {
        match self {
            Self::Record { record, .. } => record.dead.iter().map(|d| d.record.len()).sum(),
            _ => 0,
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}
