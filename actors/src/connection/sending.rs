//! What goes out: runs and skips in their lanes' order, and what has to be read first.

use std::time::Duration;

use actix::{AsyncContext, Context};
use paquebot_protocol::frame::{SKIP_BYTES, Skip};
use paquebot_protocol::{Control, Lane, Number, Run};
use paquebot_store::{Stretch, Tombstone};

use super::Connection;
use crate::persistence::{Expire, Read};
use crate::shelf::READ_BYTES;

/// How long a lane waits for the spool to declare packets that are over.
const EXPIRE_PATIENCE: Duration = Duration::from_secs(2);

impl Connection {
    pub(super) fn send(
        &mut self,
        lane: Lane,
        generation: u32,
        from: Number,
        packets_max: u64,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        let Some(facts) = self.lanes.get_mut(&lane) else { return Ok(()) };
        let Some(socket) = &self.socket else { return Ok(()) };
        let run = match self.shelf.take(lane, from, packets_max) {
            Some(Stretch::Tombstone(tombstone)) => return self.skip(lane, generation, &tombstone),
            Some(Stretch::Run { expires: Some(expires), .. })
                if expires <= (self.options.now.0)() =>
            {
                // The spool declares what is over; the lane goes on when it has.
                self.outbox.loading(lane);
                self.shelf.clear_lane(lane);
                self.ports.expire.do_send(Expire { lane, from });
                ctx.run_later(EXPIRE_PATIENCE, move |connection, ctx| connection.go_on(lane, ctx));
                return Ok(());
            }
            Some(Stretch::Run { run, .. }) => cut(run, socket.run_bytes_max),
            None => None,
        };
        let takes_bytes = socket.run_bytes_max;
        if let Some(run) = run.as_ref().filter(|run| run.encoded().len() > takes_bytes) {
            self.too_long_to_send(lane, generation, run, takes_bytes, ctx);
            return Ok(());
        }
        let sent_through = run.as_ref().map_or(from.before(), Run::last);
        if let Some(run) = run {
            socket.writer.run(lane, generation, &run);
            let packets = u64::from(run.head().count);
            let resent = facts.sent_through.next().since(run.first()).min(packets);
            self.meters.sent(&facts.target, packets - resent, resent);
            facts.sent_through = facts.sent_through.max(run.last());
            self.link.sent(run.encoded().len());
            self.outbox.sent(lane, run.last(), run.encoded().len() as u64);
        } else {
            // Whatever is at hand does not go on from what was sent: it is read anew.
            self.shelf.clear_lane(lane);
            self.outbox.loading(lane);
        }
        self.read_ahead(lane, sent_through, ctx);
        Ok(())
    }

    /// Says that packets will never come, in their place.
    fn skip(&mut self, lane: Lane, generation: u32, tombstone: &Tombstone) -> Result<(), String> {
        let Tombstone { first, last: through, chain, chain_after, reason } = *tombstone;
        self.say(&[Control::Skip(Skip {
            lane,
            generation,
            first,
            through,
            chain,
            chain_after,
            reason,
        })])?;
        self.outbox.sent(lane, through, SKIP_BYTES);
        Ok(())
    }

    /// What the lane waited for on disk may be there now.
    pub(super) fn go_on(&mut self, lane: Lane, ctx: &mut Context<Self>) {
        self.outbox.loaded(lane);
        self.act(ctx);
    }

    /// Reads on for a lane that has little at hand and more on disk.
    pub(super) fn read_ahead(&mut self, lane: Lane, sent_through: Number, ctx: &mut Context<Self>) {
        let Some(facts) = self.lanes.get(&lane) else { return };
        if let Some(from) = self.shelf.read_from(lane, sent_through, facts.stored_through) {
            let reply = ctx.address().recipient();
            self.ports.read.do_send(Read { lane, from, bytes_max: READ_BYTES, reply });
        }
    }
}

/// As many of a run's packets as the server takes in one frame, but one at least.
fn cut(mut run: Run, bytes_max: usize) -> Option<Run> {
    while run.encoded().len() > bytes_max && run.head().count > 1 {
        let half = u64::from(run.head().count / 2);
        run = run.part(run.first(), run.first().before().plus(half)?)?;
    }
    Some(run)
}
