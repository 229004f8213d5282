//! Paquebot's disk: what must outlive the process, and nothing else.
//!
//! | part | keeps | on |
//! |---|---|---|
//! | [`Spool`] | a client's packets until they are acknowledged (R1, R2, R3) | the client |
//! | [`Ledger`] | how far each lane was handled, and its dead letters (R4, R6) | the server |
//!
//! Each is a directory, a thread that alone writes to it, and a cheap handle that may be cloned.
//! What is asked of a handle is answered through a [`Reply`], on the store's thread, when it is
//! durable and not before. Everything that waits goes into one commit: a store is faster the more
//! it is asked for at once.
//!
//! This is the only room that names redb: what stands in the files is on one page, `schema.rs`.
//! What is beneath is a [`Disk`], so that a test can put one there that breaks.
//!
//! Nothing here decides what a packet means, which lane is sent first, or when to try again: that
//! is the law's (`protocol`). Nothing here logs or counts either: facts are returned.

mod clock;
mod counts;
mod database;
pub mod disk;
mod error;
mod fault;
pub mod ledger;
mod overlay;
mod random;
pub mod reply;
mod schema;
mod shadow;
pub mod spool;
mod thread;

pub use counts::{Count, Counts};
pub use disk::{DirLock, Disk, FileDisk};
pub use error::{AppendError, LedgerError, OpenError, ReadError, RecordError};
pub use ledger::check::{CheckedFile, LedgerCheck, SetAside};
pub use ledger::{
    Admitted, ClientOnRecord, CursorAt, DeadLetter, DeadLetterFilter, DeadLetterLimits,
    DeadLetterPage, DeadLettersOf, Fence, FileId, FileState, HandlerTotals, Known, Ledger,
    LedgerEvent, LedgerOpened, LedgerOptions, LedgerStatus, LetterKey, ListedLetter, Mark, Passage,
    Passed, PausedHandler, Record, Replays, StillDead, Traced, Tried, Watch, WhenDeadLettersFull,
};
pub use reply::Reply;
pub use shadow::Shadow;
pub use spool::{
    Append, Committed, FullOf, Identity, Key, LanePolicy, LaneState, LaneTotals, OnCommit, Opened,
    Parcel, Part, Patience, Policies, Position, Quarantine, Reading, Resent, RetiredTotals, Spool,
    SpoolFull, SpoolLetter, SpoolLetters, SpoolOptions, SpoolRoom, SpoolStatus, Stored, StoredRun,
    Stretch, SystemClock, Tombstone, WhenFull,
};
