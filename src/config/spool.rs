//! `[client.spool]`: how much a client keeps, and what happens when that is full.
//!
//! Decides limits. Never decides how files are laid out.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;
use super::size::size_in_words;

const MAX_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
/// Below this a file's next doubling and the headroom for cleaning up leave no room for packets.
const MAX_BYTES: RangeInclusive<u64> = 16 * 1024 * 1024..=u64::MAX;
const MAX_LANES_DEFAULT: u64 = 100_000;
/// A server opens no more lanes for one client.
const MAX_LANES: RangeInclusive<u64> = 1..=100_000;
const RETIRE_AFTER_DEFAULT: Duration = Duration::from_hours(7 * 24);
const RETIRE_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(24 * 365 * 100);
/// A lane may take half of the spool, and a file may have to double: that leaves room for one.
const LARGEST_PACKETS_MIN: u64 = 4;
/// What can be done when it is full.
pub(super) const WHEN_FULL: [(&str, WhenFull); 3] = [
    ("reject", WhenFull::Reject),
    ("block", WhenFull::Block),
    ("drop-oldest", WhenFull::DropOldest),
];

/// The bounds of a client's durable store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spool {
    /// The most bytes of real files.
    pub max_bytes: u64,
    /// What happens to a packet for which there is no room.
    pub when_full: WhenFull,
    /// The most lanes; one that holds nothing ends when a new one is needed.
    pub max_lanes: u64,
    /// For how long a lane holds nothing and gets nothing before it ends.
    pub retire_after: Duration,
}

/// What happens to a packet for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is refused, and its sender hears so.
    Reject,
    /// Its sender waits until there is room.
    Block,
    /// The oldest packets to such targets make way; they are counted, and the server is told.
    DropOldest,
}

impl Spool {
    /// Reads the table; `max_packet_bytes` is what a single packet may take.
    pub(super) fn read(
        mut section: Section<'_>,
        max_packet_bytes: Result<u64, Reported>,
    ) -> Result<Self, Reported> {
        let max_bytes = section.optional("max_bytes", &kind::size(MAX_BYTES), MAX_BYTES_DEFAULT);
        let when_full =
            section.optional("when_full", &kind::choice(&WHEN_FULL, &[]), WhenFull::Reject);
        let max_lanes = section.optional("max_lanes", &kind::count(MAX_LANES), MAX_LANES_DEFAULT);
        let retire_after =
            section.optional("retire_after", &kind::duration(RETIRE_AFTER), RETIRE_AFTER_DEFAULT);
        if let (Ok(max_bytes), Ok(packet)) = (max_bytes, max_packet_bytes)
            && max_bytes / LARGEST_PACKETS_MIN < packet
        {
            let found = size_in_words(max_bytes);
            let fault = Fault::TightSpool { found, packets: LARGEST_PACKETS_MIN };
            let help = "make `client.spool.max_bytes` larger or `client.max_packet_bytes` smaller";
            section.warn("max_bytes", fault, help);
        }
        section.finish();
        Ok(Self {
            max_bytes: max_bytes?,
            when_full: when_full?,
            max_lanes: max_lanes?,
            retire_after: retire_after?,
        })
    }
}
