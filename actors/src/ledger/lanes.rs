//! Lanes at the ledger's door: who holds one, where it goes on, and that it has ended (R6, R7).

use actix::{Handler, Message, Recipient};
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Lane, LaneKey, Number};
use paquebot_store::{CursorAt, Fence, LedgerError, RecordError};

use super::Ledger;

/// Take the lane's lease, when it is free, and look its cursor up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Acquire {
    /// The lane.
    pub key: LaneKey,
    /// The session that asks.
    pub session: SessionId,
    /// The lowest number that the client still holds.
    pub first: Number,
    /// Where the answer goes.
    pub reply: Recipient<Acquired>,
}

/// The answer to [`Acquire`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Acquired {
    /// The lane.
    pub key: LaneKey,
    /// Where it goes on.
    pub found: Result<CursorAt, LedgerError>,
}

impl Handler<Acquire> for Ledger {
    type Result = ();

    fn handle(&mut self, asked: Acquire, _: &mut Self::Context) {
        if self.leases.acquire(asked.key, asked.session) {
            self.look_up(asked);
        } else {
            self.waiting.insert((asked.key, asked.session), asked);
        }
    }
}

/// The session lets go of these lanes: no attempt of it is running there any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Release {
    /// The session.
    pub session: SessionId,
    /// The lanes.
    pub lanes: Vec<LaneKey>,
}

impl Handler<Release> for Ledger {
    type Result = ();

    fn handle(&mut self, release: Release, _: &mut Self::Context) {
        for key in release.lanes {
            self.release(key, release.session);
        }
    }
}

/// The client will never use the lane again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Retire {
    /// The session that was told so.
    pub session: SessionId,
    /// The opening that it belongs to.
    pub fence: Fence,
    /// The lane, in which nothing of this session is running.
    pub lane: Lane,
}

impl Handler<Retire> for Ledger {
    type Result = ();

    fn handle(&mut self, retire: Retire, _: &mut Self::Context) {
        let Retire { session, fence, lane } = retire;
        let answer = move |outcome: Result<(), RecordError>| {
            if let Err(error) = outcome {
                // What stays is a row; nothing depends on its going.
                tracing::debug!(%lane, %error, "a retired lane is still on record");
            }
        };
        self.store.retire(fence, lane, Box::new(answer));
        self.release(LaneKey { spool: fence.spool, lane }, session);
    }
}

impl Ledger {
    /// The session lets go of a lane: the next one that waits for it has its turn.
    fn release(&mut self, key: LaneKey, session: SessionId) {
        self.waiting.remove(&(key, session));
        if let Some(next) = self.leases.release(key, session)
            && let Some(asked) = self.waiting.remove(&(key, next))
        {
            self.look_up(asked);
        }
    }

    /// The lease is held: look the cursor up.
    fn look_up(&self, asked: Acquire) {
        let Acquire { key, first, reply, .. } = asked;
        let answer = move |found| reply.do_send(Acquired { key, found });
        self.store.cursor(key, first, Box::new(answer));
    }
}
