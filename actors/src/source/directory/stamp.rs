//! Stamps: what a file is known by while it is stored and not yet out of the way.
//!
//! A name is not enough, for a writer may put a new file there at once; neither is an inode, which a
//! new file may get as soon as the old one is gone. The time of birth tells those apart even when a
//! writer sets the other times itself; a file system that keeps none leaves the rest. The number of the
//! device is no part of it: some file systems get another one with each mount.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One file with one content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Seconds and nanoseconds since 1970. It stands first: files are taken in this order.
    pub(super) modified: (i64, i64),
    pub(super) size: u64,
    inode: u64,
    born: Option<Duration>,
}

impl Stamp {
    /// The file of which this is said.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
            born: born.and_then(|born| born.duration_since(UNIX_EPOCH).ok()),
        }
    }

    /// As the place of a position.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The file of a place.
    pub(super) fn decode(place: &[u8]) -> Option<Self> {
        serde_json::from_slice(place).ok()
    }
}
