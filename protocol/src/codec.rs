//! Frames to bytes and back: a 4-byte big-endian length, then a MessagePack body.
//!
//! Decoding never reserves memory for what a peer merely announces, and never panics on its bytes.

use bytes::{Buf, Bytes, BytesMut};
use rmp::{decode, encode};
use serde::Serialize;

use crate::frame::{Control, Frame};
use crate::id::Lane;
use crate::run::{Run, RunError};

/// The bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

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
/// When the announced length is beyond `frame_bytes_max`.
pub fn split_frame(
    buffer: &mut BytesMut,
    frame_bytes_max: u32,
) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let found = u32::from_be_bytes(*length);
    if found > frame_bytes_max {
        return Err(FrameError::TooLong { max: frame_bytes_max, found });
    }
    let body_bytes = found as usize;
    if buffer.len() < LENGTH_BYTES + body_bytes {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(body_bytes).freeze()))
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
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let written = control.serialize(&mut rmp_serde::Serializer::new(&mut *out).with_struct_map());
    debug_assert!(written.is_ok(), "a Vec takes every byte and a frame has no other failure");
    write_length(out, start, 0);
}

/// Appends a `run` frame up to its run: the run's own bytes must follow, so that they are written
/// from where they lie.
pub fn encode_run_head(lane: Lane, generation: u32, run: &Run, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
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
    write_length(out, start, run.encoded().len());
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

/// Fills in the length of the frame that begins at `start`; `following` bytes are yet to come.
fn write_length(out: &mut [u8], start: usize, following: usize) {
    let body_bytes = out.len() - start - LENGTH_BYTES + following;
    // Runs and control frames are far below 4 GiB: the store and the limits see to that.
    let length = u32::try_from(body_bytes).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(start..start + LENGTH_BYTES) {
        place.copy_from_slice(&length);
    }
}
