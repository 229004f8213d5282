//! Packets that the server can never take: they become dead letters in the spool, and their lane goes
//! on; what may change by the will of the server's owner waits.

use std::ops::RangeInclusive;

use actix::{AsyncContext, Context, Handler};
use paquebot_protocol::frame::{RefuseRun, RefuseRunCode};
use paquebot_protocol::outbox::Refusal;
use paquebot_protocol::{Lane, Millis, Number, Run};

use super::Connection;
use crate::persistence::{Doom, Doomed};

/// How long a lane waits until what is refused is tried again: for a change of rights, or for room
/// among the dead letters.
const REFUSED_PAUSE: Millis = Millis(5 * 60 * 1000);

/// How long it waits when a run arrived unreadable.
const UNREADABLE_PAUSE: Millis = Millis(1_000);

impl Connection {
    /// The server refuses packets that were sent.
    pub(super) fn hear_refusal(
        &mut self,
        refused: &RefuseRun,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        let RefuseRun { lane, generation, first, through, code } = *refused;
        let target = self.target_of(lane).to_owned();
        match self.outbox.refused(refused).map_err(|violation| violation.to_string())? {
            Refusal::Over => {}
            Refusal::Held => {
                let wait = match code {
                    RefuseRunCode::Undecodable => UNREADABLE_PAUSE,
                    _ => REFUSED_PAUSE,
                };
                tracing::error!(target, %first, %through, ?code, retry_after_ms = wait.0,
                    "the server refuses these packets; their lane waits, nothing is lost");
                self.note_pause(lane, format!("refused: {}", in_words(code)), wait);
                self.pause(lane, generation, wait, ctx);
            }
            Refusal::Final(numbers) => {
                let reason = format!("the server can never take it: {}", in_words(code));
                self.doom(lane, generation, numbers, reason, ctx);
            }
        }
        Ok(())
    }

    /// A packet is longer than the frames that this server takes: it would end the connection.
    pub(super) fn too_long_to_send(
        &mut self,
        lane: Lane,
        generation: u32,
        run: &Run,
        takes_bytes: usize,
        ctx: &mut Context<Self>,
    ) {
        let bytes = run.encoded().len();
        let reason = format!(
            "the server can never take it: {bytes} bytes with its headers, and it takes {takes_bytes}"
        );
        self.doom(lane, generation, run.first()..=run.last(), reason, ctx);
    }

    fn doom(
        &mut self,
        lane: Lane,
        generation: u32,
        numbers: RangeInclusive<Number>,
        reason: String,
        ctx: &mut Context<Self>,
    ) {
        tracing::error!(target = self.target_of(lane), first = %numbers.start(),
            through = %numbers.end(), reason,
            "packets become dead letters of this client: see paquebot dead-letters");
        self.note_pause(lane, reason.clone(), REFUSED_PAUSE);
        self.pause(lane, generation, REFUSED_PAUSE, ctx);
        let reply = ctx.address().recipient();
        self.ports.doom.do_send(Doom { lane, numbers, reason, reply });
    }
}

fn in_words(code: RefuseRunCode) -> &'static str {
    match code {
        RefuseRunCode::TooLarge => "longer than it takes (server.max_packet_bytes)",
        RefuseRunCode::Undecodable => "it arrives unreadable",
        RefuseRunCode::Forbidden => "this client may not send to this target",
        RefuseRunCode::Unknown => "for a reason that this version does not know",
    }
}

impl Handler<Doomed> for Connection {
    type Result = ();

    fn handle(&mut self, doomed: Doomed, ctx: &mut Self::Context) {
        let Doomed { lane, outcome } = doomed;
        match outcome {
            Ok(_) => {
                self.forget_pause(lane);
                self.outbox.resume(lane);
            }
            Err(error) => {
                tracing::error!(target = self.target_of(lane), %error,
                    "packets that can never be sent could not become dead letters: their lane \
                     waits, and it is tried again; nothing is lost");
                let reason = format!("it can never be sent, and there is no dead letter: {error}");
                self.note_pause(lane, reason, REFUSED_PAUSE);
            }
        }
        self.act(ctx);
    }
}
