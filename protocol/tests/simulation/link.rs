//! A link: a connection with the bytes of its frames on their way, in order, until it breaks. It may
//! stall without a word, and either end may be gone while the other still believes in it.

use std::collections::VecDeque;

use bytes::Bytes;
use paquebot_protocol::codec::{HEAD_BYTES, decode_frame, encode_frame};
use paquebot_protocol::heartbeat::Heartbeat;
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{Batch, Frame, Lane, Millis, Packet};

use crate::common::ledger::data_of;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) machine: usize,
    pub(crate) session: Option<SessionId>,
    pub(crate) to_server: VecDeque<Bytes>,
    pub(crate) to_client: VecDeque<Bytes>,
    pub(crate) is_stalled: bool,
    /// What the client said is not what arrives.
    pub(crate) is_tampered_with: bool,
    pub(crate) client_is_there: bool,
    pub(crate) server_is_there: bool,
    pub(crate) client_beat: Heartbeat,
    pub(crate) server_beat: Heartbeat,
}

impl Link {
    pub(crate) fn new(id: u64, machine: usize, now: Millis) -> Self {
        let beat = |ping, dead| Heartbeat::new(now, Millis(ping), Millis(dead));
        Self {
            id,
            machine,
            session: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            is_stalled: false,
            is_tampered_with: false,
            client_is_there: true,
            server_is_there: true,
            client_beat: beat(10_000, 30_000),
            server_beat: beat(30_000, 90_000),
        }
    }

    pub(crate) fn send_up(&mut self, frames: impl IntoIterator<Item = Frame>) {
        if self.client_is_there && self.server_is_there {
            self.to_server.extend(frames.into_iter().map(|frame| encoded(&frame)));
        }
    }

    pub(crate) fn send_down(&mut self, frames: impl IntoIterator<Item = Frame>) {
        if self.client_is_there && self.server_is_there {
            self.to_client.extend(frames.into_iter().map(|frame| encoded(&frame)));
        }
    }

    /// The connection is reset: nothing that is on its way arrives.
    pub(crate) fn reset(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
    }

    /// A bit of the first run on its way to the server turns; says whether there was one.
    pub(crate) fn corrupt(&mut self) -> bool {
        let is_run = |body: &&mut Bytes| matches!(decode_frame(body), Ok(Frame::Run { .. }));
        let Some(body) = self.to_server.iter_mut().find(is_run) else { return false };
        let mut bytes = body.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        *body = Bytes::from(bytes);
        true
    }

    /// The lane of the first run on its way to the server.
    pub(crate) fn first_run(&self) -> Option<Lane> {
        self.to_server.iter().find_map(|body| match decoded(body) {
            Frame::Run { lane, .. } => Some(lane),
            Frame::Control(_) => None,
        })
    }

    /// The first run on its way to the server becomes one of as many packets that nobody stored, whole
    /// in itself, after another chain.
    pub(crate) fn forge(&mut self) {
        for body in &mut self.to_server {
            let Frame::Run { lane, generation, run } = decoded(body) else { continue };
            let (data, count) = (data_of(0), run.head().count as usize);
            let mut batch = Batch::with_capacity(count, 0);
            for _ in 0..count {
                batch.push(&Packet { created_ms: 1, data: &data, meta: <_>::default() });
            }
            let before = run.head().chain.after(0, 0);
            let (origin, first) = (run.head().origin, run.first());
            let mut builder = RunBuilder::new(origin, first, before, batch.bytes());
            builder.fill(&batch, 0, usize::MAX);
            let run = builder.finish().expect("packets");
            *body = encoded(&Frame::Run { lane, generation, run });
            return;
        }
    }
}

fn encoded(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    encode_frame(frame, &mut out);
    Bytes::from(out).slice(HEAD_BYTES..)
}

pub(crate) fn decoded(body: &Bytes) -> Frame {
    decode_frame(body).expect("a frame that was encoded")
}
