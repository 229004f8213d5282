//! Where a file is known by, and how far it was read: what outlives a restart.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// So many bytes of its beginning tell a file from another that got its inode.
const HEAD_BYTES: u64 = 256;

/// A file, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileKey {
    device: u64,
    inode: u64,
}

impl FileKey {
    /// The file of which this is said.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// As the place of a position.
    pub(super) fn encode(self) -> Vec<u8> {
        [self.device.to_be_bytes(), self.inode.to_be_bytes()].concat()
    }

    /// The file of a place.
    pub(super) fn decode(place: &[u8]) -> Option<Self> {
        let (device, inode) = place.split_first_chunk::<8>()?;
        let inode: &[u8; 8] = inode.try_into().ok()?;
        Some(Self { device: u64::from_be_bytes(*device), inode: u64::from_be_bytes(*inode) })
    }
}

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Head {
    bytes: u64,
    hash: u64,
}

impl Head {
    /// How `file` begins that has `length` bytes.
    pub(super) fn of(file: &File, length: u64) -> io::Result<Self> {
        let bytes = length.min(HEAD_BYTES);
        Ok(Self { bytes, hash: hash(file, bytes)? })
    }

    /// Whether `file` still begins like this.
    pub(super) fn is_of(self, file: &File) -> io::Result<bool> {
        match hash(file, self.bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            hash => Ok(hash? == self.hash),
        }
    }

    /// Whether a longer beginning would tell more.
    pub(super) fn grows(self, length: u64) -> bool {
        self.bytes < HEAD_BYTES.min(length)
    }
}

fn hash(file: &File, bytes: u64) -> io::Result<u64> {
    let mut head = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut head, 0)?;
    Ok(xxh3_64(&head))
}

/// How far a file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Come {
    /// Everything before this offset has become packets, or was filtered.
    pub(super) offset: u64,
    /// The line that stands there is longer than allowed, and its rest is left out.
    pub(super) skipping: bool,
    pub(super) head: Head,
    /// Where it was found last.
    pub(super) path: PathBuf,
}

impl Come {
    /// As a position has it.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What a position says.
    pub(super) fn decode(at: &[u8]) -> Option<Self> {
        serde_json::from_slice(at).ok()
    }
}
