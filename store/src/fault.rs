//! What redb and the disk say when they fail, in the three ways that make a difference: the disk is
//! full, bytes are not what was written, or something else is wrong, which may be right the next time.

use std::io;

/// The disk cannot read this place, and says so for good.
pub(crate) const EIO: i32 = 5;

/// A failure beneath a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no room on the disk.
    #[error("no room on the disk")]
    Full,
    /// Bytes are not what was written.
    #[error("{0}")]
    Damaged(String),
    /// Anything else, in words.
    #[error("{0}")]
    Broken(String),
}

impl Fault {
    /// Bytes in a file that are not what was written.
    pub(crate) fn damaged(what: &str, found: impl std::fmt::Display) -> Self {
        Self::Damaged(format!("expected {what}, found {found}"))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            // redb's word for a file that is none of its own, or that ends too early.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            _ if error.raw_os_error() == Some(EIO) => Self::Damaged(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(_)
            | redb::Error::RepairAborted
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. } => Self::Damaged(error.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($name:ident),*) => {
        $(impl From<redb::$name> for Fault {
            fn from(error: redb::$name) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(StorageError, DatabaseError, TransactionError, TableError, CommitError);
