//! Frames: what is said on the wire, and by whom. docs/protocol.md tells it to other languages.
//!
//! Every frame but `run` is a MessagePack map of one key, the frame's name; its fields stand in a
//! map too, so that a later version may add some. `run` is an array, because there are many.

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::id::{ClientId, Lane, LedgerId, Number, SpoolId};
use crate::run::Run;
use crate::status::Status;
use crate::target::TargetId;

/// The first bytes of a connection, from both sides: noise is told from this protocol at once.
pub const PREAMBLE: [u8; 8] = *b"PAQUEBOT";

/// What a skip counts as in windows, in bytes: as many of them as runs would be must not be free.
pub const SKIP_BYTES: u64 = 64;

/// The version that this program speaks; it accepts one lower or higher (R12).
pub const VERSION: u32 = 1;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Consecutive packets of a lane, from the client.
    Run {
        /// The lane.
        lane: Lane,
        /// The opening of the lane that the run was sent under.
        generation: u32,
        /// The packets.
        run: Run,
    },
    /// Anything else.
    Control(Control),
}

/// Every frame but `run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The client's first frame.
    Hello(Hello),
    /// The server's answer.
    Welcome(Welcome),
    /// The server's other answer; the connection ends.
    Refused(Refused),
    /// The client asks where to go on.
    OpenLane(Vec<OpenLane>),
    /// The server says where.
    LaneOpened(Vec<LaneOpened>),
    /// Packets that will never come, in their place in the lane.
    Skip(Skip),
    /// Everything up to here has a final outcome that is durable.
    Ack(Vec<Ack>),
    /// Packets became dead letters; goes out before the ack that covers them.
    Dead(Dead),
    /// The server can never take these packets.
    RefuseRun(RefuseRun),
    /// The server takes nothing from this lane until it is opened again.
    Pause(Pause),
    /// The client will never use this lane again, and its last drop is durable.
    Retire(Lane),
    /// The client says how it is; to a server that named the capability.
    Status(Status),
    /// Are you there? To be answered with the same number.
    Ping(u64),
    /// I am.
    Pong(u64),
    /// This side ends the connection on purpose.
    Bye(String),
}

/// Who connects, and with which store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest version of the protocol that the client speaks.
    pub version: u32,
    /// Its store.
    pub spool: SpoolId,
    /// The name that this spool had before it was re-keyed.
    #[serde(default)]
    pub replaces: Option<SpoolId>,
    /// How often the spool was opened.
    pub opened: u64,
    /// The random number of that opening.
    pub nonce: u64,
    /// The client's name.
    pub client: ClientId,
    /// The client's secret, when the server asks for one.
    #[serde(default)]
    pub token: Option<String>,
    /// What the client can do beyond the version.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The client's program and its version, for the log.
    #[serde(default)]
    pub program: String,
}

/// The server takes the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: u32,
    /// The server's store.
    pub ledger: LedgerId,
    /// The opening of the spool that the ledger has on record now: the client's own.
    pub opened: u64,
    /// What the server takes.
    pub limits: Limits,
    /// What the server can do beyond the version.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The server's program and its version, for the log.
    #[serde(default)]
    pub program: String,
}

/// What a server takes from one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest frame, in bytes, without its length.
    pub frame_bytes_max: u32,
    /// Unacknowledged bytes over all lanes.
    pub window_bytes: u64,
    /// Lanes open at once.
    pub lanes_max: u32,
}

/// Why a server does not take a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason, for the program.
    pub code: RefusedCode,
    /// The reason, for people.
    pub message: String,
    /// When to try again, in milliseconds.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// The reasons of [`Refused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedCode {
    /// The versions are too far apart.
    Version,
    /// The ledger knows a later or another opening of this spool: a copy of it is or was at work.
    /// The client gives its spool a new name and comes again (R7).
    Rekey,
    /// The server is full, or its ledger cannot be reached at the moment.
    Busy,
    /// The server is stopping.
    Stopping,
    /// A newer connection of the same spool took over.
    Superseded,
    /// One that a later version knows.
    #[serde(other)]
    Unknown,
}

