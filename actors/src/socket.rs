//! A socket's reading half: frames as they complete, and the pulse of the peer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use paquebot_protocol::codec::{FrameError, HEAD_BYTES, decode_frame, split_frame};
use paquebot_protocol::frame::PREAMBLE;
use paquebot_protocol::{Control, Frame, Millis};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::clock;
use crate::permit::{Permit, Purse};

/// How much is read at once: two runs of the usual largest size.
const READ_BYTES: usize = 1024 * 1024;

/// What a read buffer starts with, and shrinks to when little comes: 10,000 idle clients must not
/// cost more than a page each.
const READ_BYTES_FIRST: usize = 2 * 1024;

/// The longest first frame: a hello or a welcome. Who has not been let in may not make us hold more.
const GREETING_BYTES_MAX: u32 = 64 * 1024;

/// What of a frame that has not come whole is held for nothing; with more, the frame needs a place.
const HALF_FRAME_BYTES_FREE: usize = 64 * 1024;

/// How long a frame may keep its place once others wait for one, and how often that is looked at.
const PRESSED_TIME_MAX: Duration = Duration::from_secs(10);
const PRESSED_LOOK: Duration = Duration::from_secs(1);

/// How long one frame may take: a run of the usual largest size passes over 600 bytes a second. Without
/// an end to it, whoever sends a byte now and then holds a frame's memory for ever.
const FRAME_TIME_MAX: Duration = Duration::from_mins(15);

/// When the peer last showed that it lives: every byte counts, not only whole frames, or one long
/// frame on a slow link would be taken for silence.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// A pulse that was just felt.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(clock::now().0)))
    }

    /// The peer took or sent something.
    pub(crate) fn feel(&self) {
        self.0.store(clock::now().0, Ordering::Relaxed);
    }

    /// When it last did.
    pub(crate) fn felt(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

/// Why reading from a peer ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReadEnd {
    /// The peer closed its side.
    #[error("the peer closed the connection")]
    Closed,
    /// The link failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// The peer does not speak this protocol.
    #[error("expected the preamble \"PAQUEBOT\", found other bytes")]
    Preamble,
    /// The peer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer began a frame and does not come to its end.
    #[error("expected a frame within {0:?}, found a part of it")]
    Endless(Duration),
}

impl ReadEnd {
    /// What the peer did that nobody should, in a word for the metrics.
    pub(crate) fn offence(&self) -> Option<&'static str> {
        match self {
            Self::Closed | Self::Io(_) => None,
            Self::Preamble => Some("noise"),
            Self::Frame(_) => Some("frame"),
            Self::Endless(_) => Some("slow-frame"),
        }
    }
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    socket: R,
    buffer: BytesMut,
    frame_bytes_max: u32,
    frame_time_max: Duration,
    /// Until the peer has greeted this is less.
    frame_bytes_max_now: u32,
    last_read_bytes: usize,
    pulse: Pulse,
    /// Places for long frames that have not come whole.
    places: Option<Purse>,
    pressed_time_max: Duration,
}

/// A long frame's place in memory, until it has come whole.
#[derive(Debug)]
struct Place {
    _permit: Permit,
    bytes: usize,
    since: Millis,
}

