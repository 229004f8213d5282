//! Persistence: the door to the spool, one per client.
//!
//! Holds no rules: it passes on what waits for the disk and brings the answers back. "Stored" is
//! said by the spool's own thread, after the fsync (R1); this actor never waits for it.

use std::ops::RangeInclusive;

use actix::{Actor, Context, Handler, Message, Recipient};
use paquebot_protocol::{Batch, Chain, Held, Lane, LedgerId, Number, TargetId};
use paquebot_store::{
    AppendError, Count, Identity, Parcel, Part, Patience, Position, ReadError, Reply, Spool,
    Stored, Stretch,
};

use crate::permit::Permit;
use crate::receipts::{Outcome, Receipts, Waiter};

/// How many messages may wait; permits bound them long before.
const MAILBOX_MESSAGES: usize = 64 * 1024;

/// The actor.
#[derive(Debug)]
pub struct Persistence {
    spool: Spool,
    receipts: Receipts,
}

impl Persistence {
    /// The door to `spool`.
    #[must_use]
    pub fn new(spool: Spool, receipts: Receipts) -> Self {
        Self { spool, receipts }
    }
}

impl Actor for Persistence {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
    }
}

/// Store these packets.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Store {
    /// Where they go.
    pub target: TargetId,
    /// The packets.
    pub batch: Batch,
    /// Called after the fsync, or with what is in the way.
    pub stored: Reply<Result<Stored, AppendError>>,
    /// Called when the last of them has a final outcome at the server.
    pub ended: Option<Reply<Outcome>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} packets for {})", self.batch.count(), self.target)
    }
}

impl Handler<Store> for Persistence {
    type Result = ();

    fn handle(&mut self, store: Store, _: &mut Self::Context) {
        let Store { target, batch, stored, ended } = store;
        let receipts = self.receipts.clone();
        let reply = move |outcome: Result<Vec<Stored>, AppendError>| {
            let outcome =
                outcome.and_then(|answers| answers.first().copied().ok_or(AppendError::Closed));
            if let (Ok(batch), Some(ended)) = (&outcome, ended) {
                receipts.promise(batch.lane, batch.first, batch.count, Waiter::Call(ended));
            }
            stored(outcome);
        };
        let parts = vec![Part { target, batch, key: None }];
        let (positions, patience, count, reply) = (Vec::new(), None, None, Box::new(reply));
        self.spool.store(Parcel { parts, positions, patience, count, reply });
    }
}

/// Store what a source has gathered, with how far it has come: all of it, or nothing.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StoreParcel {
    /// The packets.
    pub parts: Vec<Part>,
    /// How far the source has come with them.
    pub positions: Vec<Position>,
    /// Whether somebody still waits for them; nothing for who never gives up.
    pub patience: Option<Patience>,
    /// Their place in memory, given back when they are on disk.
    pub permit: Permit,
    /// What counts them, in the same commit.
    pub count: Option<Count>,
    /// Called after the fsync, or with what is in the way.
    pub stored: Reply<Result<Vec<Stored>, AppendError>>,
}

impl std::fmt::Debug for StoreParcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreParcel({} parts)", self.parts.len())
    }
}

impl Handler<StoreParcel> for Persistence {
    type Result = ();

    fn handle(&mut self, store: StoreParcel, _: &mut Self::Context) {
        let StoreParcel { parts, positions, patience, permit, count, stored } = store;
        let reply = move |outcome| {
            drop(permit);
            stored(outcome);
        };
        self.spool.store(Parcel { parts, positions, patience, count, reply: Box::new(reply) });
    }
}

/// Somebody waits for room no longer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hurry;

impl Handler<Hurry> for Persistence {
    type Result = ();

    fn handle(&mut self, _: Hurry, _: &mut Self::Context) {
        self.spool.hurry();
    }
}

/// How far has a source come?
#[derive(Debug, Message)]
#[rtype(result = "Vec<(Vec<u8>, Vec<u8>)>")]
pub struct Come(pub String);

impl Handler<Come> for Persistence {
    type Result = Vec<(Vec<u8>, Vec<u8>)>;

    fn handle(&mut self, Come(source): Come, _: &mut Self::Context) -> Self::Result {
        self.spool.positions(&source)
    }
}

/// Everything in the lane up to `through` has a final outcome: drop it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DropThrough {
    /// The lane.
    pub lane: Lane,
    /// The last packet.
    pub through: Number,
    /// Which of the packets that this drops became dead letters.
    pub dead: Vec<Number>,
    /// How many numbers of the lane the server has skipped so far.
    pub skipped: u64,
}

impl Handler<DropThrough> for Persistence {
    type Result = ();

    fn handle(&mut self, order: DropThrough, _: &mut Self::Context) {
        let DropThrough { lane, through, dead, skipped } = order;
        self.spool.drop_through(lane, through, dead.len() as u64, skipped);
        self.receipts.settle(lane, through, &dead, skipped);
    }
}

