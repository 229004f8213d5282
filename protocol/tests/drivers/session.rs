//! Drives the receiver's side, codec and inbox, with a client that says whatever the bytes choose,
//! before a shell and a ledger that are honest; shared by the fuzz target `session` and by
//! `hostile_peers.rs`.
//!
//! Whatever the client does: nothing panics, nothing is acknowledged that the ledger does not have,
//! what is dispatched is what follows the cursor and once at a time, and no more is held than the
//! limits allow.

use std::collections::{BTreeMap, VecDeque};

use arbitrary::Unstructured;
use bytes::{Bytes, BytesMut};
use paquebot_protocol::codec::{decode_frame, encode_frame, split_frame};
use paquebot_protocol::frame::{OpenLane, SKIP_BYTES, Skip, SkipReason};
use paquebot_protocol::inbox::{Admission, Arrival, Inbox, Order};
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{
    Batch, Chain, Control, Frame, Lane, Number, Origin, Packet, Run, SpoolId, TargetId,
};

use super::choices::{below, lane, number};

const LANES_MAX: usize = 3;
const WINDOW_BYTES: u64 = 400;
const FRAME_BYTES_MAX: u32 = 500;
/// Enough for every state, and an end for bytes that choose nothing.
const STEPS_MAX: usize = 400;

/// A lane as the ledger knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    cursor: Number,
    chain: Option<Chain>,
    skipped: u64,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    cursor: Number,
    through: Number,
    chain: Chain,
    bytes: u64,
    skips: bool,
}

/// A run that waits for its dispatch.
#[derive(Debug, Clone, Copy)]
struct Held {
    first: Number,
    last: Number,
    bytes: u64,
}

#[derive(Debug)]
struct Server {
    inbox: Inbox,
    ledger: BTreeMap<Lane, Known>,
    lookups: Vec<(Lane, Number)>,
    attempts: BTreeMap<Lane, Attempt>,
    queues: BTreeMap<Lane, VecDeque<Held>>,
    /// What a client that keeps to the rules would say next.
    next: BTreeMap<Lane, Next>,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    /// Whether `lane_opened` has come for this generation.
    is_open: bool,
    generation: u32,
    first: Number,
    chain: Chain,
}

pub(crate) fn drive(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let mut server = Server {
        inbox: Inbox::new(LANES_MAX, WINDOW_BYTES, u64::from(FRAME_BYTES_MAX)),
        ledger: BTreeMap::new(),
        lookups: Vec::new(),
        attempts: BTreeMap::new(),
        queues: BTreeMap::new(),
        next: BTreeMap::new(),
        closed: false,
    };
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        server.step(&mut bytes);
        server.act();
        server.check();
    }
    server.close();
    while let Some(lane) = server.attempts.keys().next().copied() {
        server.end(lane, 0, 0);
        server.act();
        server.check();
    }
    assert_eq!(server.inbox.attempts().count(), 0, "an attempt is waited for that has ended");
}

impl Server {
    fn step(&mut self, bytes: &mut Unstructured<'_>) {
        match below(bytes, 32) {
            0..=5 => {
                let at = usize::try_from(below(bytes, 4)).unwrap_or_default();
                if at < self.lookups.len() {
                    let (lane, first) = self.lookups.remove(at);
                    self.look_up(lane, first);
                }
            }
            6..=11 => {
                let (lane, outcome, part) = (lane(bytes), below(bytes, 4), below(bytes, 6));
                if self.attempts.contains_key(&lane) {
                    self.end(lane, outcome, part);
                }
            }
            12..=15 => {
                let open = Control::OpenLane(vec![self.open_lane(bytes)]);
                self.hear(&Frame::Control(open));
            }
            16..=26 => {
                let lane = lane(bytes);
                if self.may_say(lane, bytes)
                    && let Some(frame) = self.run(lane, bytes)
                {
                    self.hear(&frame);
                }
            }
            27..=29 => {
                let lane = lane(bytes);
                if self.may_say(lane, bytes) {
                    let skip = Control::Skip(self.skip(lane, bytes));
                    self.hear(&Frame::Control(skip));
                }
            }
            30 => {
                let (lane, said) = (lane(bytes), below(bytes, 2) == 0);
                let generation = self.next(lane).generation + u32::from(said);
                self.refuse(lane, generation);
            }
            _ if below(bytes, 16) == 0 => {
                let count = usize::try_from(below(bytes, 64)).unwrap_or_default();
                let body = bytes.bytes(count.min(bytes.len())).unwrap_or_default();
                self.hear_body(&Bytes::copy_from_slice(body));
            }
            _ => {}
        }
    }

    fn next(&self, lane: Lane) -> Next {
        let nothing = Next { is_open: false, generation: 0, first: Number(1), chain: Chain(0) };
        self.next.get(&lane).copied().unwrap_or(nothing)
    }

