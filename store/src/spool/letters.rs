//! Dead letters of a client: packets that its server can never take (R5, R8).
//!
//! They are packets of a lane of the spool's own, whose target nobody can send to, and which is never
//! sent itself. So all that holds for packets holds for them: they are durable, verified, moved out of
//! files that can go, put aside when they are damaged. The tombstone that takes a packet's place in its
//! lane and the letter are written in **one** transaction, and fall together when that fails; the same
//! goes for a packet that is stored anew and the end of its letter. Therefore such a commit leaves the
//! runs beneath its tombstones where they are: they go when the tombstones are acknowledged.
//!
//! A letter is a packet whose data is the record that could not be sent, as it is; its headers say
//! which packet it was. What it takes counts among the spool's bytes, and one part in eight of them is
//! all that letters get: when it is used up, nothing becomes a dead letter, and the lane waits.

use std::sync::LazyLock;

use bytes::Bytes;
use paquebot_protocol::{Lane, Meta, Number, Packet, PacketId, Run, TargetId};

use super::Spool;
use super::facts::{Stored, Stretch};
use super::resend::OfLetters;
use super::writer::Order;
use crate::error::{AppendError, ReadError};
use crate::reply::{Promise, Reply};

/// What letters may take of the spool: one part in so many.
const SHARE: u64 = 8;

/// The target of the lane that has them.
static LETTERS: LazyLock<Option<TargetId>> = LazyLock::new(|| "$dead-letters".parse().ok());

const ID: &str = "id";
const TARGET: &str = "target";
const REASON: &str = "reason";

/// A packet that was not sent and never will be, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLetter {
    /// Its place among the letters of its spool: they are listed in this order.
    pub place: Number,
    /// The packet.
    pub id: PacketId,
    /// Whom it is addressed to.
    pub target: TargetId,
    /// Why it was not sent.
    pub reason: String,
    /// When it became a dead letter, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// The packet, as it was stored.
    pub record: Bytes,
}

/// Some of a spool's letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolLetters {
    /// In order.
    pub letters: Vec<SpoolLetter>,
    /// After which place to go on; nothing when these were the last.
    pub next: Option<Number>,
    /// The place of the newest letter that there ever was.
    pub newest: Number,
}

/// What became of letters that were to be sent after all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resent {
    /// Those that are packets again, by their places, each with where it stands.
    pub stored: Vec<(Number, Stored)>,
    /// Why the others are not; nothing when they were no letters any more.
    pub stopped: Option<AppendError>,
}

/// Packets of a lane that become dead letters.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) lane: Lane,
    pub(super) first: Number,
    pub(super) through: Number,
    pub(super) reason: String,
    /// Told how many became dead letters.
    pub(super) promise: Promise<u64, AppendError>,
}

impl Spool {
    /// Makes dead letters of the packets `first` to `through` of a lane, which its server can never
    /// take, and tells how many: a tombstone takes their place, in the same commit. All of them, or
    /// none when there is no room.
    pub fn dead_letter(
        &self,
        lane: Lane,
        first: Number,
        through: Number,
        reason: String,
        reply: Reply<Result<u64, AppendError>>,
    ) {
        let promise = Promise::new(reply);
        // When nobody takes it, it is dropped, and its promise says that the spool is closed.
        let _ = self.orders.send(Order::Doom(Doomed { lane, first, through, reason, promise }));
    }

    /// Reads dead letters after the place `after`, about `bytes_max` of them and one at least.
    pub fn dead_letters(
        &self,
        after: Number,
        bytes_max: usize,
        reply: Reply<Result<SpoolLetters, ReadError>>,
    ) {
        let lane = self.shared.lane_of_letters();
        let lane = lane.filter(|state| state.acked_through.max(after).next() < state.next);
        let Some(state) = lane else { return reply(Ok(SpoolLetters::default())) };
        let (lane, next, after) = (state.lane, state.next, state.acked_through.max(after));
        let some = move |read: Result<Vec<Stretch>, ReadError>| {
            reply(read.map(|stretches| page(&stretches, after, next)));
        };
        self.read(lane, after.next(), bytes_max, Box::new(some));
    }

    /// Stores letters anew, each at the end of the lane that its target has now, in order; a letter
    /// goes in the commit that stores its packet. They stop where there is no room.
    pub fn resend_dead_letters(
        &self,
        places: Vec<Number>,
        reply: Reply<Result<Resent, AppendError>>,
    ) {
        let of = OfLetters::Resend(Promise::new(reply));
        let _ = self.orders.send(Order::Letters(places, of));
    }

    /// Removes letters for good, and tells how many.
    pub fn discard_dead_letters(
        &self,
        places: Vec<Number>,
        reply: Reply<Result<u64, AppendError>>,
    ) {
        let of = OfLetters::Discard(Promise::new(reply));
        let _ = self.orders.send(Order::Letters(places, of));
    }
}

/// Whether packets to `target` are the spool's own, and never sent.
pub(super) fn is_own(target: &TargetId) -> bool {
    LETTERS.as_ref() == Some(target)
}

/// The most bytes of letters in a spool of `max_bytes`.
pub(super) fn bytes_max(max_bytes: u64) -> u64 {
    max_bytes / SHARE
}

/// The lane's target, which is a valid one.
pub(super) fn target() -> Option<&'static TargetId> {
    LETTERS.as_ref()
}

fn page(stretches: &[Stretch], after: Number, next: Number) -> SpoolLetters {
    let (mut letters, mut last) = (Vec::new(), after);
    for stretch in stretches {
        if let Stretch::Run { run, .. } = stretch {
            // It may begin with what comes before, or has gone.
            let records = run.records().filter(|(place, _)| *place > last);
            letters.extend(records.filter_map(|(place, record)| opened(place, run, record)));
        }
        last = stretch.last();
    }
    let goes_on = last > after && last.next() < next;
    SpoolLetters { letters, next: goes_on.then_some(last), newest: next.before() }
}

/// The letter in a record; nothing when it is none, which nobody writes.
pub(super) fn opened(place: Number, run: &Run, record: &[u8]) -> Option<SpoolLetter> {
    let packet = Packet::decode(record).ok()?;
    let header = |name: &str| packet.meta.headers.get(name).copied();
    Some(SpoolLetter {
        place,
        id: header(ID)?.parse().ok()?,
        target: header(TARGET)?.parse().ok()?,
        reason: header(REASON).unwrap_or_default().to_owned(),
        at_ms: packet.created_ms,
        record: bytes_within(run, packet.data),
    })
}

/// A part of a run's bytes, without a copy.
fn bytes_within(run: &Run, part: &[u8]) -> Bytes {
    run.encoded().slice_ref(part)
}

/// A packet as a dead letter.
pub(super) fn letter<'a>(
    id: &'a str,
    target: &'a str,
    reason: &'a str,
    at_ms: u64,
    record: &'a [u8],
) -> Packet<'a> {
    let headers = [(ID, id), (TARGET, target), (REASON, reason)].into_iter().collect();
    Packet { created_ms: at_ms, data: record, meta: Meta { headers, ..Meta::default() } }
}
