//! Lanes that end (R6): `retire` is said, and after it a ping, whose answer proves that the server has
//! heard; only then the spool forgets them. What was said on a connection that broke is said again.

use actix::{Handler, Message};
use paquebot_protocol::{Control, Lane};

use super::Connection;
use crate::persistence::Forget;

/// Lanes that are said to be retired in one go; the next ones follow when that was heard.
const RETIRE_AT_ONCE: usize = 256;

/// The first ping of this kind. Those of the heartbeat carry milliseconds, which never come so far.
const FIRST_PING: u64 = 1 << 63;

/// What was said on this connection, and is not known to have been heard.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    lanes: Vec<Lane>,
    pings: u64,
}

impl Retiring {
    /// The connection is gone.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }

    fn ping(&self) -> u64 {
        FIRST_PING + self.pings
    }
}

impl Connection {
    /// A lane has ended: what was stored in it is acknowledged, and dropped durably.
    pub(super) fn end(&mut self, lane: Lane) {
        if let Some(facts) = self.lanes.get(&lane) {
            self.outbox.dropped(lane, facts.stored_through);
            self.outbox.retire(lane);
        }
    }

    /// Says which lanes have ended, unless the server has yet to hear of others.
    pub(super) fn say_retired(&mut self) -> Result<(), String> {
        if !self.retiring.lanes.is_empty() {
            return Ok(());
        }
        let lanes = std::iter::from_fn(|| self.outbox.poll_retire()).take(RETIRE_AT_ONCE);
        self.retiring.lanes.extend(lanes);
        if self.retiring.lanes.is_empty() {
            return Ok(());
        }
        self.retiring.pings += 1;
        let mut controls: Vec<Control> =
            self.retiring.lanes.iter().copied().map(Control::Retire).collect();
        controls.push(Control::Ping(self.retiring.ping()));
        self.say(&controls)
    }

    /// The server has heard everything that was said before this ping.
    pub(super) fn hear_pong(&mut self, number: u64) {
        if self.retiring.lanes.is_empty() || number != self.retiring.ping() {
            return;
        }
        let mut lanes = std::mem::take(&mut self.retiring.lanes);
        lanes.retain(|lane| self.outbox.retire_heard(*lane));
        for lane in &lanes {
            self.lanes.remove(lane);
            self.shelf.forget_lane(*lane);
        }
        tracing::debug!(lanes = lanes.len(), "retired lanes are forgotten");
        self.ports.forget.do_send(Forget(lanes));
    }
}

/// These lanes have ended, durably: they are empty, and get no other packet.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ended(pub Vec<Lane>);

impl Handler<Ended> for Connection {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Self::Context) {
        for lane in ended.0 {
            self.end(lane);
        }
        self.act(ctx);
    }
}