    /// What goes on where the lane stands; now and then in one way not.
    fn said(&self, lane: Lane, bytes: &mut Unstructured<'_>) -> Next {
        let mut next = self.next(lane);
        match below(bytes, 32) {
            0 => next.generation = u32::try_from(below(bytes, 3)).unwrap_or_default(),
            1 if below(bytes, 4) == 0 => next.first = number(bytes),
            2..=5 => next.first = Number(next.first.0.saturating_sub(below(bytes, 3))),
            6 if below(bytes, 4) == 0 => next.chain = Chain(below(bytes, 3)),
            _ => {}
        }
        next
    }

    /// A client that sends into lanes that are not open is soon dismissed, so few do.
    fn may_say(&self, lane: Lane, bytes: &mut Unstructured<'_>) -> bool {
        self.next(lane).is_open || below(bytes, 64) == 0
    }

    fn run(&self, lane: Lane, bytes: &mut Unstructured<'_>) -> Option<Frame> {
        let Next { generation, first, chain, .. } = self.said(lane, bytes);
        let (count, length) = (below(bytes, 4) + 1, below(bytes, 80));
        let mut batch = Batch::default();
        for _ in 0..count {
            let data = vec![0; usize::try_from(length).unwrap_or_default()];
            batch.push(&Packet { data: &data, ..Packet::default() });
        }
        let origin = Origin { spool: SpoolId([1; 16]), nonce: 1 };
        let mut builder = RunBuilder::new(origin, first, chain, batch.bytes());
        builder.fill(&batch, 0, usize::MAX);
        Some(Frame::Run { lane, generation, run: builder.finish()? })
    }

    fn skip(&self, lane: Lane, bytes: &mut Unstructured<'_>) -> Skip {
        let Next { generation, first, chain, .. } = self.said(lane, bytes);
        let through = match below(bytes, 8) {
            0 => number(bytes),
            more => Number(first.0.saturating_add(more - 1)),
        };
        let chain = (below(bytes, 4) > 0).then_some(chain);
        let (chain_after, reason) = (Chain(through.0), SkipReason::Expired);
        Skip { lane, generation, first, through, chain, chain_after, reason }
    }

    fn open_lane(&self, bytes: &mut Unstructured<'_>) -> OpenLane {
        let lane = lane(bytes);
        let generation = self.next(lane).generation + 1;
        let name = if below(bytes, 64) == 0 { "other" } else { "usual" };
        let target: TargetId = name.parse().expect("a target id");
        let first = match below(bytes, 8) {
            0 => number(bytes),
            _ => self.cursor(lane).next(),
        };
        OpenLane { lane, generation, target, first, next: number(bytes) }
    }

    /// A frame arrives, by way of its bytes.
    fn hear(&mut self, frame: &Frame) {
        let mut written = Vec::new();
        encode_frame(frame, &mut written);
        let mut buffer = BytesMut::from(&written[..]);
        match split_frame(&mut buffer, FRAME_BYTES_MAX) {
            Ok(Some(body)) => self.hear_body(&body),
            Ok(None) => panic!("a whole frame was written, and is not whole"),
            Err(_) => self.close(),
        }
    }

    fn hear_body(&mut self, body: &Bytes) {
        if self.closed {
            return;
        }
        let well = match decode_frame(body) {
            Ok(Frame::Run { lane, generation, run }) => self.hear_run(lane, generation, run),
            Ok(Frame::Control(Control::OpenLane(lanes))) => lanes.iter().all(|open| {
                self.queues.remove(&open.lane);
                let (generation, next) = (open.generation, self.next(open.lane));
                let next = Next { is_open: false, generation, ..next };
                self.next.insert(open.lane, next);
                self.inbox.open_lane(open).is_ok()
            }),
            Ok(Frame::Control(Control::Skip(skip))) => self.hear_skip(&skip),
            Ok(Frame::Control(_)) => true,
            Err(_) => false,
        };
        if !well {
            self.close();
        }
    }

    fn hear_run(&mut self, lane: Lane, generation: u32, run: Run) -> bool {
        let Ok(chain_after) = run.verify() else {
            self.refuse(lane, generation);
            return true;
        };
        let (first, through, bytes) = (run.first(), run.last(), run.encoded().len() as u64);
        let arrival = Arrival { first, through, chain_after, bytes, skipped: false };
        let taken = self.inbox.arrived(lane, generation, arrival, |number| run.chain_at(number));
        let run = match taken {
            Ok(Admission::Taken) => Some(run),
            Ok(Admission::TakenAfter(number)) => run.part(number.next(), through),
            Ok(Admission::Ignored) => return true,
            Err(_) => return false,
        };
        let run = run.expect("something of what was taken");
        self.go_on(lane, through, chain_after);
        let held = Held { first: run.first(), last: run.last(), bytes };
        self.queues.entry(lane).or_default().push_back(held);
        true
    }

    fn hear_skip(&mut self, skip: &Skip) -> bool {
        let Skip { lane, generation, first, through, chain, chain_after, .. } = *skip;
        if first > through || first == Number::NONE {
            return false;
        }
        let bytes = SKIP_BYTES;
        let arrival = Arrival { first, through, chain_after, bytes, skipped: true };
        let chain_at = |number| chain.filter(|_| number == first.before());
        let taken = self.inbox.arrived(lane, generation, arrival, chain_at);
        if matches!(taken, Ok(Admission::Taken | Admission::TakenAfter(_))) {
            self.go_on(lane, through, chain_after);
        }
        taken.is_ok()
    }

