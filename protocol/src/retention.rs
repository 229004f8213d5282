//! Retention: which packets have outlived their time, and when to look again.
//!
//! Time is the spool's own: milliseconds that only grow, that go on while the machine sleeps, and
//! that take nothing from a wall clock that jumps (the store sees to that). Only the client expires
//! packets.

use std::ops::RangeInclusive;

use crate::id::Number;
use crate::packet::Packet;
use crate::run::Run;
use crate::time::Millis;

/// What became of a run's packets by now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aged {
    /// The packets whose time is over, in stretches without gaps.
    pub expired: Vec<RangeInclusive<Number>>,
    /// When the next one's is; nothing when all others live on.
    pub next: Option<Millis>,
}

/// When a packet that was stored at `stored` and lives for `ttl_ms` is over.
#[must_use]
pub fn deadline(stored: Millis, ttl_ms: u64) -> Millis {
    stored.after(Millis(ttl_ms))
}

/// Looks at the packets of a run that was stored at `stored`. One that cannot be read lives on: its
/// handler says so.
#[must_use]
pub fn age(run: &Run, stored: Millis, now: Millis) -> Aged {
    let mut aged = Aged::default();
    for (number, record) in run.records() {
        let ttl_ms = Packet::decode(record).ok().and_then(|packet| packet.meta.ttl_ms);
        let Some(over) = ttl_ms.map(|ttl_ms| deadline(stored, ttl_ms)) else { continue };
        if over > now {
            aged.next = Some(aged.next.map_or(over, |next| next.min(over)));
            continue;
        }
        match aged.expired.last_mut() {
            Some(last) if last.end().next() == number => *last = *last.start()..=number,
            _ => aged.expired.push(number..=number),
        }
    }
    aged
}
