//! The listener: one per server address. Accepts, limits how many may come in, starts sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture,
};
use actix_rt::ArbiterHandle;
use paquebot_protocol::lease::SessionId;
use tokio::net::{TcpListener, TcpStream};

use crate::roster::Roster;
use crate::seat::Seats;
use crate::session::{Dismiss, Session, SessionOptions, SessionPorts};

/// How long accepting rests after a failure, such as running out of open files.
const ACCEPT_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// The actor.
#[derive(Debug)]
pub struct Listener {
    socket: Option<std::net::TcpListener>,
    options: SessionOptions,
    ports: SessionPorts,
    board: Roster,
    arbiters: Vec<ArbiterHandle>,
    seats: Seats,
    sessions: BTreeMap<SessionId, Addr<Session>>,
    next: u64,
}

impl Listener {
    /// A listener on a bound socket; its sessions live on `arbiters` in turn.
    #[must_use]
    pub fn new(
        socket: std::net::TcpListener,
        seats: Seats,
        options: SessionOptions,
        ports: SessionPorts,
        board: Roster,
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
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.seats.take() else {
            return tracing::warn!(%peer, "refused: no more connections are allowed");
        };
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%peer, %error, "the socket cannot be used"),
        };
        self.sessions.retain(|_, session| session.connected());
        let id = SessionId(self.next);
        self.next += 1;
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