/// Asks where a lane goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLane {
    /// The lane.
    pub lane: Lane,
    /// Counts the openings of this lane on this connection.
    pub generation: u32,
    /// Where its packets go.
    pub target: TargetId,
    /// The lowest number that the client still holds or declares; below it all is final.
    pub first: Number,
    /// The lowest number that was never assigned.
    pub next: Number,
}

/// Says where a lane goes on: after `cursor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneOpened {
    /// The lane.
    pub lane: Lane,
    /// The opening that this answers.
    pub generation: u32,
    /// Everything up to here has a final outcome.
    pub cursor: Number,
    /// The chain there, which the client must be able to confirm; absent when the ledger does not
    /// know the lane.
    #[serde(default)]
    pub chain: Option<Chain>,
    /// Unacknowledged bytes in this lane.
    pub window_bytes: u64,
    /// The packets from `first` to `cursor` that became dead letters.
    #[serde(default)]
    pub dead: Vec<Number>,
    /// How many numbers of this lane were passed by skips without having been handled, since the
    /// ledger knows it.
    #[serde(default)]
    pub skipped: u64,
}

/// Declares packets that will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The lane.
    pub lane: Lane,
    /// The opening that it is sent under.
    pub generation: u32,
    /// The first of them.
    pub first: Number,
    /// The last of them.
    pub through: Number,
    /// The chain before the first; absent when it was destroyed with them.
    #[serde(default)]
    pub chain: Option<Chain>,
    /// The chain after the last.
    pub chain_after: Chain,
    /// Why they will not come.
    pub reason: SkipReason,
}

/// Why packets will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Their time to live ended.
    Expired,
    /// They made room for others.
    Evicted,
    /// Someone removed them by hand.
    Purged,
    /// Their bytes were destroyed.
    Damaged,
    /// The server can never take them.
    Refused,
    /// One that a later version knows.
    #[serde(other)]
    Unknown,
}

/// Everything in a lane up to `through` has a durable outcome. An array of three on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(Lane, Number, u64)", into = "(Lane, Number, u64)")]
pub struct Ack {
    /// The lane.
    pub lane: Lane,
    /// The last number with an outcome.
    pub through: Number,
    /// How many numbers of this lane were passed by skips without having been handled, since the
    /// ledger knows it: what was declared skipped and is not among them had been handled (R8).
    pub skipped: u64,
}

impl From<(Lane, Number, u64)> for Ack {
    fn from((lane, through, skipped): (Lane, Number, u64)) -> Self {
        Self { lane, through, skipped }
    }
}

impl From<Ack> for (Lane, Number, u64) {
    fn from(ack: Ack) -> Self {
        (ack.lane, ack.through, ack.skipped)
    }
}

/// Packets of one lane became dead letters, all for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// The lane.
    pub lane: Lane,
    /// The packets.
    pub numbers: Vec<Number>,
    /// Why, for people.
    pub reason: String,
}

/// Packets that the server can never take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefuseRun {
    /// The lane.
    pub lane: Lane,
    /// The opening that they were sent under.
    pub generation: u32,
    /// The first of them.
    pub first: Number,
    /// The last of them.
    pub through: Number,
    /// Why.
    pub code: RefuseRunCode,
}

/// The reasons of [`RefuseRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefuseRunCode {
    /// A packet is longer than this server takes.
    TooLarge,
    /// The bytes of the run are damaged or no run.
    Undecodable,
    /// The client may not send to this target; its owner may come to be allowed to.
    Forbidden,
    /// One that a later version knows.
    #[serde(other)]
    Unknown,
}

/// A lane is paused until it is opened again with the next generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The lane.
    pub lane: Lane,
    /// The opening that ends with this.
    pub generation: u32,
    /// When to open it again, in milliseconds.
    pub retry_after_ms: u64,
    /// Why, for people.
    pub reason: String,
}
