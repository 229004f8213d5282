//! `newest`: names the segment with the highest number, so that its loss is seen (R7): without it an
//! older segment would pass for the newest one, with what it knew long ago.
//!
//! It is written when a segment has its name durably, and before anything is said from it: so a
//! segment that it names was there, and one beyond it is one whose making a crash cut short, and
//! whole. It names the spool too, for the case that nothing else is left.

use std::io;

use paquebot_protocol::SpoolId;
use paquebot_protocol::chain::record_hash;
use redb::StorageBackend;
use serde::{Deserialize, Serialize};

use super::segment::Paths;
use crate::disk::{Backend, Disk};
use crate::fault::Fault;
use crate::schema;

/// The newest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Newest {
    /// The format of the spool.
    pub(super) format: u64,
    pub(super) segment: u64,
    pub(super) spool: SpoolId,
}

/// What `newest` says; nothing when it is not there.
pub(super) fn read(disk: &dyn Disk, paths: &Paths) -> Result<Option<Newest>, Fault> {
    let file = match disk.open(&paths.newest(), false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => Backend(opened?),
    };
    let mut bytes = vec![0; usize::try_from(file.len()?.min(4096)).unwrap_or(0)];
    file.read(0, &mut bytes)?;
    let (check, row) = bytes
        .split_first_chunk::<8>()
        .filter(|(check, row)| record_hash(row).to_le_bytes() == **check)
        .ok_or_else(|| Fault::damaged("the newest segment's number", "other bytes"))?;
    let _ = check;
    schema::decode("the newest segment's number", row).map(Some)
}

/// Writes it, durably.
pub(super) fn write(disk: &dyn Disk, paths: &Paths, newest: Newest) -> Result<(), Fault> {
    let row = schema::encode(&newest)?;
    let mut bytes = record_hash(&row).to_le_bytes().to_vec();
    bytes.extend_from_slice(&row);
    let temporary = paths.newest().with_extension("tmp");
    let file = disk.open(&temporary, true)?;
    file.write(0, &bytes)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, &paths.newest())?;
    disk.sync_dir(&paths.segments())?;
    Ok(())
}
