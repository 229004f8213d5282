//! The connection: one per client, the owner of its socket.
//!
//! Drives the outbox: facts from the disk and the wire go in, its orders are carried out here. Holds
//! no rules of its own. Upholds R2 by learning of packets only after their commit, and R3 by
//! dropping only what the outbox says.

mod gone;
mod refused;
mod retiring;
mod sending;
mod socket;
mod standing;
mod telling;
mod traffic;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};
use paquebot_protocol::heartbeat::Heartbeat;
use paquebot_protocol::outbox::{Outbox, Priority};
use paquebot_protocol::{ClientId, Control, Lane, Millis, Number, TargetId};
use paquebot_store::{Identity, LaneState};

use gone::Gone;
use retiring::Retiring;
use telling::Statuses;

pub use retiring::Ended;
pub use standing::{LaneStanding, Pause, Standings};
pub use telling::Condition;
pub use traffic::{Buried, StoredRuns};

use crate::link::{Link, LinkBoard};
use crate::meters::ClientMeters;
use crate::persistence::{Doom, DropThrough, Expire, Forget, Prove, Read, Rekey, Remember};
use crate::seldom::{Few, Seldom};
use crate::shelf::Shelf;
use crate::socket::Pulse;
use crate::writer::FrameWriter;

/// How the client connects.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// Its name.
    pub client: ClientId,
    /// Addresses `host:port` of one server.
    pub servers: Vec<String>,
    /// After how much silence to ask.
    pub ping: Duration,
    /// After how much silence the peer is dead.
    pub silence: Duration,
    /// The first wait before connecting again.
    pub reconnect_initial: Duration,
    /// The longest.
    pub reconnect_max: Duration,
    /// The spool's clock, by which packets grow old.
    pub now: SpoolTime,
    /// Whether the addresses may be those of several ledgers.
    pub separate_ledgers: bool,
    /// How early packets are sent.
    pub priorities: Priorities,
}

/// Gives the priority of packets to a target.
#[derive(Clone)]
pub struct Priorities(pub Arc<dyn Fn(&TargetId) -> Priority + Send + Sync>);

impl std::fmt::Debug for Priorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Priorities")
    }
}

/// Asks the spool's clock.
#[derive(Clone)]
pub struct SpoolTime(pub Arc<dyn Fn() -> Millis + Send + Sync>);

impl std::fmt::Debug for SpoolTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpoolTime")
    }
}

/// Whom the connection asks.
#[derive(Debug, Clone)]
pub struct ConnectionPorts {
    /// For runs that are not at hand.
    pub read: Recipient<Read>,
    /// Whether the ledger's history is ours.
    pub prove: Recipient<Prove>,
    /// To drop what has its outcome.
    pub drop_through: Recipient<DropThrough>,
    /// To make dead letters of what can never be sent.
    pub doom: Recipient<Doom>,
    /// To declare packets that have outlived their time.
    pub expire: Recipient<Expire>,
    /// To forget lanes that have ended.
    pub forget: Recipient<Forget>,
    /// For a new name.
    pub rekey: Recipient<Rekey>,
    /// To remember the ledger.
    pub remember: Recipient<Remember>,
}

/// The actor.
#[derive(Debug)]
pub struct Connection {
    options: ConnectionOptions,
    ports: ConnectionPorts,
    identity: Identity,
    link: Link,
    outbox: Outbox,
    shelf: Shelf,
    lanes: HashMap<Lane, LaneFacts>,
    retiring: Retiring,
    meters: ClientMeters,
    /// Tells facts of this socket from late ones of an earlier one.
    epoch: u64,
    socket: Option<Socket>,
    stopping: bool,
    statuses: Statuses,
    gone: Gone,
    /// How much was logged of lanes that wait.
    pauses_said: Few,
    /// The spool is taking a new name; until it has it, nobody is dialled.
    renaming: bool,
}

#[derive(Debug)]
struct LaneFacts {
    target: TargetId,
    stored_through: Number,
    /// The highest number ever sent, to tell sent from resent.
    sent_through: Number,
    /// Dead letters that no ack has passed yet.
    dead: BTreeSet<Number>,
    /// Why it waits, by the server's word; until it got on.
    pause: Option<Pause>,
    /// When that was last logged.
    pause_said: Seldom,
}

#[derive(Debug)]
struct Socket {
    writer: FrameWriter,
    heartbeat: Heartbeat,
    pulse: Pulse,
    welcomed: bool,
    /// The longest run that the server takes.
    run_bytes_max: usize,
    tasks: [SpawnHandle; 2],
}

impl Connection {
    /// A connection for a spool that holds `lanes`.
    #[must_use]
    pub fn new(
        options: ConnectionOptions,
        ports: ConnectionPorts,
        identity: Identity,
        lanes: Vec<LaneState>,
        meters: ClientMeters,
        board: LinkBoard,
    ) -> Self {
        let servers = options.servers.clone();
        let link = Link::new(servers, options.reconnect_initial, options.reconnect_max, board);
        let mut connection = Self {
            options,
            ports,
            identity,
            link,
            outbox: Outbox::default(),
            shelf: Shelf::default(),
            lanes: HashMap::new(),
            retiring: Retiring::default(),
            meters,
            epoch: 0,
            socket: None,
            stopping: false,
            statuses: Statuses::default(),
            gone: Gone::default(),
            pauses_said: Few::default(),
            renaming: false,
        };
        for state in lanes {
            let stored_through = state.next.before();
            let priority = (connection.options.priorities.0)(&state.target);
            connection.outbox.add(state.lane, state.acked_through, priority);
            connection.outbox.stored(state.lane, state.acked_through, stored_through);
            let (sent_through, dead) = (state.acked_through, BTreeSet::new());
            let (target, pause, pause_said) = (state.target, None, Seldom::default());
            let facts = LaneFacts { target, stored_through, sent_through, dead, pause, pause_said };
            connection.lanes.insert(state.lane, facts);
            if state.retiring {
                connection.end(state.lane);
            }
        }
        connection
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.dial(ctx);
    }
}

/// Say goodbye, so that the server need not wait for silence, and stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hangup;

impl Handler<Hangup> for Connection {
    type Result = ();

    fn handle(&mut self, _: Hangup, ctx: &mut Self::Context) {
        self.stopping = true;
        // A failure to say goodbye changes nothing: the server sees the end of the connection.
        let _said = self.say(&[Control::Bye("the client is stopping".into())]);
        match self.socket.take() {
            // The writer ends once everything is out, and with it this actor.
            Some(socket) => drop(socket.writer),
            None => ctx.stop(),
        }
        ctx.run_later(FAREWELL, |_, ctx| ctx.stop());
    }
}

/// How long the last frames may take on their way out.
const FAREWELL: Duration = Duration::from_secs(1);
