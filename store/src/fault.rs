//! What redb and the disk say when they fail, in the two ways that make a difference: the disk is
//! full, or it is broken.

use std::io;

/// A failure beneath a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no room on the disk.
    #[error("no room on the disk")]
    Full,
    /// Anything else, in words.
    #[error("{0}")]
    Broken(String),
}

impl Fault {
    /// Bytes in a file that are not what was written.
    pub(crate) fn damaged(what: &str, found: impl std::fmt::Display) -> Self {
        Self::Broken(format!("expected {what}, found {found}"))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
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
