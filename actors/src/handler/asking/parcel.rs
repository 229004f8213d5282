//! A parcel: one packet with all that is said about it, whom it is taken to, and what can come of it.
//!
//! This is the seam between a round, which knows lanes, turns and records, and those who are asked,
//! who know one packet at a time and nothing of where it came from.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use paquebot_protocol::{ClientId, Packet, PacketId, TargetId};

use super::exec::{Process, Program};
use super::http::Destination;

/// How much of what somebody else says becomes a reason, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 200;

/// How long somebody who has been asked may take when the handler stops.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A packet with all that is said about it.
#[derive(Debug)]
pub(super) struct Parcel<'a> {
    pub(super) id: PacketId,
    pub(super) client: &'a ClientId,
    pub(super) target: &'a TargetId,
    pub(super) packet: Packet<'a>,
    /// The packet's data.
    pub(super) data: Bytes,
    /// Which attempt at it this is, from 1.
    pub(super) attempt: u32,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The packet was handled.
    Handled,
    /// It never will be; the reason.
    Rejected(String),
    /// It was not handled, or nobody knows.
    Failed(Failure),
}

/// Why a packet is to be tried again.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// For people.
    pub(super) why: String,
    /// When whoever was asked wants to be asked again.
    pub(super) retry_after: Option<Duration>,
}

/// Who is asked. Each answers within the handler's `timeout`.
#[derive(Debug)]
pub(super) enum Asked {
    Url(Box<Destination>),
    Program(Program),
    Process(Process),
}

impl Asked {
    /// Asks, and waits for the answer. When this is dropped, the question is taken back as far as that
    /// is possible.
    pub(super) async fn ask(&self, parcel: &Parcel<'_>) -> Answer {
        match self {
            Self::Url(destination) => destination.post(parcel).await,
            Self::Program(program) => program.run(parcel).await,
            Self::Process(process) => process.ask(parcel).await,
        }
    }
}

impl Answer {
    /// Try again, by the handler's own back-off.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(Failure { why: why.into(), retry_after: None })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What somebody else said, fit for a log: as text, without control characters, and not too long.
pub(super) fn in_plain(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said.get(..REASON_BYTES_MAX).unwrap_or(said));
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect::<String>().trim().to_owned()
}
