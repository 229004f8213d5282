//! The ledger's door, one per server: cursors, fences and leases, and the record of every outcome.
//!
//! Upholds R4 (the outcome reaches the session after the transaction that holds it) and R7 (a newer
//! hello wins; a lane's lease outlives its session). The ledger's own thread commits; this actor
//! never waits for it.

mod delivered;
mod lanes;
mod replays;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient};
use paquebot_protocol::lease::{Leases, SessionId};
use paquebot_protocol::{ClientId, Lane, LaneKey, LedgerId, Number, PacketId, SpoolId};
use paquebot_store::{
    Admitted, DeadLetter, Fence, FileId, FileState, Ledger as Store, LedgerError, LedgerEvent,
    Record as StoreRecord, RecordError, Reply, Tried as StoreTried,
};

pub use lanes::{Acquire, Acquired, Release, Retire};

use crate::attempt::{Attempt, Ended, Outcome};
use crate::clock;
use crate::fleet::Fleet;
use crate::meters::CommitMeters;

/// How many messages may wait; attempts in flight and sessions bound them long before.
const MAILBOX_MESSAGES: usize = 64 * 1024;

/// How long a lane waits when its outcome could not be recorded.
const RECORD_FAILED_PAUSE_MS: u64 = 2_000;

/// The actor.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    id: LedgerId,
    leases: Leases,
    live: HashMap<SpoolId, (SessionId, Recipient<Superseded>)>,
    waiting: HashMap<(LaneKey, SessionId), Acquire>,
    commits: CommitMeters,
    dead_letters_max_age: Option<Duration>,
    fleet: Option<Fleet>,
}

/// How often what clients have told is written down, when it has changed.
const FLEET_KEPT: Duration = Duration::from_secs(10);

/// How often dead letters are looked through for those that are too old.
const EXPIRY: Duration = Duration::from_secs(60);

impl Ledger {
    /// The door to `store`.
    #[must_use]
    pub fn new(store: Store, id: LedgerId) -> Self {
        store.watch(Box::new(log));
        Self {
            store,
            id,
            leases: Leases::default(),
            live: HashMap::new(),
            waiting: HashMap::new(),
            commits: CommitMeters::new("ledger"),
            dead_letters_max_age: None,
            fleet: None,
        }
    }

    /// Keeps dead letters for so long after their last try.
    #[must_use]
    pub fn keeping_dead_letters(mut self, max_age: Option<Duration>) -> Self {
        self.dead_letters_max_age = max_age;
        self
    }

    /// Writes down what clients tell.
    #[must_use]
    pub fn keeping_clients(mut self, fleet: Fleet) -> Self {
        self.fleet = Some(fleet);
        self
    }

    fn expire(&self, max_age: Duration) {
        let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let failed = |outcome: Result<(), LedgerError>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "old dead letters could not be removed; later, then");
            }
        };
        self.store
            .expire_dead_letters(clock::wall_ms().saturating_sub(max_age_ms), Box::new(failed));
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
        if let Some(max_age) = self.dead_letters_max_age {
            self.expire(max_age);
            ctx.run_interval(EXPIRY, move |door, _| door.expire(max_age));
        }
        if let Some(fleet) = self.fleet.clone() {
            ctx.run_interval(FLEET_KEPT, move |door, _| fleet.keep(&door.store));
        }
    }
}

/// Says what the ledger tells of itself.
fn log(event: LedgerEvent) {
    match event {
        LedgerEvent::Failed(why) => tracing::error!(
            why,
            "the ledger cannot be written: nothing is acknowledged, packets wait at their clients; \
             it is tried again until it works"
        ),
        LedgerEvent::DiskFull => tracing::error!(
            "the disk of the ledger is full: nothing is acknowledged, packets wait at their \
             clients; it goes on as soon as there is room"
        ),
        LedgerEvent::Works => tracing::info!("the ledger works again"),
        LedgerEvent::Note(note) => tracing::warn!(note, "the ledger"),
    }
}

/// May this client come in?
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Admit {
    /// The session that asks.
    pub session: SessionId,
    /// The spool and its opening.
    pub fence: Fence,
    /// The name that the spool had before.
    pub replaces: Option<SpoolId>,
    /// The client.
    pub client: ClientId,
    /// Told when a newer session of the same spool takes over.
    pub superseded: Recipient<Superseded>,
    /// Where the answer goes.
    pub reply: Recipient<AdmitAnswer>,
}

/// The answer to [`Admit`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AdmitAnswer {
    /// The server's ledger.
    pub ledger: LedgerId,
    /// Whether the client may come in.
    pub admitted: Result<Admitted, LedgerError>,
}

/// A newer session of the same spool took over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Superseded;

impl Handler<Admit> for Ledger {
    type Result = ();

    fn handle(&mut self, admit: Admit, ctx: &mut Self::Context) {
        let Admit { session, fence, replaces, client, superseded, reply } = admit;
        let (ledger, door) = (self.id, ctx.address());
        let answer = move |admitted: Result<Admitted, LedgerError>| {
            if matches!(admitted, Ok(Admitted::Yes(_))) {
                door.do_send(Live { spool: fence.spool, session, superseded });
            }
            reply.do_send(AdmitAnswer { ledger, admitted });
        };
        self.store.admit(fence, replaces, client, Box::new(answer));
    }
}

/// A session was admitted, durably.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Live {
    spool: SpoolId,
    session: SessionId,
    superseded: Recipient<Superseded>,
}

impl Handler<Live> for Ledger {
    type Result = ();

