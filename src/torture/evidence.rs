//! The evidence: what writers were told, and what came out.

use std::sync::Arc;

use paquebot_protocol::PacketId;

use super::route::End;

/// A packet that a writer posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// The client that it was posted to.
    pub(super) client: Arc<str>,
    /// Its target.
    pub(super) target: Arc<str>,
    /// What must become of it.
    pub(super) end: End,
    /// A hash of its data.
    pub(super) digest: u64,
    /// The length of its data.
    pub(super) bytes: u64,
    /// Who posted it.
    pub(super) writer: u64,
    /// The how-manyth of its writer it is.
    pub(super) sequence: u64,
}

/// A packet that was answered "stored".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its id.
    pub(super) id: String,
    /// Its number.
    pub(super) number: u64,
    /// What was posted.
    pub(super) sent: Sent,
}

/// A packet that came out somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its id.
    pub(super) id: String,
    /// The client that it is said to come from.
    pub(super) client: Arc<str>,
    /// Its target.
    pub(super) target: Arc<str>,
    /// Its number.
    pub(super) number: u64,
    /// A hash of its data.
    pub(super) digest: u64,
    /// The length of its data.
    pub(super) bytes: u64,
}

/// Where a packet stands among those of its client and target: a lane that ended is followed by one
/// with a higher number, in which packets are counted anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Its lane.
    pub(super) lane: u64,
    /// Its number there.
    pub(super) number: u64,
}

impl Place {
    /// The place of the packet with this id; what is no id comes before all.
    pub(super) fn of(id: &str) -> Self {
        id.parse::<PacketId>()
            .map_or_else(|_| Self::default(), |id| Self { lane: id.lane.0, number: id.number.0 })
    }
}

/// A packet that a receiver was asked to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    /// The packet, as it came first.
    pub(super) seen: Seen,
    /// How often it was answered that it is handled.
    pub(super) accepted: u64,
    /// How often it was refused for good.
    pub(super) rejected: u64,
    /// How often it came.
    pub(super) times: u64,
}

/// Everything that was seen of one run.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// What was answered "stored", in each writer's order.
    pub(super) stored: Vec<Stored>,
    /// What got no answer: it may be there or not.
    pub(super) unknown: Vec<Sent>,
    /// The lines of files, by the file's name and in its order.
    pub(super) files: Vec<(String, Vec<Seen>)>,
    /// What receivers were asked to take, in the order in which each came first.
    pub(super) visits: Vec<Visit>,
    /// The dead letters.
    pub(super) dead: Vec<Seen>,
    /// Whether everything had drained, so that what is not here is lost.
    pub(super) complete: bool,
}
