//! `server.dead_letters`: how many a client may have, and for how long they are kept.
//!
//! Decides limits. Never decides which packet becomes one.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;
use super::size::size_in_words;

const MAX_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
const MAX_BYTES: RangeInclusive<u64> = 1024 * 1024..=u64::MAX;
/// Whoever looks once a minute must be able to see one.
const MAX_AGE: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::MAX;
/// A dead letter takes a little more than its packet.
const LARGEST_PACKETS_MIN: u64 = 2;
const POLICIES: [(&str, WhenDeadLettersFull); 2] =
    [("pause", WhenDeadLettersFull::Pause), ("drop-oldest", WhenDeadLettersFull::DropOldest)];

/// The bounds of a client's dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeadLetters {
    /// The most bytes that a client's dead letters may take.
    pub max_bytes: u64,
    /// After its last try a dead letter is kept for so long; without it, for good.
    pub max_age: Option<Duration>,
    /// What happens when a client has no room for another.
    pub when_full: WhenDeadLettersFull,
}

/// What happens when a client has no room for another dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhenDeadLettersFull {
    /// Its lanes wait that would need one; nothing is evicted.
    Pause,
    /// Its oldest ones go, and are counted.
    DropOldest,
}

impl DeadLetters {
    /// Reads the table; `max_packet_bytes` is what a single packet may take.
    pub(super) fn read(
        mut section: Section<'_>,
        max_packet_bytes: Result<u64, Reported>,
    ) -> Result<Self, Reported> {
        let max_bytes = section.optional("max_bytes", &kind::size(MAX_BYTES), MAX_BYTES_DEFAULT);
        let max_age =
            section.optional("max_age", &kind::duration(MAX_AGE).map(Some), None::<Duration>);
        let policy = kind::choice(&POLICIES, &[]);
        let when_full = section.optional("when_full", &policy, WhenDeadLettersFull::Pause);
        if let (Ok(max_bytes), Ok(packet)) = (max_bytes, max_packet_bytes)
            && max_bytes / LARGEST_PACKETS_MIN < packet
        {
            let packet = size_in_words(packet);
            let expected = format!(
                "no less than twice `server.max_packet_bytes`, which is {packet}: the largest \
                 packet may become a dead letter"
            );
            let found = size_in_words(max_bytes);
            section.complain("max_bytes", Fault::Value { expected, found });
        }
        section.finish();
        Ok(Self { max_bytes: max_bytes?, max_age: max_age?, when_full: when_full? })
    }
}
