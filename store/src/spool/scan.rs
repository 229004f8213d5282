//! Goes through the bytes of a segment and finds what stands in it, without asking the tables above:
//! redb trusts the structure of a file that was closed cleanly and panics where it is wrong, and a
//! sealed segment is read years after it was written (R10).
//!
//! redb writes a value into one page, so that a run and its envelope lie together. It copies on
//! write: what was acknowledged long ago, and what a crash kept from being committed, may be found
//! too. Whoever scans decides what of it counts.

use std::io;

use bytes::Bytes;
use memchr::memmem::Finder;
use paquebot_protocol::{Chain, Lane, Number, Run};
use redb::StorageBackend;

use super::envelope::{self, ENVELOPE_BYTES, Envelope};
use super::mark::{self, ROW_BYTES_MAX, Row};
use crate::disk::Backend;
use crate::fault::EIO;

/// What both marks begin with.
const MARKS: &[u8] = b"PAQUER";

/// How much is read at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// How much is given up where the disk cannot read.
const BLOCK_BYTES: usize = 4096;

/// No run is longer: one packet of the largest size, and a little.
pub(super) const RUN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a scan finds.
#[derive(Debug)]
pub(super) enum Found {
    /// A run, with what its envelope says.
    Run(FoundRun),
    /// A row.
    Row(Row),
}

/// A run in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundRun {
    /// The segment.
    pub(super) segment: u64,
    pub(super) envelope: Envelope,
    /// Where its envelope begins.
    pub(super) offset: u64,
    /// How long it is without its envelope.
    pub(super) bytes: usize,
    /// The chain before its first packet and after its last; nothing when it is damaged.
    pub(super) chains: Option<(Chain, Chain)>,
}

/// Tells `take` of everything that stands in `file`, a segment, in the order of its bytes.
pub(super) fn scan(file: &Backend, segment: u64, mut take: impl FnMut(Found)) -> io::Result<()> {
    let (finder, len) = (Finder::new(MARKS), file.len()?);
    let mut chunk = Vec::new();
    let mut at = 0;
    while at < len {
        read_lossy(file, at, CHUNK_BYTES, len, &mut chunk)?;
        let end = at + chunk.len() as u64;
        // A mark may lie across the end of a chunk.
        let mut next = if end < len { end - (MARKS.len() as u64 - 1) } else { len };
        let mut from = 0;
        while let Some(found) = chunk.get(from..).and_then(|rest| finder.find(rest)) {
            let offset = at + (from + found) as u64;
            let taken =
                look(file, segment, offset, len, chunk.get(from + found..).unwrap_or_default())?;
            from += found + taken.as_ref().map_or(MARKS.len(), |(_, length)| *length);
            next = next.max(at + from as u64);
            if let Some((found, _)) = taken {
                take(found);
            }
        }
        at = next;
    }
    Ok(())
}

/// What begins at `offset`, and how much of the file it takes; `there` is what is at hand of it.
fn look(
    file: &Backend,
    segment: u64,
    offset: u64,
    len: u64,
    there: &[u8],
) -> io::Result<Option<(Found, usize)>> {
    let mut read = Vec::new();
    let head = if there.len() < ROW_BYTES_MAX {
        read_lossy(file, offset, ROW_BYTES_MAX, len, &mut read)?;
        read.as_slice()
    } else {
        there
    };
    if head.starts_with(&mark::MARK) {
        return Ok(Row::find(head).map(|(row, length)| (Found::Row(row), length)));
    }
    if !head.starts_with(&envelope::MARK) {
        return Ok(None);
    }
    let Some((envelope, bytes)) = Envelope::find(head) else { return Ok(None) };
    let begins = offset + ENVELOPE_BYTES as u64;
    let mut found = FoundRun { segment, envelope, offset, bytes, chains: None };
    if bytes > RUN_BYTES_MAX || begins.saturating_add(bytes as u64) > len {
        // What is not wholly there may have something else in its place.
        found.bytes = usize::try_from(len.saturating_sub(begins)).unwrap_or(0).min(bytes);
        found.bytes = found.bytes.min(RUN_BYTES_MAX);
        return Ok(Some((Found::Run(found), ENVELOPE_BYTES)));
    }
    let whole = ENVELOPE_BYTES + bytes;
    let run = if let Some(run) = there.get(ENVELOPE_BYTES..whole) {
        Bytes::copy_from_slice(run)
    } else {
        read_lossy(file, begins, bytes, len, &mut read)?;
        Bytes::from(read)
    };
    found.chains = verify(&envelope, run).ok().map(|(run, after)| (run.head().chain, after));
    // A damaged run may be what is left of one, and its end a page that was used again.
    let taken = if found.chains.is_some() { whole } else { ENVELOPE_BYTES };
    Ok(Some((Found::Run(found), taken)))
}

/// The run that stands after `envelope`, with the chain after it; in words, what is wrong with it.
pub(super) fn verify(envelope: &Envelope, encoded: Bytes) -> Result<(Run, Chain), String> {
    let run = Run::decode(encoded).map_err(|error| error.to_string())?;
    let after = run.verify().map_err(|error| error.to_string())?;
    if run.first() == envelope.first && run.last() == envelope.last {
        Ok((run, after))
    } else {
        Err(format!(
            "expected {} to {}, found {} to {}",
            envelope.first,
            envelope.last,
            run.first(),
            run.last()
        ))
    }
}

/// Reads up to `bytes` from `offset` on; what the disk cannot read for good is read as zeros.
pub(super) fn read_lossy(
    file: &Backend,
    offset: u64,
    bytes: usize,
    len: u64,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let there = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes);
    out.clear();
    out.resize(there, 0);
    match file.read(offset, out) {
        Err(error) if error.raw_os_error() == Some(EIO) => {}
        done => return done,
    }
    for (block, place) in out.chunks_mut(BLOCK_BYTES).enumerate() {
        match file.read(offset + (block * BLOCK_BYTES) as u64, place) {
            Err(error) if error.raw_os_error() == Some(EIO) => place.fill(0),
            done => done?,
        }
    }
    Ok(())
}

/// The run that stands in the active segment under `last`; in words, what is wrong with it.
pub(super) fn open(lane: Lane, last: Number, value: &[u8]) -> Result<(Envelope, Run), String> {
    let (envelope, encoded) = Envelope::open(value).ok_or("a damaged envelope")?;
    let (run, _) = verify(&envelope, Bytes::copy_from_slice(encoded))?;
    if envelope.lane == lane && envelope.last == last {
        Ok((envelope, run))
    } else {
        Err(format!("packets up to {} of lane {} in its place", envelope.last, envelope.lane))
    }
}