    fn go_on(&mut self, lane: Lane, through: Number, chain: Chain) {
        let next = self.next(lane);
        self.next.insert(lane, Next { first: through.next(), chain, ..next });
    }

    fn refuse(&mut self, lane: Lane, generation: u32) {
        if self.inbox.refuse(lane, generation) {
            self.queues.remove(&lane);
        }
    }

    /// The ledger answers; what the client no longer holds had its outcome elsewhere.
    fn look_up(&mut self, lane: Lane, first: Number) {
        let known = self.ledger.entry(lane).or_default();
        if first > known.cursor.next() {
            *known = Known { cursor: first.before(), chain: None, ..*known };
        }
        let Known { cursor, chain, skipped } = *known;
        let next = self.next(lane);
        let chain_now = chain.unwrap_or(next.chain);
        self.next.insert(lane, Next { first: cursor.next(), chain: chain_now, ..next });
        self.inbox.acquired(lane, cursor, chain, skipped);
    }

    /// An attempt ends: settled, settled in part and then failed, or failed.
    fn end(&mut self, lane: Lane, outcome: u64, part: u64) {
        let Some(attempt) = self.attempts.remove(&lane) else { return };
        let known = self.ledger.entry(lane).or_default();
        let span = attempt.through.0 - attempt.cursor.0;
        let through = match outcome {
            0..=1 => attempt.through,
            2 if !attempt.skips => Number(attempt.cursor.0 + span.min(part)),
            _ => attempt.cursor,
        };
        let moved = through > attempt.cursor && known.cursor == attempt.cursor;
        if moved {
            known.cursor = through;
            known.chain = (through == attempt.through).then_some(attempt.chain);
            known.skipped += if attempt.skips { span } else { 0 };
            self.inbox.settled(lane, through);
        }
        if !moved || through < attempt.through {
            self.act();
            self.queues.remove(&lane);
            let _ = self.inbox.failed(lane);
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.queues.clear();
        self.inbox.close();
    }

    /// Carries out what the inbox orders.
    fn act(&mut self) {
        while let Some(order) = self.inbox.poll() {
            match order {
                Order::Acquire { lane, first } => self.lookups.push((lane, first)),
                Order::Opened { lane, cursor, .. } => {
                    assert!(cursor <= self.cursor(lane), "{lane} opened beyond its cursor");
                    let next = self.next(lane);
                    self.next.insert(lane, Next { is_open: true, ..next });
                }
                Order::Dispatch { lane, cursor, through, chain } => {
                    let bytes = self.take(lane, cursor, through);
                    self.begin(lane, Attempt { cursor, through, chain, bytes, skips: false });
                }
                Order::Pass { lane, cursor, through, chain } => {
                    let bytes = SKIP_BYTES;
                    self.begin(lane, Attempt { cursor, through, chain, bytes, skips: true });
                }
                Order::Ack(ack) => {
                    assert!(!self.closed, "an ack for nobody");
                    assert!(ack.through <= self.cursor(ack.lane), "{ack:?} is not in the ledger");
                }
            }
        }
    }

    /// The runs of a dispatch, which must be what follows the cursor.
    fn take(&mut self, lane: Lane, cursor: Number, through: Number) -> u64 {
        let queue = self.queues.entry(lane).or_default();
        let (mut reached, mut bytes) = (cursor, 0);
        while let Some(held) = queue.pop_front_if(|held| held.last <= through) {
            assert_eq!(held.first, reached.next(), "a gap in a dispatch of {lane}");
            reached = held.last;
            bytes += held.bytes;
        }
        assert_eq!(reached, through, "a dispatch of {lane} without all of its packets");
        bytes
    }

    fn begin(&mut self, lane: Lane, attempt: Attempt) {
        assert!(!self.closed, "an attempt for nobody");
        assert!(attempt.cursor < attempt.through, "{attempt:?}");
        let other = self.attempts.insert(lane, attempt);
        assert!(other.is_none(), "two attempts at once in {lane}");
    }

    fn cursor(&self, lane: Lane) -> Number {
        self.ledger.get(&lane).map_or(Number::NONE, |known| known.cursor)
    }

    /// What must hold between any two steps.
    fn check(&self) {
        assert!(self.inbox.lanes().count() <= LANES_MAX);
        for lane in self.inbox.lanes() {
            let attempt = self.attempts.get(&lane).map_or(0, |attempt| attempt.bytes);
            let queue = self.queues.get(&lane).into_iter().flatten();
            let held: u64 = attempt + queue.map(|held| held.bytes).sum::<u64>();
            let limit = WINDOW_BYTES + u64::from(FRAME_BYTES_MAX);
            assert!(held <= limit, "{held} bytes are held of {lane}");
        }
    }
}
