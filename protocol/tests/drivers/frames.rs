//! Drives the codec with any bytes, arriving in pieces of any size; shared by the fuzz target
//! `frame_decoder` and by `hostile_bytes.rs`.

use bytes::{Bytes, BytesMut};
use paquebot_protocol::codec::{HEAD_BYTES, decode_frame, encode_frame, split_frame};
use paquebot_protocol::{Frame, Packet};

/// What a server takes at most; beyond it nothing is gathered.
const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// The first bytes say how the others are cut into pieces.
pub(crate) fn drive(bytes: &[u8]) {
    let (cuts, bytes) = bytes.split_at(bytes.len().min(4));
    let pieces = pieces(bytes, cuts);
    let found = read(&pieces);
    assert_eq!(found, read(&[bytes]), "pieces of {cuts:?} change what is read");
    for frame in found.0 {
        let again = written(&frame);
        assert_eq!(decode_frame(&again).expect("what was written can be read"), frame);
        if let Frame::Run { run, .. } = &frame
            && run.verify().is_ok()
        {
            assert_eq!(run.records().count(), run.head().count as usize);
            for (_, record) in run.records() {
                let _ = Packet::decode(record);
            }
        }
    }
    // The same bytes as one body: no length has to be guessed to get at the frames.
    let _ = decode_frame(&Bytes::copy_from_slice(bytes)).map(|frame| written(&frame));
}

fn pieces<'a>(mut bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(*cut) + 1));
        pieces.push(piece);
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    pieces
}

/// The frames, and the error that ended them, as `actors/src/socket.rs` reads them.
fn read(pieces: &[&[u8]]) -> (Vec<Frame>, Option<String>) {
    let (mut frames, mut buffer) = (Vec::new(), BytesMut::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match split_frame(&mut buffer, FRAME_BYTES_MAX) {
                Ok(None) => break,
                Ok(Some(body)) => match decode_frame(&body) {
                    Ok(frame) => frames.push(frame),
                    Err(error) => return (frames, Some(error.to_string())),
                },
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

/// The body of a frame, as it is written.
fn written(frame: &Frame) -> Bytes {
    let mut bytes = Vec::new();
    encode_frame(frame, &mut bytes);
    Bytes::from(bytes.split_off(HEAD_BYTES))
}
