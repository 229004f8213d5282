//! What arrives at the session: the hello, lanes that are opened, runs and skips into the inbox.

use actix::{AsyncContext, Context, Handler, Message};
use paquebot_protocol::frame::{
    Hello, Pause, RefuseRun, RefuseRunCode, RefusedCode, SKIP_BYTES, Skip, VERSION,
};
use paquebot_protocol::inbox::{Admission, Arrival};
use paquebot_protocol::status::Status;
use paquebot_protocol::{Control, Frame, Lane, Number, Packet, Run};
use paquebot_store::Fence;

use super::Session;
use crate::ledger::{Admit, Retire};
use crate::link::random;
use crate::permit::Permit;
use crate::share::ShareIsFull;

/// How long a lane waits whose handler has no room, at least, and up to twice as long.
const PUT_OFF_MS: u64 = 500;

/// Why what arrived ends the connection.
pub(super) enum Parting {
    /// The client said so.
    Goodbye(String),
    /// The client must not say that.
    Violation(String),
}

impl From<String> for Parting {
    fn from(why: String) -> Self {
        Self::Violation(why)
    }
}

impl Session {
    /// Takes one frame in; an error ends the connection.
    fn hear(
        &mut self,
        frame: Frame,
        permit: Option<Permit>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Parting> {
        let control = match (frame, self.welcomed) {
            (Frame::Run { lane, generation, run }, true) => {
                return Ok(self.hear_run(lane, generation, run, permit)?);
            }
            (Frame::Control(Control::Hello(hello)), false) if self.client.is_none() => {
                return Ok(self.hear_hello(hello, ctx)?);
            }
            (Frame::Control(Control::Ping(number)), _) => {
                self.answers.push(Control::Pong(number));
                return Ok(());
            }
            (Frame::Control(control), true) => control,
            _ => return Err("expected a hello, found another frame".to_owned().into()),
        };
        match control {
            Control::OpenLane(lanes) => {
                for lane in lanes {
                    self.queues.remove(&lane.lane);
                    self.inbox.open_lane(&lane).map_err(|violation| violation.to_string())?;
                }
            }
            Control::Skip(skip) => self.hear_skip(&skip)?,
            Control::Pong(_) => {}
            Control::Status(status) => self.hear_status(status),
            Control::Bye(why) => {
                return Err(Parting::Goodbye(format!("the client said goodbye: {why}")));
            }
            Control::Retire(lane) => self.hear_retire(lane)?,
            other => {
                return Err(format!("the client sent {other:?}, which only servers do").into());
            }
        }
        Ok(())
    }

    fn hear_hello(&mut self, hello: Hello, ctx: &mut Context<Self>) -> Result<(), String> {
        if hello.version == 0 || hello.version > VERSION + 1 {
            let message = format!("expected protocol version {VERSION}, found {}", hello.version);
            self.refuse(RefusedCode::Version, message, None);
            return Err("the protocol versions are too far apart".into());
        }
        self.ports.admit.do_send(Admit {
            session: self.id,
            fence: Fence { spool: hello.spool, opened: hello.opened, nonce: hello.nonce },
            replaces: hello.replaces,
            client: hello.client.clone(),
            superseded: ctx.address().recipient(),
            reply: ctx.address().recipient(),
        });
        self.client = Some(hello);
        Ok(())
    }

    fn hear_run(
        &mut self,
        lane: Lane,
        generation: u32,
        run: Run,
        permit: Option<Permit>,
    ) -> Result<(), String> {
        let chain_after = match run.verify() {
            Ok(chain) => chain,
            Err(error) => {
                tracing::error!(client = self.client_name(), %lane, first = %run.first(), %error,
                    "a run arrived damaged: it is refused, and its lane waits at the client");
                let (first, through) = (run.first(), run.last());
                let code = RefuseRunCode::Undecodable;
                let refuse = RefuseRun { lane, generation, first, through, code };
                self.answers.push(Control::RefuseRun(refuse));
                if self.inbox.refuse(lane, generation) {
                    self.queues.remove(&lane);
                }
                return Ok(());
            }
        };
        if let Some((first, through)) = too_long(&run, self.options.packet_bytes_max)
            && self.inbox.refuse(lane, generation)
        {
            self.queues.remove(&lane);
            self.refuse_too_long(lane, generation, first, through);
            return Ok(());
        }
        let target = self.inbox.target(lane);
        let share = match self.options.shares.take(target, run.encoded().len()) {
            Ok(share) => share,
            Err(ShareIsFull) if self.put_off(lane, generation) => return Ok(()),
            // Nothing is taken in this lane anyway; the inbox says why.
            Err(ShareIsFull) => None,
        };
        let permit = permit.map(|permit| permit.and(share));
        let arrival = Arrival {
            first: run.first(),
            through: run.last(),
            chain_after,
            bytes: run.encoded().len() as u64,
            skipped: false,
        };
        let chain_at = |number| run.chain_at(number);
        let admission = self.inbox.arrived(lane, generation, arrival, chain_at);
        let run = match admission.map_err(|violation| violation.to_string())? {
            Admission::Taken => Some(run),
            Admission::TakenAfter(number) => {
                self.seat.duplicates(number.since(run.first().before()));
                run.part(number.next(), run.last())
            }
            Admission::Ignored => {
                self.seat.duplicates(u64::from(run.head().count));
                None
            }
        };
        if let Some(run) = run {
            self.queues.entry(lane).or_default().push_back((run, permit));
        }
        Ok(())
    }

    /// Packets are longer than this server takes: their client makes dead letters of them, and comes
    /// again with what goes before and after them.
    fn refuse_too_long(&mut self, lane: Lane, generation: u32, first: Number, through: Number) {
        self.seat.refused("too-large");
        if self.too_long_said.is_due() {
            tracing::warn!(client = self.client_name(), target = ?self.inbox.target(lane), %first,
                %through, takes_bytes = self.options.packet_bytes_max,
                "packets are longer than server.max_packet_bytes: they become dead letters at their \
                 client");
        }
        let code = RefuseRunCode::TooLarge;
        let refuse = RefuseRun { lane, generation, first, through, code };
        self.answers.push(Control::RefuseRun(refuse));
    }

    /// The share of the lane's handler is full: the lane waits at its client. An attempt that runs
    /// there goes on, and counts.
    fn put_off(&mut self, lane: Lane, generation: u32) -> bool {
        let put_off = self.inbox.refuse(lane, generation);
        if put_off {
            self.queues.remove(&lane);
            let retry_after_ms = PUT_OFF_MS + random() % PUT_OFF_MS;
            let reason = "its handler has no room for more".to_owned();
            let pause = Pause { lane, generation, retry_after_ms, reason };
            self.note_pause(&pause);
            self.answers.push(Control::Pause(pause));
        }
        put_off
    }

    /// The client will never use the lane again (R6).
    fn hear_retire(&mut self, lane: Lane) -> Result<(), String> {
        self.inbox.retire(lane).map_err(|violation| violation.to_string())?;
        self.queues.remove(&lane);
        self.dead.remove(&lane);
        self.tried.remove(&lane);
        self.pauses.remove(&lane);
        if let Some(hello) = &self.client {
            let Hello { spool, opened, nonce, .. } = *hello;
            let fence = Fence { spool, opened, nonce };
            self.ports.retire.do_send(Retire { session: self.id, fence, lane });
        }
        Ok(())
    }

    /// The client says how it is.
    fn hear_status(&self, status: Status) {
        if let Some(hello) = &self.client {
            let target = |lane| self.inbox.target(lane).map(ToString::to_string);
            self.board.fleet().told(self.id, hello, status, target);
        }
    }

    fn hear_skip(&mut self, skip: &Skip) -> Result<(), String> {
        let Skip { lane, first, through, .. } = *skip;
        if first > through || first == Number::NONE {
            return Err(format!(
                "lane {lane}: expected a skip from 1 on, found {first} to {through}"
            ));
        }
        let (before, after) = (skip.chain, skip.chain_after);
        let bytes = SKIP_BYTES;
        let arrival = Arrival { first, through, chain_after: after, bytes, skipped: true };
        let chain_at = |number| (number == first.before()).then_some(before).flatten();
        let taken = self.inbox.arrived(lane, skip.generation, arrival, chain_at);
        taken.map(|_| ()).map_err(|violation| violation.to_string())
    }
}

/// The first packets of a run, one after another, whose data are longer than `bytes_max`.
fn too_long(run: &Run, bytes_max: usize) -> Option<(Number, Number)> {
    if run.encoded().len() <= bytes_max {
        return None;
    }
    // What cannot be read is its handler's affair.
    let is_long = |record: &[u8]| {
        record.len() > bytes_max
            && Packet::decode(record).is_ok_and(|packet| packet.data.len() > bytes_max)
    };
    let mut long = run.records().filter(|(_, record)| is_long(record)).map(|(number, _)| number);
    let first = long.next()?;
    let mut through = first;
    for number in long {
        if number != through.next() {
            break;
        }
        through = number;
    }
    Some((first, through))
}

/// Frames came from the client, each run with its place in memory.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Heard(pub(super) Vec<(Frame, Option<Permit>)>);

impl Handler<Heard> for Session {
    type Result = ();

    fn handle(&mut self, heard: Heard, ctx: &mut Self::Context) {
        for (frame, permit) in heard.0 {
            if self.closing {
                return;
            }
            match self.hear(frame, permit, ctx) {
                Ok(()) => {}
                Err(Parting::Goodbye(why)) => return self.leave(&why, ctx),
                Err(Parting::Violation(why)) => {
                    return self.throw_out("violation", &why, ctx);
                }
            }
        }
        self.act(ctx);
    }
}
