//! The envelope: what stands before a run in a segment and is never sent.
//!
//! It tells the lane, the numbers and the length, so that a run can be found by its bytes alone
//! whatever became of the tables above it (R10), and how old its packets are, so that nobody has to
//! look into them. It has a checksum of its own: a flipped bit must not make packets expire.
//!
//! ```text
//! mark, lane, first, last, bytes, opened, stored, expires, check     nine little-endian u64, then the run
//! ```

use paquebot_protocol::chain::record_hash;
use paquebot_protocol::{Lane, Millis, Number};

/// How long an envelope is.
pub(super) const ENVELOPE_BYTES: usize = 72;

/// The bytes before the check.
const CHECKED_BYTES: usize = 64;

/// Tells an envelope from anything else that stands in a file.
pub(super) const MARK: [u8; 8] = *b"PAQUERUN";

/// What is known about a run before it is looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The lane that it was stored in.
    pub(super) lane: Lane,
    /// Its first packet.
    pub(super) first: Number,
    /// Its last packet.
    pub(super) last: Number,
    /// The opening of the spool in which it was stored: of two runs that claim a number the later
    /// one was committed.
    pub(super) opened: u64,
    /// When it was stored, by the spool's clock.
    pub(super) stored: Millis,
    /// When the first of its packets outlives its time; nothing when none does.
    pub(super) expires: Option<Millis>,
}

impl Envelope {
    /// Writes the envelope and the run into `place`, which is as long as both.
    pub(super) fn write(&self, run: &[u8], place: &mut [u8]) {
        let Some((envelope, rest)) = place.split_first_chunk_mut::<ENVELOPE_BYTES>() else {
            return;
        };
        let Self { lane, first, last, opened, stored, expires } = *self;
        let (mark, bytes) = (u64::from_le_bytes(MARK), run.len() as u64);
        let expires = expires.map_or(u64::MAX, |at| at.0);
        let fields = [mark, lane.0, first.0, last.0, bytes, opened, stored.0, expires];
        let (checked, check) = envelope.split_at_mut(CHECKED_BYTES);
        for (place, field) in checked.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        check.copy_from_slice(&record_hash(checked).to_le_bytes());
        debug_assert_eq!(rest.len(), run.len(), "the place is made for both");
        if rest.len() == run.len() {
            rest.copy_from_slice(run);
        }
    }

    /// The envelope at the beginning of `value`, and the run after it; nothing when the envelope is
    /// damaged, or something else than the run follows.
    pub(super) fn open(value: &[u8]) -> Option<(Self, &[u8])> {
        let (envelope, bytes) = Self::find(value)?;
        let run = value.get(ENVELOPE_BYTES..)?;
        (run.len() == bytes).then_some((envelope, run))
    }

    /// The envelope at the beginning of `value`, and how long the run after it is.
    pub(super) fn find(value: &[u8]) -> Option<(Self, usize)> {
        let envelope = value.first_chunk::<ENVELOPE_BYTES>()?;
        let (checked, check) = envelope.split_at(CHECKED_BYTES);
        let number = |at: usize| {
            let bytes = checked.get(at * 8..at * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let whole = number(0)? == u64::from_le_bytes(MARK)
            && record_hash(checked).to_le_bytes().as_slice() == check;
        if !whole {
            return None;
        }
        let envelope = Self {
            lane: Lane(number(1)?),
            first: Number(number(2)?),
            last: Number(number(3)?),
            opened: number(5)?,
            stored: Millis(number(6)?),
            expires: Some(number(7)?).filter(|at| *at != u64::MAX).map(Millis),
        };
        Some((envelope, usize::try_from(number(4)?).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_flipped_bit_is_believed() {
        let envelope = Envelope {
            lane: Lane(7),
            first: Number(300),
            last: Number(310),
            opened: 4,
            stored: Millis(12),
            expires: Some(Millis(99)),
        };
        let mut value = vec![0; ENVELOPE_BYTES + 3];
        envelope.write(b"run", &mut value);
        assert_eq!(Envelope::open(&value), Some((envelope, b"run".as_slice())));
        assert_eq!(Envelope::find(&value[..ENVELOPE_BYTES]), Some((envelope, 3)));
        for bit in 0..ENVELOPE_BYTES * 8 {
            let mut damaged = value.clone();
            if let Some(byte) = damaged.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert_eq!(Envelope::open(&damaged), None, "bit {bit}");
        }
        assert_eq!(Envelope::find(&value[..ENVELOPE_BYTES - 1]), None);
        assert_eq!(Envelope::open(&value[..ENVELOPE_BYTES + 2]), None);
    }
}
