//! Handlers: what processes packets at the server, one actor per configured handler.
//!
//! A handler gets an [`Handle`], does its work, and sends a `Record` to the ledger (R4: effect, then
//! record, then ack) or fails the attempt, which pauses the lane and leaves the packets with their
//! client.

mod discard;
mod file;
mod file_writer;
mod ndjson;
mod unknown;

use actix::Message;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use paquebot_store::Reply;

pub use discard::Discard;
pub use file::{FileHandler, FileOptions, FinishFile};
pub use file_writer::{FileFormat, OpenFileError};
pub use unknown::DeadLetterUnknown;

use crate::attempt::Attempt;
use crate::ledger::Unrecorded;

/// Handle these packets.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Handle(pub Attempt);

/// What to do when an outcome is recorded, and when it is not: count it, or fail the attempts.
fn when_recorded(counted: Counter, packets: u64) -> Option<Reply<Result<(), Unrecorded>>> {
    Some(Box::new(move |outcome| match outcome {
        Ok(()) => counted.increment(packets),
        Err(unrecorded) => unrecorded.fail(),
    }))
}

/// What every handler counts.
#[derive(Debug, Clone)]
pub struct HandlerMeters {
    handled: Counter,
    retried: Counter,
    dead_lettered: Counter,
    ok: Gauge,
    failing: Gauge,
    seconds: Histogram,
}

impl HandlerMeters {
    /// The meters of the handler `name`, which has handled and dead-lettered so many already.
    #[must_use]
    pub fn new(name: &str, handled: u64, dead_lettered: u64) -> Self {
        let packets = "paquebot_server_packets_total";
        let outcome = |outcome: &'static str| {
            let handler = name.to_owned();
            counter!(packets, "handler" => handler, "outcome" => outcome)
        };
        let state = |state: &'static str| {
            let handler = name.to_owned();
            gauge!("paquebot_handler_state", "handler" => handler, "state" => state)
        };
        let meters = Self {
            handled: outcome("handled"),
            retried: outcome("retried"),
            dead_lettered: outcome("dead_lettered"),
            ok: state("ok"),
            failing: state("failing"),
            seconds: histogram!("paquebot_handle_seconds", "handler" => name.to_owned()),
        };
        meters.handled.absolute(handled);
        meters.dead_lettered.absolute(dead_lettered);
        state("paused").set(0.0);
        meters.is_ok();
        meters
    }

    fn is_ok(&self) {
        self.ok.set(1.0);
        self.failing.set(0.0);
    }

    fn is_failing(&self, packets: u64) {
        self.ok.set(0.0);
        self.failing.set(1.0);
        self.retried.increment(packets);
    }
}
