//! Packets that outlive their time: the reader looks for them at the head of their lane, and the
//! writer puts tombstones in their place (R3).
//!
//! What lies far behind the head is looked at when it comes near; the connection asks before it
//! sends anything whose time may be over, so that nothing goes out late.

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::retention::age;
use paquebot_protocol::{Lane, Millis, Number, Run};

use super::bury::Burial;
use super::envelope::Envelope;
use super::facts::Tombstone;
use super::read::{Ask, Reader, Trouble};
use super::writer::{Order, Writer};
use crate::reply::Promise;

/// How much of a lane is looked through at once.
const SWEEP_BYTES: usize = 2 * 1024 * 1024;

/// When a lane is looked at again that could not be read, or whose head had nothing to expire.
const AGAIN: Millis = Millis(30_000);

/// What the reader found when it looked through the head of a lane.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) lane: Lane,
    pub(super) tombstones: Vec<Tombstone>,
    /// When to look again, by the spool's clock.
    pub(super) next: Option<Millis>,
    /// When it began to look.
    pub(super) now: Millis,
}

impl Writer {
    /// Has the lanes looked through in which a packet may have outlived its time.
    pub(super) fn sweep(&mut self) {
        let now = self.shared.now();
        while let Some((due, lane)) = self.aging.first().copied()
            && due <= now
        {
            self.aging.pop_first();
            let Some(entry) = self.lanes.get(lane) else { continue };
            let from = entry.acked.next();
            self.look_through(lane, from, now);
        }
    }

    /// Has a lane looked through from `from` on, unless that is under way.
    pub(super) fn look_through(&mut self, lane: Lane, from: Number, now: Millis) {
        let idle = self.failed.is_none() && self.sweeping.insert(lane);
        if idle && self.reader.send(Ask::Sweep { lane, from, now }).is_err() {
            self.sweeping.remove(&lane);
        }
    }

    /// Takes what the reader found into the next commit.
    pub(super) fn swept(&mut self, swept: Swept) {
        let Swept { lane, tombstones, next, now } = swept;
        self.sweeping.remove(&lane);
        let Some(entry) = self.lanes.get_mut(lane) else { return };
        // What was stored meanwhile was not looked at.
        let stored = entry.expires.filter(|at| *at > now);
        let next = [next, stored].into_iter().flatten().min();
        entry.expires = next;
        self.aging.extend(next.map(|next| (next, lane)));
        if !tombstones.is_empty() {
            let promise = Promise::new(Box::new(|_| {}));
            self.bury(Burial { lane, tombstones, promise });
        }
    }
}

impl Reader {
    /// Looks through a lane from `from` on.
    pub(super) fn sweep(&mut self, lane: Lane, from: Number, now: Millis) {
        let swept = self.look(|reader| reader.aged(lane, from, now));
        if let Err(Trouble::Missing(at)) = &swept {
            self.declare(lane, *at, None);
        }
        let again = now.after(AGAIN);
        let swept = swept.unwrap_or(Swept { lane, tombstones: Vec::new(), next: Some(again), now });
        // When the channel is full or closed, the lane is due with the next opening, or request.
        if let Some(orders) = self.orders.upgrade() {
            let _ = orders.try_send(Order::Swept(swept));
        }
    }

    fn aged(&mut self, lane: Lane, from: Number, now: Millis) -> Result<Swept, Trouble> {
        let (mut tombstones, mut next) = (Vec::new(), None);
        let held = self.held(lane, from, SWEEP_BYTES)?;
        let all_expired = !held.runs.is_empty();
        let mut lives_on = false;
        for (envelope, run) in &held.runs {
            let Some(expires) = envelope.expires else {
                lives_on = true;
                continue;
            };
            if expires > now {
                lives_on = true;
                next = Some(next.map_or(expires, |next: Millis| next.min(expires)));
                continue;
            }
            let aged = age(run, envelope.stored, now);
            let span = |numbers: &std::ops::RangeInclusive<Number>| expired(run, numbers);
            tombstones.extend(aged.expired.iter().filter_map(span));
            let packets: u64 = aged.expired.iter().map(|n| n.end().since(n.start().before())).sum();
            lives_on |= packets < u64::from(run.head().count);
            next = [next, aged.next].into_iter().flatten().min();
        }
        if held.goes_on {
            // Everything at the head is over: the rest of the lane is next. Otherwise it is looked
            // at when it has come nearer.
            let soon = if all_expired && !lives_on { now } else { now.after(AGAIN) };
            next = Some(next.map_or(soon, |next| next.min(soon)));
        }
        Ok(Swept { lane, tombstones, next, now })
    }
}

/// The tombstone for expired packets of a run.
fn expired(run: &Run, numbers: &std::ops::RangeInclusive<Number>) -> Option<Tombstone> {
    let (first, last) = (*numbers.start(), *numbers.end());
    let (chain, chain_after) = (run.chain_at(first.before()), run.chain_at(last)?);
    Some(Tombstone { first, last, chain, chain_after, reason: SkipReason::Expired })
}

/// What the head of a lane holds.
#[derive(Debug)]
pub(super) struct HeldRuns {
    pub(super) runs: Vec<(Envelope, Run)>,
    /// Whether there is more behind it.
    pub(super) goes_on: bool,
}
