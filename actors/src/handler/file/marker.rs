//! The marker beside the output, `<path>.paquebot`: which ledger has recorded what, as of the last
//! acknowledgement. The reasoning is in `mod.rs`.
//!
//! It is written in place, because it is written with every record: two slots in turn, each with a
//! hash, so that a write that power cuts short leaves the other slot, which was durable before it.
//! It is also what the handler's lock is on: it is never renamed.

use std::io;

use paquebot_protocol::LedgerId;
use paquebot_store::FileId;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::OutputFile;
use super::place::{FileError, Place};

/// The bytes of a slot; they stand on pages of their own, so that they are not torn together.
const SLOT_BYTES: usize = 512;
const SLOTS: [u64; 2] = [0, 4096];

/// What stands in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) ledger: String,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// The generation of the file's row in the ledger.
    pub(super) generation: u64,
    /// Goes up with every write.
    turn: u64,
}

impl Marker {
    pub(super) fn is_of(&self, ledger: LedgerId) -> bool {
        self.ledger == ledger.to_string()
    }
}

/// The open marker.
#[derive(Debug)]
pub(super) struct MarkerFile {
    file: Box<dyn OutputFile>,
    turn: u64,
}

impl MarkerFile {
    /// Opens the marker, or makes it, and gives what it says. It is there for good once its
    /// directory is synced.
    pub(super) fn open(place: &Place) -> Result<(Self, Option<Marker>), FileError> {
        let at = place.beside("paquebot");
        let file = match place.open(&at)? {
            Some(file) => file,
            None => place.create(&at)?,
        };
        let found = SLOTS.iter().filter_map(|slot| read(&*file, *slot));
        let found = found.max_by_key(|marker| marker.turn);
        let turn = found.as_ref().map_or(0, |marker| marker.turn);
        Ok((Self { file, turn }, found))
    }

    /// Writes down, durably, that the ledger has recorded the file up to this generation.
    pub(super) fn write(
        &mut self,
        ledger: LedgerId,
        id: FileId,
        generation: u64,
    ) -> io::Result<()> {
        let turn = self.turn + 1;
        let FileId { device, inode } = id;
        let marker = Marker { ledger: ledger.to_string(), device, inode, generation, turn };
        let text = serde_json::to_string(&marker)?;
        let line = format!("{text} {:016x}", xxh3_64(text.as_bytes()));
        let slot = if turn.is_multiple_of(2) { SLOTS[0] } else { SLOTS[1] };
        let padded = format!("{line:<width$}\n", width = SLOT_BYTES - 1);
        self.file.write_at(padded.as_bytes(), slot)?;
        self.file.sync()?;
        self.turn = turn;
        Ok(())
    }
}

/// What a slot says; one that was cut short, or never written, says nothing.
fn read(file: &dyn OutputFile, slot: u64) -> Option<Marker> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_at(&mut bytes, slot).ok()?;
    let (text, check) = str::from_utf8(&bytes).ok()?.trim_end().rsplit_once(' ')?;
    let intact =
        u64::from_str_radix(check, 16).is_ok_and(|check| check == xxh3_64(text.as_bytes()));
    if intact { serde_json::from_str(text).ok() } else { None }
}
