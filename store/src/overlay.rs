//! A file that is read as if it could be repaired, and is not touched.
//!
//! redb refuses to read a file that was not closed cleanly before it has repaired it, and a repair
//! writes. A sealed segment is never written to (R10), nor is a ledger that is only looked at: the
//! repair's few pages stay in memory. That matters most after a failed fsync, when what the page
//! cache holds may never reach the disk, so that a repair on disk could make durable what leads nowhere.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;

use crate::disk::Backend;

const BLOCK_BYTES: u64 = 4096;
const BLOCK: usize = 4096;

/// What was written over the file, block by block, and how long it claims to be.
#[derive(Debug)]
struct Over {
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
    len: u64,
}

/// A backend that writes into memory and reads through it.
#[derive(Debug)]
pub(crate) struct Overlay {
    beneath: Backend,
    over: Mutex<Over>,
}

impl Overlay {
    /// Lays memory over `beneath`.
    pub(crate) fn new(beneath: Backend) -> io::Result<Self> {
        let len = beneath.len()?;
        Ok(Self { beneath, over: Mutex::new(Over { blocks: BTreeMap::new(), len }) })
    }

    fn read_beneath(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.beneath.len()?.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (file, past) = out.split_at_mut(there);
        past.fill(0);
        if file.is_empty() { Ok(()) } else { self.beneath.read(offset, file) }
    }
}

/// The blocks that `offset..offset + bytes` touches: each with the place in it, and its share.
fn blocks(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = bytes - done;
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK_BYTES).unwrap_or(0);
        let share = left.min(BLOCK - within);
        done += share;
        (left > 0).then_some((at / BLOCK_BYTES, within, share))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > over.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_beneath(offset, out)?;
        let mut rest = out;
        for (block, within, share) in blocks(offset, rest.len()) {
            let (part, after) = rest.split_at_mut(share);
            if let Some(bytes) = over.blocks.get(&block).and_then(|b| b.get(within..within + share))
            {
                part.copy_from_slice(bytes);
            }
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = data;
        for (block, within, share) in blocks(offset, data.len()) {
            let (part, after) = rest.split_at(share);
            let bytes = match over.blocks.entry(block) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(place) => {
                    let mut bytes = Box::new([0; BLOCK]);
                    self.read_beneath(block * BLOCK_BYTES, bytes.as_mut_slice())?;
                    place.insert(bytes)
                }
            };
            if let Some(place) = bytes.get_mut(within..within + share) {
                place.copy_from_slice(part);
            }
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_never_reaches_the_file() {
        let file = redb::backends::InMemoryBackend::new();
        file.set_len(10_000).unwrap();
        file.write(0, &[1; 10_000]).unwrap();
        let overlay = Overlay::new(Backend(Box::new(file))).unwrap();
        overlay.set_len(20_000).unwrap();
        overlay.write(4_000, &[2; 5_000]).unwrap();
        overlay.write(15_000, &[3; 10]).unwrap();
        let mut found = vec![9; 20_000];
        overlay.read(0, &mut found).unwrap();
        let mut expected = vec![1; 10_000];
        expected.resize(20_000, 0);
        expected[4_000..9_000].fill(2);
        expected[15_000..15_010].fill(3);
        assert!(found == expected);
        let mut beneath = vec![0; 10_000];
        overlay.beneath.read(0, &mut beneath).unwrap();
        assert!(beneath == [1; 10_000]);
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
    }
}
