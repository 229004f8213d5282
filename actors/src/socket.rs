//! A socket's two halves: a reader that hands over frames as they complete, and a bounded writer.
//!
//! actix's own writer grows without limit on a slow peer and flushes nothing when it is dropped, so
//! this one has a queue with an end: what does not fit closes the connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use paquebot_protocol::codec::{
    FrameError, decode_frame, encode_control, encode_run_head, split_frame,
};
use paquebot_protocol::frame::PREAMBLE;
use paquebot_protocol::{Control, Frame, Lane, Run};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// How much is read at once: two runs of the usual largest size.
const READ_BYTES: usize = 1024 * 1024;

/// What a read buffer starts with, and shrinks to when little comes: 10,000 idle clients must not
/// cost more than a page each.
const READ_BYTES_FIRST: usize = 2 * 1024;

/// Chunks that may wait for a slow peer. Runs are bounded by the window long before; this ends a
/// peer that asks much and reads nothing.
const WRITE_CHUNKS_MAX: usize = 8 * 1024;

/// Chunks that go to the kernel in one call.
const WRITE_CHUNKS_AT_ONCE: usize = 64;

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
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that refuses frames beyond `frame_bytes_max`.
    pub(crate) fn new(socket: R, frame_bytes_max: u32) -> Self {
        Self { socket, buffer: BytesMut::new(), frame_bytes_max, last_read_bytes: 0 }
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
        if self.last_read_bytes == 0 { Err(ReadEnd::Closed) } else { Ok(()) }
    }
}

/// The peer does not read what it asked for, or the writer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the peer to read, found {WRITE_CHUNKS_MAX} chunks waiting for it or no connection"
)]
pub(crate) struct WriteFull;

/// The near end of a writer.
#[derive(Debug, Clone)]
pub(crate) struct FrameWriter {
    queue: mpsc::Sender<Bytes>,
}

impl FrameWriter {
    /// Queues control frames, in order, in one piece.
    ///
    /// # Errors
    /// When the peer is too slow or gone.
    pub(crate) fn controls(&self, controls: &[Control]) -> Result<(), WriteFull> {
        if controls.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(64 * controls.len());
        for control in controls {
            encode_control(control, &mut bytes);
        }
        self.queue(bytes.into())
    }

    /// Queues a run; its bytes are not copied.
    ///
    /// # Errors
    /// When the peer is too slow or gone.
    pub(crate) fn run(&self, lane: Lane, generation: u32, run: &Run) -> Result<(), WriteFull> {
        let mut head = Vec::with_capacity(32);
        encode_run_head(lane, generation, run, &mut head);
        self.queue(head.into())?;
        self.queue(run.encoded().clone())
    }

    fn queue(&self, bytes: Bytes) -> Result<(), WriteFull> {
        self.queue.try_send(bytes).map_err(|_| WriteFull)
    }
}

/// The far end of a writer: a future that owns the socket until every near end is dropped and the
/// queue is empty, or the link fails.
#[derive(Debug)]
pub(crate) struct WriteTask<W> {
    socket: W,
    queue: mpsc::Receiver<Bytes>,
}

/// A writer that begins with the preamble.
pub(crate) fn frame_writer<W: AsyncWrite + Unpin>(socket: W) -> (FrameWriter, WriteTask<W>) {
    let (near, far) = mpsc::channel(WRITE_CHUNKS_MAX);
    let greeted = near.try_send(Bytes::from_static(&PREAMBLE));
    debug_assert!(greeted.is_ok(), "an empty queue has room");
    (FrameWriter { queue: near }, WriteTask { socket, queue: far })
}

impl<W: AsyncWrite + Unpin> WriteTask<W> {
    /// Writes until there is nothing more to come.
    ///
    /// # Errors
    /// When the link fails.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut chunks = Chunks::default();
        loop {
            while chunks.queue.len() < WRITE_CHUNKS_AT_ONCE
                && let Ok(bytes) = self.queue.try_recv()
            {
                chunks.queue.push_back(bytes);
            }
            if chunks.queue.is_empty() {
                match self.queue.recv().await {
                    Some(bytes) => chunks.queue.push_back(bytes),
                    None => break,
                }
                continue;
            }
            self.socket.write_all_buf(&mut chunks).await?;
        }
        self.socket.shutdown().await
    }
}

/// Several pieces of memory that are written as one.
#[derive(Debug, Default)]
struct Chunks {
    queue: VecDeque<Bytes>,
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&[], |bytes| bytes)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.queue);
        filled.map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.queue.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.queue.pop_front();
        }
    }
}
