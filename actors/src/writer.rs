//! A socket's writing half: a queue with an end, drained by a task of its own.
//!
//! actix's own writer grows without limit on a slow peer and flushes nothing when it is dropped. This
//! one says when it has no room: whoever sends packets then asks [`FrameWriter::has_room`], and
//! a peer that makes us talk and does not listen loses its connection. Small frames are joined, so
//! that thousands of small runs cost neither a chunk nor a call each.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use paquebot_protocol::codec::{encode_control, encode_run_head};
use paquebot_protocol::frame::PREAMBLE;
use paquebot_protocol::{Control, Lane, Run};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::socket::Pulse;

/// With more than this waiting, packets wait at their source: it is several times what the kernel
/// takes at once, so the socket never runs dry.
const ROOM_BYTES: usize = 4 * 1024 * 1024;

/// With more than this waiting, the peer does not listen.
const WAITING_BYTES_MAX: usize = 4 * ROOM_BYTES;

/// Pieces up to this length are copied together; longer ones are written from where they lie.
const JOIN_BYTES_MAX: usize = 4 * 1024;

/// The peer does not read what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the peer to read, found {waiting_bytes} bytes waiting for it")]
pub(crate) struct WriteFull {
    waiting_bytes: usize,
}

/// The near end of a writer. Dropping it lets the far end finish what is queued, and end.
#[derive(Debug)]
pub(crate) struct FrameWriter(Arc<Shared>);

/// The far end of a writer: a future that owns the socket.
#[derive(Debug)]
pub(crate) struct WriteTask<W> {
    socket: W,
    shared: Arc<Shared>,
    pulse: Pulse,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    waiting_bytes: usize,
    closed: bool,
    wants_room: bool,
}

/// A writer that begins with the preamble.
pub(crate) fn frame_writer<W: AsyncWrite + Unpin>(
    socket: W,
    pulse: Pulse,
) -> (FrameWriter, WriteTask<W>) {
    let shared = Arc::new(Shared::default());
    shared.queue().push(&PREAMBLE);
    (FrameWriter(Arc::clone(&shared)), WriteTask { socket, shared, pulse })
}

impl FrameWriter {
    /// Queues control frames, in order.
    ///
    /// # Errors
    /// When the peer does not listen.
    pub(crate) fn controls(&self, controls: &[Control]) -> Result<(), WriteFull> {
        let mut bytes = Vec::with_capacity(64 * controls.len());
        for control in controls {
            encode_control(control, &mut bytes);
        }
        let mut queue = self.0.queue();
        queue.push(&bytes);
        self.0.changed.notify_one();
        let waiting_bytes = queue.waiting_bytes;
        if waiting_bytes > WAITING_BYTES_MAX { Err(WriteFull { waiting_bytes }) } else { Ok(()) }
    }

    /// Queues a run; a long one is not copied.
    pub(crate) fn run(&self, lane: Lane, generation: u32, run: &Run) {
        let mut head = Vec::with_capacity(32);
        encode_run_head(lane, generation, run, &mut head);
        let mut queue = self.0.queue();
        queue.push(&head);
        queue.push_shared(run.encoded());
        self.0.changed.notify_one();
    }

    /// Whether there is room for packets. If not, the task says once when there is.
    pub(crate) fn has_room(&self) -> bool {
        let mut queue = self.0.queue();
        queue.wants_room = queue.waiting_bytes > ROOM_BYTES;
        !queue.wants_room
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.changed.notify_one();
    }
}

impl<W: AsyncWrite + Unpin> WriteTask<W> {
    /// Writes until the near end is dropped and everything is out; `room` is called when there is
    /// room again for someone who had none.
    ///
    /// # Errors
    /// When the link fails.
    pub(crate) async fn run(mut self, mut room: impl FnMut()) -> io::Result<()> {
        let mut pieces = Pieces::default();
        loop {
            let (taken, closed) = self.shared.queue().take();
            pieces.0.extend(taken);
            if pieces.0.is_empty() {
                if closed {
                    return self.socket.shutdown().await;
                }
                self.shared.changed.notified().await;
                continue;
            }
            while pieces.has_remaining() {
                let before = pieces.remaining();
                if self.socket.write_buf(&mut pieces).await? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                // Whoever takes a part of what waits lives. That all of it went into the kernel's
                // buffer says nothing: our own pings would keep a dead peer alive.
                if pieces.has_remaining() {
                    self.pulse.feel();
                }
                if self.shared.queue().written(before - pieces.remaining()) {
                    room();
                }
            }
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, bytes: &[u8]) {
        self.waiting_bytes += bytes.len();
        self.small.extend_from_slice(bytes);
    }

    fn push_shared(&mut self, bytes: &Bytes) {
        if bytes.len() <= JOIN_BYTES_MAX {
            return self.push(bytes);
        }
        self.seal();
        self.waiting_bytes += bytes.len();
        self.pieces.push_back(bytes.clone());
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    fn take(&mut self) -> (VecDeque<Bytes>, bool) {
        self.seal();
        (std::mem::take(&mut self.pieces), self.closed)
    }

    /// Some bytes are out; whether someone who had no room has it now.
    fn written(&mut self, bytes: usize) -> bool {
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let has = self.wants_room && self.waiting_bytes <= ROOM_BYTES / 2;
        self.wants_room &= !has;
        has
    }
}

/// Several pieces of memory that are written as one.
#[derive(Debug, Default)]
struct Pieces(VecDeque<Bytes>);

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |bytes| bytes)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.0);
        filled.map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.0.front_mut() {
            if count < front.len() {
                return front.advance(count);
            }
            count -= front.len();
            self.0.pop_front();
        }
    }
}
