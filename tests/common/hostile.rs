//! A peer that means no good: it speaks the protocol as far as it likes, with a real server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use paquebot_protocol::codec::{decode_frame, encode_control, encode_run_head, split_frame};
use paquebot_protocol::frame::{Hello, OpenLane, PREAMBLE, Skip, SkipReason};
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{Batch, Chain, Control, Frame, Lane, Number, Origin, Packet, SpoolId};
use xxhash_rust::xxh3::xxh3_64;

pub struct Peer {
    stream: TcpStream,
    heard: BytesMut,
}

/// A run of the packets `first` to `first + count - 1` of a lane, each with `bytes` of data; its chain
/// goes on from `chain`. Gives the frame and the chain after it.
pub fn run(lane: u64, chain: Chain, first: u64, count: u64, bytes: usize) -> (Vec<u8>, Chain) {
    let mut batch = Batch::default();
    let data = vec![b'x'; bytes];
    for _ in 0..count {
        batch.push(&Packet { created_ms: 1, data: &data, ..Packet::default() });
    }
    let origin = Origin { spool: SpoolId([9; 16]), nonce: 7 };
    let mut builder = RunBuilder::new(origin, Number(first), chain, batch.bytes());
    builder.fill(&batch, 0, usize::MAX);
    let chain = builder.chain();
    let run = builder.finish().unwrap();
    let mut frame = Vec::new();
    encode_run_head(Lane(lane), 1, &run, &mut frame);
    frame.extend_from_slice(run.encoded());
    (frame, chain)
}

/// A frame around any bytes, with the checks that it needs.
pub fn framed(length: u32, body: &[u8]) -> Vec<u8> {
    let check = |part: &[u8]| (xxh3_64(part) as u32).to_be_bytes();
    let length = length.to_be_bytes();
    [length.as_slice(), &check(&length), &check(body), body].concat()
}

pub fn encoded(control: &Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_control(control, &mut bytes);
    bytes
}

pub fn hello(spool: u128) -> Control {
    Control::Hello(Hello {
        version: 1,
        spool: SpoolId(spool.to_be_bytes()),
        replaces: None,
        opened: 1,
        nonce: 7,
        client: "mallory".parse().unwrap(),
        token: None,
        capabilities: Vec::new(),
        program: "hostile".to_owned(),
    })
}

pub fn open(lane: u64) -> OpenLane {
    let target = format!("flood.{lane}").parse().unwrap();
    let (first, next) = (Number(1), Number(u64::MAX / 2));
    OpenLane { lane: Lane(lane), generation: 1, target, first, next }
}

pub fn skip(lane: u64, first: u64, through: u64) -> Control {
    let (lane, first, through) = (Lane(lane), Number(first), Number(through));
    let (chain, chain_after, reason) = (None, Chain(through.0), SkipReason::Purged);
    Control::Skip(Skip { lane, generation: 1, first, through, chain, chain_after, reason })
}

impl Peer {
    /// One that only connects.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, heard: BytesMut::new() }
    }

    /// One that the server has let in.
    pub fn welcomed(port: u16, spool: u128) -> Self {
        let mut peer = Self::connect(port);
        peer.send(&PREAMBLE);
        peer.say(&hello(spool));
        match peer.hear() {
            Some(Control::Welcome(_)) => peer,
            other => panic!("expected a welcome, found {other:?}"),
        }
    }

    /// One that says hello; whether it was let in.
    pub fn tries(port: u16, spool: u128) -> bool {
        let mut peer = Self::connect(port);
        peer.send(&PREAMBLE);
        peer.say(&hello(spool));
        match peer.hear() {
            Some(Control::Welcome(_)) => true,
            Some(Control::Refused(_)) => false,
            other => panic!("expected a welcome or a refusal, found {other:?}"),
        }
    }

    /// Sends as much as the server and the systems between take at once.
    pub fn send_what_is_taken(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let mut full = 0;
        while sent < bytes.len() && full < 5 {
            match self.stream.write(&bytes[sent..]) {
                Ok(written) => (sent, full) = (sent + written, 0),
                Err(_) => {
                    full += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.stream.set_nonblocking(false).unwrap();
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The server may have hung up already.
        drop(self.stream.write_all(bytes));
    }

    /// Sends until the server takes no more; whether that came about.
    pub fn flood(&mut self, bytes: &[u8], times: usize) -> bool {
        (0..times).any(|_| self.stream.write_all(bytes).is_err())
    }

    pub fn say(&mut self, control: &Control) {
        self.send(&encoded(control));
    }

    /// The next frame; nothing when the connection has ended.
    pub fn hear(&mut self) -> Option<Control> {
        let mut bytes = [0; 16 * 1024];
        loop {
            if self.heard.starts_with(&PREAMBLE) {
                drop(self.heard.split_to(PREAMBLE.len()));
            }
            // A part of the preamble is no head of a frame.
            if self.heard.first() != Some(&PREAMBLE[0])
                && let Some(body) = split_frame(&mut self.heard, 16 << 20).unwrap()
            {
                match decode_frame(&body).unwrap() {
                    Frame::Control(control) => return Some(control),
                    Frame::Run { .. } => panic!("servers send no runs"),
                }
            }
            match self.stream.read(&mut bytes) {
                Ok(read) if read > 0 => self.heard.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the server neither answers nor hangs up")
                }
                _ => return None,
            }
        }
    }

    /// Hears until the connection ends: the last reason that was given.
    pub fn until_ended(&mut self) -> String {
        let mut why = String::new();
        while let Some(control) = self.hear() {
            match control {
                Control::Bye(reason) => why = reason,
                Control::Refused(refused) => why = refused.message,
                _ => {}
            }
        }
        why
    }

    /// A second handle on the same connection, that only reads.
    pub fn ear(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap(), heard: self.heard.clone() }
    }

    pub fn hang_up(self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }
}
