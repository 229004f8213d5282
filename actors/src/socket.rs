//! A socket's reading half: frames as they complete, and the pulse of the peer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BytesMut};
use paquebot_protocol::codec::{FrameError, decode_frame, split_frame};
use paquebot_protocol::frame::PREAMBLE;
use paquebot_protocol::{Frame, Millis};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::clock;

/// How much is read at once: two runs of the usual largest size.
const READ_BYTES: usize = 1024 * 1024;

/// What a read buffer starts with, and shrinks to when little comes: 10,000 idle clients must not
/// cost more than a page each.
const READ_BYTES_FIRST: usize = 2 * 1024;

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
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    socket: R,
    buffer: BytesMut,
    frame_bytes_max: u32,
    last_read_bytes: usize,
    pulse: Pulse,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that refuses frames beyond `frame_bytes_max`.
    pub(crate) fn new(socket: R, frame_bytes_max: u32, pulse: Pulse) -> Self {
        Self { socket, buffer: BytesMut::new(), frame_bytes_max, last_read_bytes: 0, pulse }
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
            self.fill().await?;
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
        loop {
            let mut frames = Vec::new();
            while let Some(body) = split_frame(&mut self.buffer, self.frame_bytes_max)? {
                frames.push(decode_frame(&body)?);
            }
            if !frames.is_empty() {
                return Ok(frames);
            }
            self.fill().await?;
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

    async fn fill(&mut self) -> Result<(), ReadEnd> {
        if self.buffer.is_empty() && self.last_read_bytes < READ_BYTES_FIRST {
            self.buffer = BytesMut::with_capacity(READ_BYTES_FIRST);
        } else if self.buffer.len() == self.buffer.capacity() {
            // The peer has more to say than fits: take larger sips from now on.
            self.buffer.reserve(READ_BYTES.max(self.buffer.len()));
        }
        self.last_read_bytes = self.socket.read_buf(&mut self.buffer).await?;
        self.pulse.feel();
        if self.last_read_bytes == 0 { Err(ReadEnd::Closed) } else { Ok(()) }
    }
}
