//! What a ledger is told, and what it says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use paquebot_protocol::{Chain, ClientId, Lane, LedgerId, Number, SpoolId};

use super::clients::ClientOnRecord;
use super::letters::{DeadLetter, DeadLettersOf, Replays};
use crate::error::RecordError;
use crate::reply::Reply;

/// One opening of a spool: what a later one fences off (R7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The spool.
    pub spool: SpoolId,
    /// How often it has been opened.
    pub opened: u64,
    /// The random number drawn at that opening.
    pub nonce: u64,
}

/// Whether an opening may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// It may: it is the latest on record.
    Yes(Known),
    /// It may not under this id: a later opening is on record, or another with the same number.
    Rekey,
}

/// What was on record of a spool before it was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The spool, as this client's.
    Before,
    /// The spool, as that of a client with this name.
    As(ClientId),
    /// The spool whose place it takes, because it is a copy or was restored (R7).
    InPlaceOf(SpoolId),
    /// Nothing.
    Not,
}

/// Where a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorAt {
    /// The highest number through which everything has a final outcome.
    pub cursor: Number,
    /// The lane's chain there; nothing when the packets before it went elsewhere.
    pub chain: Option<Chain>,
    /// The dead letters among the numbers from the asked one to the cursor.
    pub dead: Vec<Number>,
    /// How many numbers this question made the cursor jump over: they had their outcome elsewhere.
    pub jumped: u64,
    /// How many numbers were passed by skips without having been handled, since the lane is known.
    pub skipped: u64,
    /// What is known of the packet after the cursor, if it was tried in vain.
    pub tried: Option<Tried>,
}

/// How often a packet was tried in vain, and since when. Times are milliseconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// The packet.
    pub number: Number,
    /// How many attempts have failed.
    pub attempts: u32,
    /// When the first of them failed.
    pub first_attempt_ms: u64,
    /// When the last of them failed.
    pub last_attempt_ms: u64,
}

/// What a ledger writes down in one transaction: all of it, or nothing.
pub struct Record {
    /// The handler whose totals count it.
    pub handler: Arc<str>,
    /// The cursors that it moves.
    pub marks: Vec<Mark>,
    /// The file that the handler wrote to, and how far.
    pub file: Option<(FileId, FileState)>,
    /// The packets that ended without being handled.
    pub dead: Vec<DeadLetter>,
    /// What became of dead letters that were given to the handler again.
    pub replays: Replays,
    /// Called when it is durable, or when it will not be.
    pub reply: Reply<Result<(), RecordError>>,
}

/// A cursor moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The opening under which the packets came.
    pub fence: Fence,
    /// The lane.
    pub lane: Lane,
    /// Where the cursor must be.
    pub from: Number,
    /// Where it goes.
    pub through: Number,
    /// The lane's chain there.
    pub chain: Chain,
    /// How many packets on the way were handled.
    pub handled: u64,
    /// How many on the way will never come, as their client declared.
    pub skipped: u64,
}

/// A file as the system knows it, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device that it lies on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
}

/// How much of a file counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// Its path, as a label.
    pub path: String,
    /// The bytes that hold recorded packets; what lies beyond does not count.
    pub length: u64,
    /// Goes up with every record of this file, and goes on in the file that takes its place.
    pub generation: u64,
    /// A hash of the last bytes before `length`.
    pub check: u64,
    /// When its first byte was recorded, in milliseconds since 1970 (UTC).
    pub began_ms: u64,
    /// The path that it is about to get, while it is rotated.
    pub rotating: Option<String>,
    /// The files whose place it takes: what was recorded of them goes in the same transaction.
    pub replaces: Vec<FileId>,
}

/// What opening a ledger found.
#[derive(Debug, Clone)]
pub struct LedgerOpened {
    /// Who it is.
    pub ledger: LedgerId,
    /// Whether it was made by this opening, because there was none.
    pub made: bool,
    /// What each handler has done, since the ledger was made.
    pub totals: Vec<(String, HandlerTotals)>,
    /// The handlers that are paused by hand.
    pub paused: Vec<PausedHandler>,
    /// What clients have told of themselves.
    pub clients: Vec<ClientOnRecord>,
    /// What recovery did, in sentences for the log.
    pub notes: Vec<String>,
}

/// What a handler has done, since the ledger was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandlerTotals {
    /// How many packets it handled.
    pub handled: u64,
    /// How many became dead letters.
    pub dead_lettered: u64,
}

/// A handler that is paused by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedHandler {
    /// Its name.
    pub handler: String,
    /// Since when, in milliseconds since 1970 (UTC).
    pub since_ms: u64,
    /// By whom, for people.
    pub by: String,
}

/// How a ledger is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerStatus {
    /// Why nothing can be recorded.
    pub failed: Option<String>,
    /// Whether nothing can be recorded because the disk has no room.
    pub disk_full: bool,
    /// The bytes of its files.
    pub file_bytes: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
    /// The bytes of their records.
    pub dead_letters_bytes: u64,
    /// The same by handler; one that ever had any since the ledger was opened stays.
    pub dead_letters_of: Vec<DeadLettersOf>,
    /// How many went, since the ledger was made: by `replayed`, `discarded`, `evicted`, `expired`,
    /// `lost`.
    pub dead_letters_gone: BTreeMap<String, u64>,
}

/// What a ledger tells whoever watches it, once for each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerEvent {
    /// Nothing can be recorded: a write failed.
    Failed(String),
    /// Nothing can be recorded until there is room on the disk.
    DiskFull,
    /// It records again.
    Works,
    /// Something that should be known, in a sentence.
    Note(String),
}

/// Who watches a ledger; called on its thread, so it must be quick.
pub type Watch = Box<dyn FnMut(LedgerEvent) + Send>;

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("handler", &self.handler)
            .field("marks", &self.marks)
            .field("file", &self.file)
            .field("dead", &self.dead.len())
            .finish_non_exhaustive()
    }
}
