//! The source `library`: packets from within the process, without HTTP between; what `bench` loads
//! the program with.
//!
//! Keeps a fixed number of packets under way: as many as are handled are made anew. It lives beside the
//! connection, for nothing it does waits.

use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use hdrhistogram::Histogram;
use paquebot_protocol::{Batch, Meta, Packet, TargetId};
use paquebot_store::{AppendError, Stored};
use tokio::sync::oneshot;

use super::outlet::Outlet;
use crate::clock;
use crate::receipts::Outcome;

/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// The load is made in so many pieces, so that all stages of the life have something to do.
const PIECES: u64 = 16;

/// What to send.
#[derive(Debug, Clone)]
pub struct LibraryLoad {
    /// How many packets.
    pub packets: u64,
    /// For how long, however many packets are left; for good without it.
    pub time: Option<Duration>,
    /// Whether a packet's place is free as soon as it is stored, for nobody handles it.
    pub stored_is_enough: bool,
    /// How long each is, in bytes.
    pub size: usize,
    /// How many are under way at once.
    pub in_flight: u64,
    /// Where they go, in turn.
    pub targets: Vec<TargetId>,
}

/// What came of it.
#[derive(Debug)]
pub struct LibraryReport {
    /// How many packets were made.
    pub packets: u64,
    /// When the first packet was made.
    pub began: Instant,
    /// When a tenth of them was stored.
    pub stored_a_tenth: Instant,
    /// When nine tenths of them were stored.
    pub stored_nine_tenths: Instant,
    /// When the last one was stored.
    pub stored: Instant,
    /// When the last one was handled and its ack had arrived.
    pub handled: Instant,
    /// From made to stored, in microseconds.
    pub stored_us: Histogram<u64>,
    /// From made to handled, in microseconds.
    pub handled_us: Histogram<u64>,
    /// Why packets were refused, if any were.
    pub refused: Option<AppendError>,
}

/// The actor.
#[derive(Debug)]
pub struct LibrarySource {
    load: LibraryLoad,
    outlet: Outlet,
    data: Vec<u8>,
    made: u64,
    credit: u64,
    at: usize,
    producing: bool,
    stored: u64,
    handled: u64,
    report: LibraryReport,
    done: Option<oneshot::Sender<LibraryReport>>,
}

impl LibrarySource {
    /// A source that sends `load` and then reports to `done`.
    #[must_use]
    pub fn new(load: LibraryLoad, outlet: Outlet, done: oneshot::Sender<LibraryReport>) -> Self {
        let now = clock::instant();
        let data = (0..load.size).map(|at| b'a' + (at % 26) as u8).collect();
        Self {
            credit: load.in_flight.min(load.packets),
            load,
            outlet,
            data,
            made: 0,
            at: 0,
            producing: false,
            stored: 0,
            handled: 0,
            report: LibraryReport {
                packets: 0,
                began: now,
                stored_a_tenth: now,
                stored_nine_tenths: now,
                stored: now,
                handled: now,
                stored_us: latencies(),
                handled_us: latencies(),
                refused: None,
            },
            done: Some(done),
        }
    }

    /// Makes as many packets as are owed; facts that arrive together are answered together.
    fn produce(&mut self, ctx: &mut Context<Self>) {
        self.producing = false;
        let turns = self.load.targets.len().max(1) as u64;
        if self.load.time.is_some_and(|time| self.report.began.elapsed() >= time) {
            (self.load.packets, self.credit) = (self.made, 0);
            return self.finish_if_done();
        }
        while self.credit > 0 {
            let piece = (self.load.in_flight / PIECES / turns).max(1).min(self.credit);
            let Some(target) = self.load.targets.get(self.at).cloned() else { return };
            self.at = (self.at + 1) % self.load.targets.len();
            self.credit -= piece;
            self.made += piece;
            let packets = usize::try_from(piece).unwrap_or(usize::MAX);
            let mut batch = Batch::with_capacity(packets, packets * (self.load.size + 32));
            let packet =
                Packet { created_ms: clock::wall_ms(), data: &self.data, meta: Meta::default() };
            for _ in 0..piece {
                batch.push(&packet);
            }
            self.hand_over(target, batch, piece, ctx);
        }
    }

    fn hand_over(&self, target: TargetId, batch: Batch, packets: u64, ctx: &mut Context<Self>) {
        let made = clock::instant();
        let (is_stored, is_handled) = (ctx.address(), ctx.address());
        let stored = move |outcome| is_stored.do_send(PieceStored { made, packets, outcome });
        let handled = move |_: Outcome| is_handled.do_send(PieceHandled { made, packets });
        let wants_handled = !self.load.stored_is_enough;
        let handled = wants_handled.then(|| Box::new(handled) as _);
        self.outlet.store_now(target, batch, Box::new(stored), handled);
    }

    fn owe(&mut self, packets: u64, ctx: &mut Context<Self>) {
        self.credit += packets.min(self.load.packets - self.made - self.credit);
        if !self.producing && self.credit > 0 {
            self.producing = true;
            ctx.notify(Produce);
        }
    }

    fn finish_if_done(&mut self) {
        let over = if self.load.stored_is_enough { self.stored } else { self.handled };
        if over == self.load.packets {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.report.packets = self.made;
        if let Some(done) = self.done.take() {
            let fresh = LibraryReport {
                stored_us: latencies(),
                handled_us: latencies(),
                refused: None,
                ..self.report
            };
            // Whoever waited for the report may be gone; there is nothing else to do with it.
            drop(done.send(std::mem::replace(&mut self.report, fresh)));
        }
    }
}

impl Actor for LibrarySource {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.report.began = clock::instant();
        self.produce(ctx);
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Produce;

impl Handler<Produce> for LibrarySource {
    type Result = ();

    fn handle(&mut self, _: Produce, ctx: &mut Self::Context) {
        self.produce(ctx);
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct PieceStored {
    made: Instant,
    packets: u64,
    outcome: Result<Stored, AppendError>,
}

impl Handler<PieceStored> for LibrarySource {
    type Result = ();

    fn handle(&mut self, piece: PieceStored, ctx: &mut Self::Context) {
        let PieceStored { made, packets, outcome } = piece;
        let now = clock::instant();
        self.report.stored = now;
        let (before, tenth) = (self.stored, self.load.packets / 10);
        self.stored += packets;
        if before < tenth && self.stored >= tenth {
            self.report.stored_a_tenth = now;
        }
        if before < 9 * tenth && self.stored >= 9 * tenth {
            self.report.stored_nine_tenths = now;
        }
        record(&mut self.report.stored_us, made, packets);
        if let Err(error) = outcome {
            self.report.refused = Some(error);
            return self.finish();
        }
        if self.load.stored_is_enough {
            self.owe(packets, ctx);
            self.finish_if_done();
        }
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct PieceHandled {
    made: Instant,
    packets: u64,
}

impl Handler<PieceHandled> for LibrarySource {
    type Result = ();

    fn handle(&mut self, piece: PieceHandled, ctx: &mut Self::Context) {
        self.report.handled = clock::instant();
        self.handled += piece.packets;
        record(&mut self.report.handled_us, piece.made, piece.packets);
        self.owe(piece.packets, ctx);
        self.finish_if_done();
    }
}

fn latencies() -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are allowed"));
    histogram.auto(true);
    histogram
}

fn record(latencies: &mut Histogram<u64>, made: Instant, packets: u64) {
    let us = u64::try_from(made.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
    // The histogram grows by itself, so every value fits.
    let recorded = latencies.record_n(us.clamp(1, LATENCY_US_MAX), packets);
    debug_assert!(recorded.is_ok());
}
