//! Dead letters as they are handed over, asked for and shown.

use bytes::Bytes;
use paquebot_protocol::{ClientId, Lane, Number, PacketId, SpoolId, TargetId, TargetPattern};

/// How many dead letters a client may have, and what happens when that is used up (R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// The most bytes that a client's dead letters may take.
    pub max_bytes: u64,
    /// What happens to a record whose dead letters would pass that.
    pub when_full: WhenDeadLettersFull,
    /// How large a segment grows before the next is begun. A file is as large as twice this, or as
    /// its largest letter needs.
    pub segment_bytes: u64,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        let segment_bytes = 16 * 1024 * 1024;
        let when_full = WhenDeadLettersFull::Pause;
        Self { max_bytes: 1024 * 1024 * 1024, when_full, segment_bytes }
    }
}

/// What happens to a record whose dead letters would pass their client's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhenDeadLettersFull {
    /// It is refused, so that its lane waits. Nothing is evicted.
    Pause,
    /// The client's oldest dead letters make room, and are counted.
    DropOldest,
}

/// A packet that ended without being handled, kept until someone replays or discards it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The packet.
    pub id: PacketId,
    /// The client that sent it.
    pub client: ClientId,
    /// Whom it was addressed to.
    pub target: TargetId,
    /// The handler that could not take it.
    pub handler: String,
    /// Why not.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried, in milliseconds since 1970 (UTC).
    pub first_attempt_ms: u64,
    /// When it was last tried.
    pub last_attempt_ms: u64,
    /// The packet's record.
    pub record: Bytes,
}

/// Which dead letters to list: those that every given field fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this handler.
    pub handler: Option<String>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// Addressed to targets of this pattern.
    pub target: Option<TargetPattern>,
    /// Last tried no earlier than this, in milliseconds since 1970 (UTC).
    pub since_ms: Option<u64>,
    /// Last tried before this.
    pub until_ms: Option<u64>,
    /// Of this packet.
    pub id: Option<PacketId>,
    /// After this position: a page's `next`.
    pub after: Option<u64>,
    /// Up to this position.
    pub through: Option<u64>,
    /// So many at most.
    pub limit: usize,
    /// With their records, which may be of so many bytes together, or one that is longer; nothing:
    /// without them.
    pub record_bytes_max: Option<u64>,
}

/// A page of dead letters, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// The letters; fewer than the limit may still be followed by more.
    pub letters: Vec<ListedLetter>,
    /// What to ask for next as `after`; nothing when this was the last page.
    pub next: Option<u64>,
    /// The highest position that any letter has; later ones stand behind it.
    pub newest: u64,
}

/// A dead letter as the ledger names it: two spools may have been born as one (R7), and their packets'
/// ids with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterKey {
    /// The spool of the session that the packet came in by.
    pub session: SpoolId,
    /// Its lane.
    pub lane: Lane,
    /// Its number.
    pub number: Number,
}

/// What became of dead letters that a handler was given again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replays {
    /// Those that were handled: they go, in the transaction that records it.
    pub handled: Vec<LetterKey>,
    /// Those that were not, and never will be: they stay.
    pub rejected: Vec<StillDead>,
}

/// A dead letter that was tried again in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillDead {
    /// The letter.
    pub key: LetterKey,
    /// The handler that could not take it now.
    pub handler: String,
    /// Why not.
    pub reason: String,
    /// How often it was tried by now.
    pub attempts: u32,
    /// When it was last tried, in milliseconds since 1970 (UTC).
    pub last_attempt_ms: u64,
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedLetter {
    /// Its place in the list.
    pub position: u64,
    /// Its name in the ledger.
    pub key: LetterKey,
    /// The bytes of its record.
    pub size: u64,
    /// The letter; its record is empty unless records were asked for.
    pub letter: DeadLetter,
}

/// The dead letters of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettersOf {
    /// The handler.
    pub handler: String,
    /// How many there are.
    pub count: u64,
    /// The bytes of their records.
    pub bytes: u64,
}
