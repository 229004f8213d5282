//! Frames to bytes and back: a 4-byte big-endian length, its check, the body's check, then a
//! MessagePack body.
//!
//! TCP's own checksum is 16 bits, and what is between two machines may recompute it: a flipped bit
//! in an ack would drop packets that nobody handled. The length has a check of its own, because a
//! wrong one would have a live connection wait for bytes that never come.
//!
//! Decoding never reserves memory for what a peer merely announces, and never panics on its bytes.

use bytes::{Buf, Bytes, BytesMut};
use rmp::{decode, encode};
use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::frame::{Control, Frame};
use crate::id::Lane;
use crate::run::{Run, RunError};

/// The bytes of a frame before its body: length, check of the length, check of the body.
pub const HEAD_BYTES: usize = 12;

/// The bytes of each of the three.
const FIELD_BYTES: usize = 4;

/// The longest `run` frame beyond its run, and the longest control frame that must always pass.
pub const FRAME_OVERHEAD_BYTES_MAX: u32 = 64 * 1024;

/// The key of the one frame that is encoded by hand.
const RUN_KEY: &[u8] = b"run";

/// The bytes are not a frame. Ends the connection: what follows cannot be told apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The announced length is beyond the limit.
    #[error("expected a frame of at most {max} bytes, found one of {found}")]
    TooLong {
        /// The limit.
        max: u32,
        /// The announced length.
        found: u32,
    },
    /// The bytes are not those that were sent.
    #[error("expected {what} with check {expected:08x}, found {found:08x}: damaged on the way")]
    Damaged {
        /// The part of the frame.
        what: &'static str,
        /// The check that came with it.
        expected: u32,
        /// The check of what came.
        found: u32,
    },
    /// The body is no frame of this version.
    #[error("expected a frame, found {0}")]
    Body(#[from] rmp_serde::decode::Error),
    /// The body goes on after the frame.
    #[error("expected a frame to fill its length, found {found} bytes after it")]
    Trailing {
        /// How many bytes.
        found: usize,
    },
    /// A `run` frame whose parts around the run cannot be read.
    #[error("expected a run frame [lane, generation, run], found other bytes")]
    RunFrame,
    /// A `run` frame with a readable lane, whose run cannot be read.
    #[error("lane {lane}: {source}")]
    Run {
        /// The lane.
        lane: Lane,
        /// What is wrong with it.
        source: RunError,
    },
}

/// Takes the next frame's body off `buffer`, or nothing while it is not complete.
///
/// # Errors
/// When a check does not fit, or the announced length is beyond `frame_bytes_max`.
pub fn split_frame(
    buffer: &mut BytesMut,
    frame_bytes_max: u32,
) -> Result<Option<Bytes>, FrameError> {
    let Some(head) = buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [l0, l1, l2, l3, c0, c1, c2, c3, b0, b1, b2, b3] = *head;
    let length = [l0, l1, l2, l3];
    verify("a length", u32::from_be_bytes([c0, c1, c2, c3]), &length)?;
    let found = u32::from_be_bytes(length);
    if found > frame_bytes_max {
        return Err(FrameError::TooLong { max: frame_bytes_max, found });
    }
    let body_bytes = found as usize;
    if buffer.len() < HEAD_BYTES + body_bytes {
        return Ok(None);
    }
    buffer.advance(HEAD_BYTES);
    let body = buffer.split_to(body_bytes).freeze();
    verify("a body", u32::from_be_bytes([b0, b1, b2, b3]), &body)?;
    Ok(Some(body))
}

fn verify(what: &'static str, expected: u32, bytes: &[u8]) -> Result<(), FrameError> {
    let found = check(xxh3_64(bytes));
    if found == expected { Ok(()) } else { Err(FrameError::Damaged { what, expected, found }) }
}

/// The low half of a hash.
fn check(hash: u64) -> u32 {
    (hash & u64::from(u32::MAX)) as u32
}

/// Reads the body of a frame.
///
/// # Errors
/// When it is none.
pub fn decode_frame(body: &Bytes) -> Result<Frame, FrameError> {
    let mut rest: &[u8] = body;
    let is_run = decode::read_map_len(&mut rest).is_ok_and(|entries| entries == 1)
        && decode::read_str_len(&mut rest).is_ok_and(|length| length == 3)
        && rest.starts_with(RUN_KEY);
    if !is_run {
        let mut rest: &[u8] = body;
        let control = rmp_serde::from_read(&mut rest)?;
        if !rest.is_empty() {
            return Err(FrameError::Trailing { found: rest.len() });
        }
        return Ok(Frame::Control(control));
    }
    rest.advance(RUN_KEY.len());
    if decode::read_array_len(&mut rest).ok() != Some(3) {
        return Err(FrameError::RunFrame);
    }
    let lane = Lane(decode::read_int(&mut rest).map_err(|_| FrameError::RunFrame)?);
    let generation = decode::read_int(&mut rest).map_err(|_| FrameError::RunFrame)?;
    let run =
        Run::decode(body.slice_ref(rest)).map_err(|source| FrameError::Run { lane, source })?;
    Ok(Frame::Run { lane, generation, run })
}

/// Appends a control frame.
pub fn encode_control(control: &Control, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    let written = control.serialize(&mut rmp_serde::Serializer::new(&mut *out).with_struct_map());
    debug_assert!(written.is_ok(), "a Vec takes every byte and a frame has no other failure");
    write_head(out, start, &[]);
}

/// Appends a `run` frame up to its run: the run's own bytes must follow, so that they are written
/// from where they lie.
pub fn encode_run_head(lane: Lane, generation: u32, run: &Run, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    let mut write = || -> Result<(), encode::ValueWriteError> {
        encode::write_map_len(out, 1)?;
        encode::write_str(out, "run")?;
        encode::write_array_len(out, 3)?;
        encode::write_uint(out, lane.0)?;
        encode::write_uint(out, u64::from(generation))?;
        Ok(())
    };
    let written = write();
    debug_assert!(written.is_ok(), "a Vec takes every byte");
    write_head(out, start, run.encoded());
}

/// Appends a whole frame: for tests, and where a copy does not matter.
pub fn encode_frame(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Run { lane, generation, run } => {
            encode_run_head(*lane, *generation, run, out);
            out.extend_from_slice(run.encoded());
        }
        Frame::Control(control) => encode_control(control, out),
    }
}

/// Fills in the head of the frame that begins at `start`; `following` is the rest of its body.
fn write_head(out: &mut [u8], start: usize, following: &[u8]) {
    let Some((head, body)) =
        out.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<HEAD_BYTES>())
    else {
        return;
    };
    // Runs and control frames are far below 4 GiB: the store and the limits see to that.
    let length = u32::try_from(body.len() + following.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut hash = Xxh3::new();
    hash.update(body);
    hash.update(following);
    let checks = [check(xxh3_64(&length)), check(hash.digest())].map(u32::to_be_bytes);
    for (place, field) in head.chunks_mut(FIELD_BYTES).zip([length, checks[0], checks[1]]) {
        place.copy_from_slice(&field);
    }
}
