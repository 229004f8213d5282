//! The listener: one per server address. Accepts, limits how many may come in, starts sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture,
};
use actix_rt::ArbiterHandle;
use metrics::{Counter, counter};
use paquebot_protocol::frame::{Hello, RefusedCode};
use paquebot_protocol::lease::SessionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;
use crate::session::{Dismiss, Session, SessionOptions, SessionPorts};

/// How long accepting rests after a failure, such as running out of open files.
const ACCEPT_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// The actor.
#[derive(Debug)]
pub struct Listener {
    socket: Option<std::net::TcpListener>,
    options: SessionOptions,
    ports: SessionPorts,
    board: ServerBoard,
    arbiters: Vec<ArbiterHandle>,
    seats: Seats,
    sessions: BTreeMap<SessionId, Addr<Session>>,
    next: u64,
    duplicates: Counter,
}

impl Listener {
    /// A listener on a bound socket; its sessions live on `arbiters` in turn.
    #[must_use]
    pub fn new(
        socket: std::net::TcpListener,
        seats: Seats,
        options: SessionOptions,
        ports: SessionPorts,
        board: ServerBoard,
        arbiters: Vec<ArbiterHandle>,
    ) -> Self {
        Self {
            socket: Some(socket),
            options,
            ports,
            board,
            arbiters,
            seats,
            sessions: BTreeMap::new(),
            next: 1,
            duplicates: counter!("paquebot_server_duplicates_total"),
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.seats.take() else {
            counter!("paquebot_server_refused_total", "reason" => "connections").increment(1);
            return tracing::warn!(%peer, "refused: no more connections are allowed");
        };
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%peer, %error, "the socket cannot be used"),
        };
        self.sessions.retain(|_, session| session.connected());
        let id = SessionId(self.next);
        self.next += 1;
        let seat = Seat::new(seat, self.duplicates.clone());
        // The first session shares a thread with the router: alone, its packets need no other.
        let at = usize::try_from(id.0 - 1).unwrap_or_default() % self.arbiters.len().max(1);
        let Some(arbiter) = self.arbiters.get(at) else { return };
        let (options, ports) = (self.options.clone(), self.ports.clone());
        let session = Session::new(id, stream, peer, options, ports, self.board.clone(), seat);
        let address = Session::start_in_arbiter(arbiter, |_| session);
        self.sessions.insert(id, address);
    }

    fn accept(&mut self, socket: Arc<TcpListener>, ctx: &mut Context<Self>) {
        let again = Arc::clone(&socket);
        let accepted = async move { socket.accept().await };
        let done = |outcome, listener: &mut Self, ctx: &mut Context<Self>| match outcome {
            Ok((stream, peer)) => {
                listener.welcome(stream, peer);
                listener.accept(again, ctx);
            }
            Err(error) => {
                let error: std::io::Error = error;
                tracing::error!(%error, "accepting a connection failed");
                let retry =
                    |listener: &mut Self, ctx: &mut Context<Self>| listener.accept(again, ctx);
                ctx.run_later(ACCEPT_FAILED_PAUSE, retry);
            }
        };
        ctx.spawn(accepted.into_actor(self).map(done));
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(socket) = self.socket.take() else { return };
        let listening = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
        match listening {
            Ok(socket) => self.accept(Arc::new(socket), ctx),
            Err(error) => {
                tracing::error!(%error, "listening failed");
                ctx.stop();
            }
        }
    }
}

/// Accept nobody any more and dismiss who is here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shut;

impl Handler<Shut> for Listener {
    type Result = ();

    fn handle(&mut self, _: Shut, ctx: &mut Self::Context) {
        for session in self.sessions.values() {
            session.do_send(Dismiss);
        }
        ctx.stop();
    }
}

/// How many connections are allowed, and how many of them are taken.
#[derive(Debug, Clone)]
pub struct Seats {
    free: Arc<Semaphore>,
    all: u32,
}

impl Seats {
    /// So many seats.
    #[must_use]
    pub fn new(connections_max: usize) -> Self {
        let all = u32::try_from(connections_max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until every session has ended.
    pub async fn empty(&self) {
        // The semaphore is never closed, so this fails only when there is nothing to wait for.
        drop(self.free.acquire_many(self.all).await);
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

/// A session's place among those allowed; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    duplicates: Counter,
    _place: OwnedSemaphorePermit,
}

impl Seat {
    fn new(place: OwnedSemaphorePermit, duplicates: Counter) -> Self {
        Self { duplicates, _place: place }
    }

    /// The client said what it must not say.
    pub(crate) fn violated(&self) {
        counter!("paquebot_server_refused_total", "reason" => "violation").increment(1);
    }

    /// Packets came that had been handled before.
    pub(crate) fn duplicates(&self, packets: u64) {
        self.duplicates.increment(packets);
    }

    /// The client was refused.
    pub(crate) fn refused(&self, code: RefusedCode) {
        let reason = match code {
            RefusedCode::Version => "version",
            RefusedCode::Rekey => "rekey",
            RefusedCode::Busy => "busy",
            RefusedCode::Stopping => "stopping",
            RefusedCode::Superseded => "superseded",
            RefusedCode::Unknown => "unknown",
        };
        counter!("paquebot_server_refused_total", "reason" => reason).increment(1);
    }
}

/// Who is connected, for `status`: sessions write, anyone may read.
#[derive(Debug, Clone, Default)]
pub struct ServerBoard(Arc<Mutex<BTreeMap<SessionId, SessionFacts>>>);

/// One connected client.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SessionFacts {
    /// Its name.
    pub client: String,
    /// Its spool.
    pub spool: String,
    /// Where it connects from.
    pub address: String,
    /// Its program and version.
    pub program: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl SessionFacts {
    pub(crate) fn new(hello: &Hello, peer: SocketAddr) -> Self {
        Self {
            client: hello.client.to_string(),
            spool: hello.spool.to_string(),
            address: peer.to_string(),
            program: hello.program.clone(),
            since: clock::rfc3339(clock::wall_ms()),
        }
    }
}

impl ServerBoard {
    /// All who are connected.
    #[must_use]
    pub fn read(&self) -> Vec<SessionFacts> {
        self.sessions().values().cloned().collect()
    }

    pub(crate) fn insert(&self, session: SessionId, facts: SessionFacts) {
        self.sessions().insert(session, facts);
    }

    pub(crate) fn remove(&self, session: SessionId) {
        self.sessions().remove(&session);
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, SessionFacts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