/// The server has heard that these lanes are retired: forget them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Forget(pub Vec<Lane>);

impl Handler<Forget> for Persistence {
    type Result = ();

    fn handle(&mut self, forget: Forget, _: &mut Self::Context) {
        self.receipts.forget(&forget.0);
        self.spool.forget(forget.0);
    }
}

/// Read from `from` on, about `bytes_max`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Read {
    /// The lane.
    pub lane: Lane,
    /// The first packet wanted.
    pub from: Number,
    /// How much to read; one run or tombstone is always read.
    pub bytes_max: usize,
    /// Where the answer goes.
    pub reply: Recipient<Loaded>,
}

/// The answer to [`Read`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Loaded {
    /// The lane.
    pub lane: Lane,
    /// Runs and tombstones, in order.
    pub stretches: Result<Vec<Stretch>, ReadError>,
}

impl Handler<Read> for Persistence {
    type Result = ();

    fn handle(&mut self, read: Read, _: &mut Self::Context) {
        let Read { lane, from, bytes_max, reply } = read;
        let answer = move |stretches| reply.do_send(Loaded { lane, stretches });
        self.spool.read(lane, from, bytes_max, Box::new(answer));
    }
}

/// Packets of the lane, from one on, may have outlived their time: those that have are declared.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Expire {
    /// The lane.
    pub lane: Lane,
    /// The first of them.
    pub from: Number,
}

impl Handler<Expire> for Persistence {
    type Result = ();

    fn handle(&mut self, expire: Expire, _: &mut Self::Context) {
        self.spool.expire(expire.lane, expire.from);
    }
}

/// These packets can never be sent: they become dead letters of this client.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Doom {
    /// The lane.
    pub lane: Lane,
    /// The packets.
    pub numbers: RangeInclusive<Number>,
    /// Why, for people.
    pub reason: String,
    /// Where the answer goes.
    pub reply: Recipient<Doomed>,
}

/// The answer to [`Doom`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Doomed {
    /// The lane.
    pub lane: Lane,
    /// How many became dead letters, durably; or why none did.
    pub outcome: Result<u64, AppendError>,
}

impl Handler<Doom> for Persistence {
    type Result = ();

    fn handle(&mut self, doom: Doom, _: &mut Self::Context) {
        let Doom { lane, numbers, reason, reply } = doom;
        let (first, through) = (*numbers.start(), *numbers.end());
        // The receipts hear of it with the commit that puts tombstones in their place.
        let answer = move |outcome| reply.do_send(Doomed { lane, outcome });
        self.spool.dead_letter(lane, first, through, reason, Box::new(answer));
    }
}

/// Is the lane's chain at `cursor` this one?
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Prove {
    /// The lane.
    pub lane: Lane,
    /// The opening of the lane that the question belongs to.
    pub generation: u32,
    /// The connection that it belongs to.
    pub epoch: u64,
    /// The place.
    pub cursor: Number,
    /// The ledger's chain there, if it knows one.
    pub chain: Option<Chain>,
    /// Where the answer goes.
    pub reply: Recipient<Proven>,
}

/// The answer to [`Prove`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Proven {
    /// The lane.
    pub lane: Lane,
    /// The opening of the lane that the question belonged to.
    pub generation: u32,
    /// The connection that it belonged to.
    pub epoch: u64,
    /// Whether the histories are the same.
    pub same: Result<bool, ReadError>,
}

impl Handler<Prove> for Persistence {
    type Result = ();

    fn handle(&mut self, prove: Prove, _: &mut Self::Context) {
        let Prove { lane, generation, epoch, cursor, chain, reply } = prove;
        let answer = move |ours: Result<Held, ReadError>| {
            let same = ours.map(|ours| ours.proves(chain));
            reply.do_send(Proven { lane, generation, epoch, same });
        };
        self.spool.chain_at(lane, cursor, Box::new(answer));
    }
}

/// Give the spool a new name: its history and the ledger's have parted (R7).
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Rekey {
    /// Where the answer goes.
    pub reply: Recipient<Rekeyed>,
}

/// Packets are sent to this ledger from here on: remember it over restarts (R7).
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Remember(pub LedgerId);

impl Handler<Remember> for Persistence {
    type Result = ();

    fn handle(&mut self, remember: Remember, _: &mut Self::Context) {
        // When it could not be written down, it is remembered with the next connection.
        self.spool.remember(remember.0, Box::new(|_| {}));
    }
}

/// The answer to [`Rekey`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Rekeyed(pub Result<Identity, AppendError>);

impl Handler<Rekey> for Persistence {
    type Result = ();

    fn handle(&mut self, rekey: Rekey, _: &mut Self::Context) {
        let answer = move |identity| rekey.reply.do_send(Rekeyed(identity));
        self.spool.rekey(Box::new(answer));
    }
}