    fn handle(&mut self, live: Live, _: &mut Self::Context) {
        let Live { spool, session, superseded } = live;
        if let Some((before, older)) = self.live.insert(spool, (session, superseded))
            && before != session
        {
            older.do_send(Superseded);
        }
    }
}

/// The session has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Gone {
    /// The session.
    pub session: SessionId,
    /// Its spool.
    pub spool: SpoolId,
}

impl Handler<Gone> for Ledger {
    type Result = ();

    fn handle(&mut self, gone: Gone, _: &mut Self::Context) {
        if self.live.get(&gone.spool).is_some_and(|(session, _)| *session == gone.session) {
            self.live.remove(&gone.spool);
        }
    }
}

/// These attempts have their outcome: record it, in one transaction, and tell their sessions.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Record {
    /// The handler that they were given to.
    pub handler: Arc<str>,
    /// The attempts; their packets are no longer needed.
    pub attempts: Vec<Attempt>,
    /// What the handler keeps in the same transaction.
    pub file: Option<(FileId, FileState)>,
    /// The packets among them that were not handled.
    pub dead: Vec<DeadLetter>,
    /// Called with the attempts, which are the handler's affair again: when it is durable they are
    /// to be settled, otherwise to be failed. Without it both happens here.
    pub reply: Option<Reply<Result<Recorded, Unrecorded>>>,
}

/// Attempts whose outcome is durable, and whose sessions are still to be told.
#[derive(Debug)]
pub struct Recorded {
    attempts: Vec<Attempt>,
    letters: Vec<(PacketId, String)>,
    newly_dead: u64,
}

impl Recorded {
    /// Tells the sessions, which acknowledge.
    pub fn settle(&self) {
        self.attempts.iter().for_each(|attempt| settle(attempt, &self.letters));
    }

    /// How many of their packets are dead letters that were not before.
    pub(crate) fn newly_dead(&self) -> u64 {
        self.newly_dead
    }

    /// Pauses the lanes instead: their clients learn of it when they come again.
    pub fn put_off(self, retry_after_ms: u64, why: &str) {
        self.attempts.into_iter().for_each(|attempt| attempt.fail(retry_after_ms, why.to_owned()));
    }
}

/// The packet after a lane's cursor was tried in vain: write that down (R11).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tried {
    /// The opening under which the packet came.
    pub fence: Fence,
    /// Its lane.
    pub lane: Lane,
    /// What is known of it now.
    pub tried: StoreTried,
    /// Called when that is durable, or when it will not be.
    pub reply: Reply<Result<(), RecordError>>,
}

impl std::fmt::Debug for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tried({:?} of lane {})", self.tried, self.lane)
    }
}

impl Handler<Tried> for Ledger {
    type Result = ();

    fn handle(&mut self, asked: Tried, _: &mut Self::Context) {
        self.store.tried(asked.fence, asked.lane, asked.tried, asked.reply);
    }
}

/// Attempts that could not be recorded: none of them.
#[derive(Debug)]
pub struct Unrecorded {
    /// What is in the way.
    pub error: RecordError,
    /// The attempts.
    pub attempts: Vec<Attempt>,
}

impl Unrecorded {
    /// Fails the attempts: their lanes wait a little, and their clients come again.
    pub fn fail(self) {
        for attempt in self.attempts {
            attempt.fail(RECORD_FAILED_PAUSE_MS, self.error.to_string());
        }
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({} attempts of {:?})", self.attempts.len(), self.handler)
    }
}

impl Handler<Record> for Ledger {
    type Result = ();

    fn handle(&mut self, record: Record, _: &mut Self::Context) {
        let Record { handler, attempts, file, mut dead, reply } = record;
        let lanes = attempts.iter().filter(|attempt| !attempt.is_replay());
        let marks: Vec<_> = lanes.map(|attempt| attempt.mark).collect();
        let letters: Vec<_> =
            dead.iter().map(|letter| (letter.id, letter.reason.clone())).collect();
        let replays = replays::take(&attempts, &mut dead);
        let newly_dead = dead.len() as u64;
        let asked = clock::instant();
        let (commits, packets) = (self.commits.clone(), attempts.iter().map(Attempt::count).sum());
        let answer = move |outcome: Result<(), RecordError>| {
            commits.committed(asked.elapsed(), packets);
            match (outcome, reply) {
                (Ok(()), Some(reply)) => reply(Ok(Recorded { attempts, letters, newly_dead })),
                (Ok(()), None) => Recorded { attempts, letters, newly_dead }.settle(),
                (Err(error), Some(reply)) => reply(Err(Unrecorded { error, attempts })),
                (Err(error), None) => Unrecorded { error, attempts }.fail(),
            }
        };
        let reply = Box::new(answer);
        self.store.record(StoreRecord { handler, marks, file, dead, replays, reply });
    }
}

fn settle(attempt: &Attempt, letters: &[(PacketId, String)]) {
    let (lane, through, from) = (attempt.mark.lane, attempt.mark.through, attempt.mark.from);
    let spans = attempt.runs.iter().map(|run| run.head().origin.spool);
    let spools: Vec<_> = spans.collect();
    let ours = |id: &PacketId| {
        id.lane == lane && spools.contains(&id.spool) && id.number > from && id.number <= through
    };
    let mut dead: BTreeMap<String, Vec<Number>> = BTreeMap::new();
    for (id, reason) in letters.iter().filter(|(id, _)| ours(id)) {
        dead.entry(reason.clone()).or_default().push(id.number);
    }
    let ended = Ended::Settled { through, dead };
    attempt.origin.outcome.do_send(Outcome { lane, ended });
}