/// How long the frame is that `bytes` begin with: its length was found to be within the limit.
fn whole_bytes(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
    usize::try_from(length).unwrap_or(usize::MAX).saturating_add(HEAD_BYTES)
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that refuses frames beyond `frame_bytes_max`.
    pub(crate) fn new(socket: R, frame_bytes_max: u32, pulse: Pulse) -> Self {
        Self {
            socket,
            buffer: BytesMut::new(),
            frame_bytes_max,
            frame_time_max: FRAME_TIME_MAX,
            frame_bytes_max_now: frame_bytes_max.min(GREETING_BYTES_MAX),
            last_read_bytes: 0,
            pulse,
            places: None,
            pressed_time_max: PRESSED_TIME_MAX,
        }
    }

    /// The same, with places that it shares with others.
    pub(crate) fn sharing(self, places: Purse) -> Self {
        Self { places: Some(places), ..self }
    }

    /// Reads the preamble, by which a peer shows what it speaks.
    ///
    /// # Errors
    /// When it shows something else, or nothing.
    pub(crate) async fn preamble(&mut self) -> Result<(), ReadEnd> {
        while self.buffer.len() < PREAMBLE.len() {
            if !PREAMBLE.starts_with(&self.buffer) {
                return Err(ReadEnd::Preamble);
            }
            self.fill(HALF_FRAME_BYTES_FREE).await?;
        }
        if !self.buffer.starts_with(&PREAMBLE) {
            return Err(ReadEnd::Preamble);
        }
        self.buffer.advance(PREAMBLE.len());
        Ok(())
    }

    /// Waits for at least one frame and gives all that are complete.
    ///
    /// # Errors
    /// When the connection is of no more use.
    pub(crate) async fn frames(&mut self) -> Result<Vec<Frame>, ReadEnd> {
        if self.buffer.is_empty() {
            let most = if self.places.is_some() { HALF_FRAME_BYTES_FREE } else { usize::MAX };
            self.fill(most).await?;
        }
        let limit = self.frame_time_max;
        let whole = tokio::time::timeout(limit, self.whole_frames()).await;
        whole.map_err(|_| ReadEnd::Endless(limit))?
    }

    async fn whole_frames(&mut self) -> Result<Vec<Frame>, ReadEnd> {
        let mut place = None;
        loop {
            let mut frames = Vec::new();
            while let Some(body) = split_frame(&mut self.buffer, self.frame_bytes_max_now)? {
                let frame = decode_frame(&body)?;
                if !matches!(frame, Frame::Control(Control::Ping(_) | Control::Pong(_))) {
                    // Both sides greet before they say anything else.
                    self.frame_bytes_max_now = self.frame_bytes_max;
                }
                frames.push(frame);
            }
            if !frames.is_empty() {
                return Ok(frames);
            }
            self.fill_in_place(&mut place).await?;
        }
    }

    /// Reads on in a frame that has not come whole. A long one takes a place for all of it first, so
    /// that whoever has one can come to its end; meanwhile nothing more is read from the peer. While
    /// others wait, a place is given up by whoever has had it for long.
    async fn fill_in_place(&mut self, place: &mut Option<Place>) -> Result<(), ReadEnd> {
        let Some(places) = self.places.clone() else { return self.fill(usize::MAX).await };
        let free = HALF_FRAME_BYTES_FREE.saturating_sub(self.buffer.len());
        if free > 0 {
            return self.fill(free).await;
        }
        let taken = match place {
            Some(taken) => taken,
            None => {
                let bytes = whole_bytes(&self.buffer);
                // A closed purse is one of a server that stops.
                let permit = places.take(bytes).await.ok_or(ReadEnd::Closed)?;
                place.insert(Place { _permit: permit, bytes, since: clock::now() })
            }
        };
        let (since, left) = (taken.since, taken.bytes.saturating_sub(self.buffer.len()));
        let look = PRESSED_LOOK.min(self.pressed_time_max);
        loop {
            let fill = self.fill(left + HALF_FRAME_BYTES_FREE);
            match tokio::time::timeout(look, fill).await {
                Ok(filled) => return filled,
                Err(_) => {
                    let limit = self.pressed_time_max;
                    if clock::now().since(since) >= limit.into() && places.is_pressed() {
                        return Err(ReadEnd::Endless(limit));
                    }
                }
            }
        }
    }

    /// Reads the preamble, then hands over frames until the connection ends or `hear` has enough;
    /// the next frames are not read before `hear` is done with these.
    pub(crate) async fn pump(mut self, mut hear: impl AsyncFnMut(Vec<Frame>) -> bool) -> ReadEnd {
        if let Err(end) = self.preamble().await {
            return end;
        }
        loop {
            match self.frames().await {
                Ok(frames) => {
                    if !hear(frames).await {
                        return ReadEnd::Closed;
                    }
                }
                Err(end) => return end,
            }
        }
    }

    /// Reads `bytes_max` at most.
    async fn fill(&mut self, bytes_max: usize) -> Result<(), ReadEnd> {
        if self.buffer.is_empty() && self.last_read_bytes < READ_BYTES_FIRST {
            self.buffer = BytesMut::with_capacity(READ_BYTES_FIRST);
        } else if self.buffer.len() == self.buffer.capacity() {
            // The peer has more to say than fits: take larger sips from now on.
            self.buffer.reserve(READ_BYTES.max(self.buffer.len()).min(bytes_max));
        }
        let mut room = (&mut self.buffer).limit(bytes_max);
        self.last_read_bytes = self.socket.read_buf(&mut room).await?;
        self.pulse.feel();
        if self.last_read_bytes == 0 { Err(ReadEnd::Closed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use paquebot_protocol::codec::encode_control;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn long_bye() -> Vec<u8> {
        let mut frame = Vec::new();
        encode_control(&Control::Bye("x".repeat(GREETING_BYTES_MAX as usize)), &mut frame);
        frame
    }

    #[test]
    fn the_first_frame_is_short_and_later_ones_may_be_long() {
        runtime().block_on(async {
            let mut hello = Vec::new();
            encode_control(&Control::Bye("short".to_owned()), &mut hello);
            for (first, taken) in [(hello, true), (long_bye(), false)] {
                let (near, mut far) = tokio::io::duplex(1 << 20);
                let mut reader = FrameReader::new(near, 1 << 20, Pulse::new());
                far.write_all(&first).await.unwrap();
                let mut frames = 0;
                while frames < 2 {
                    if frames == 1 {
                        far.write_all(&long_bye()).await.unwrap();
                    }
                    match reader.frames().await {
                        Ok(some) => frames += some.len(),
                        Err(end) => {
                            assert_eq!(end.offence(), Some("frame"), "{end}");
                            break;
                        }
                    }
                }
                assert_eq!(frames == 2, taken);
            }
        });
    }

    #[test]
    fn a_frame_that_never_ends_ends_the_connection_and_silence_between_frames_does_not() {
        runtime().block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let mut reader = FrameReader::new(near, 1 << 20, Pulse::new());
            reader.frame_time_max = Duration::from_millis(50);
            let drip = async {
                let mut short = Vec::new();
                encode_control(&Control::Bye("short".to_owned()), &mut short);
                tokio::time::sleep(Duration::from_millis(150)).await;
                far.write_all(&short).await.unwrap();
                for byte in long_bye() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if far.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            };
            let read = async move {
                assert_eq!(reader.frames().await.unwrap().len(), 1);
                let end = reader.frames().await.unwrap_err();
                assert_eq!(end.offence(), Some("slow-frame"), "{end}");
            };
            tokio::join!(drip, read);
        });
    }

    #[test]
    fn long_frames_wait_for_a_place_and_whoever_keeps_one_for_nothing_loses_it() {
        runtime().block_on(async {
            let frame = {
                let mut frame = Vec::new();
                encode_control(&Control::Bye("x".repeat(300_000)), &mut frame);
                frame
            };
            // There is room for one of them.
            let places = Purse::new(400_000);
            let reader = |near| {
                let mut reader =
                    FrameReader::new(near, 1 << 20, Pulse::new()).sharing(places.clone());
                reader.frame_bytes_max_now = 1 << 20;
                reader.pressed_time_max = Duration::from_millis(200);
                reader
            };
            let ((slow, mut slow_far), (near, mut far)) =
                (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
            let (mut slow, mut honest) = (reader(slow), reader(near));
            slow_far.write_all(&frame[..200_000]).await.unwrap();
            let alone = tokio::time::timeout(Duration::from_millis(600), slow.frames()).await;
            assert!(alone.is_err(), "nobody waits for its place: {alone:?}");
            far.write_all(&frame).await.unwrap();
            let (kept, came) = tokio::join!(slow.frames(), honest.frames());
            assert_eq!(kept.unwrap_err().offence(), Some("slow-frame"));
            assert_eq!(came.unwrap().len(), 1);
            // What it held is given back, and so is what the honest one needed.
            assert!(places.try_take(400_000).is_some());
        });
    }
}
