//! Handlers: what processes packets at the server, one actor per configured handler.
//!
//! A handler gets an [`Handle`], does its work, and sends a `Record` to the ledger (R4: effect, then
//! record, then ack) or fails the attempt, which pauses the lane and leaves the packets with their
//! client.

mod asking;
mod board;
mod discard;
mod file;
mod log;
mod ndjson;
mod unknown;

use actix::Message;
use metrics::{Counter, Histogram, counter, gauge, histogram};
use paquebot_store::{Count, Counts, HandlerTotals, Reply};

pub use asking::{AskingHandler, AskingOptions, AwaitEnd, CommandLine, FinishAsking, Whom};
pub use board::{HandlerBoard, HandlerState};
pub use discard::Discard;
pub use file::{
    FileError, FileFormat, FileHandler, FileOptions, FinishFile, OutputDisk, OutputFile,
    PathTemplate, RealDisk, Rotation,
};
pub use log::Log;
pub use ndjson::Line;
pub use unknown::DeadLetterUnknown;

use board::StateGauges;

use crate::attempt::Attempt;
use crate::ledger::{Recorded, Unrecorded};
use crate::meters::{Delivery, HANDLER};

/// Handle these packets.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Handle(pub Attempt);

/// What to do when an outcome is recorded, and when it is not: tell and count it, or fail the
/// attempts.
fn when_recorded(
    counted: Counter,
    packets: u64,
    delivery: Delivery,
) -> Option<Reply<Result<Recorded, Unrecorded>>> {
    Some(Box::new(move |outcome: Result<Recorded, Unrecorded>| match outcome {
        Ok(recorded) => {
            // Their clients wait for the first, and nobody for the second.
            recorded.settle();
            recorded.count_in(&delivery);
            counted.increment(packets);
        }
        Err(unrecorded) => unrecorded.fail(),
    }))
}

/// What every handler counts.
#[derive(Debug, Clone)]
pub struct HandlerMeters {
    handled: Counter,
    retried: Count,
    rejected: Count,
    dead_lettered: Counter,
    seconds: Histogram,
    board: HandlerBoard,
}

impl HandlerMeters {
    /// The meters of the handler `name`, which go on from `totals`, and from what the ledger has kept of
    /// `counts`; how it is also stands on the `board`.
    #[must_use]
    pub fn new(name: &str, totals: HandlerTotals, counts: &Counts, board: HandlerBoard) -> Self {
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
            retried: counts.of(&format!("{HANDLER}retried/{name}")),
            rejected: counts.of(&format!("{HANDLER}rejected/{name}")),
            dead_lettered: outcome("dead_lettered"),
            seconds: histogram!("paquebot_handle_seconds", "handler" => name.to_owned()),
            board,
        };
        meters.handled.absolute(totals.handled);
        meters.dead_lettered.absolute(totals.dead_lettered);
        let (ok, failing, paused) = (state("ok"), state("failing"), state("paused"));
        meters.board.show_on(name, StateGauges { ok, failing, paused });
        meters
    }

    /// How long deliveries to it take.
    fn delivery(&self) -> Delivery {
        self.board.delivery().clone()
    }

    /// It works; says whether that is news.
    fn is_ok(&self) -> bool {
        self.board.is_ok()
    }

    /// It failed with so many packets; says whether that is news.
    fn is_failing(&self, packets: u64, why: &str) -> bool {
        self.retried.add(packets);
        self.board.is_failing(why)
    }
}
