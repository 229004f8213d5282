//! The connection's socket: dial, greet, beat, and give up.

use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use paquebot_protocol::Control;
use paquebot_protocol::codec::FRAME_OVERHEAD_BYTES_MAX;
use paquebot_protocol::frame::{Hello, VERSION, Welcome};
use paquebot_protocol::heartbeat::{Beat, Heartbeat};
use tokio::net::TcpStream;

use super::traffic::{Heard, Room};
use super::{Connection, Socket};
use crate::clock;
use crate::persistence::Remember;
use crate::socket::{FrameReader, Pulse};
use crate::writer::frame_writer;

/// How long a connection may take to stand, from the first packet to the welcome.
const GREETING: Duration = Duration::from_secs(10);

/// What the server may send at once: acks and answers, never packets.
const FRAME_BYTES_MAX: u32 = 256 * FRAME_OVERHEAD_BYTES_MAX;

/// What a `run` frame has around its run, at most.
const RUN_FRAME_BYTES: u32 = 64;

impl Connection {
    pub(super) fn dial(&mut self, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        self.epoch += 1;
        let (epoch, server) = (self.epoch, self.link.server());
        self.link.dialling();
        let attempt = tokio::time::timeout(GREETING, TcpStream::connect(server));
        let done = move |outcome, connection: &mut Self, ctx: &mut Context<Self>| match outcome {
            _ if connection.epoch != epoch => {}
            Ok(Ok(stream)) => connection.greet(stream, ctx),
            Ok(Err(error)) => connection.lose(&format!("connecting failed: {error}"), None, ctx),
            Err(_) => connection.lose("connecting took too long", None, ctx),
        };
        ctx.spawn(attempt.into_actor(self).map(done));
    }

    fn greet(&mut self, stream: TcpStream, ctx: &mut Context<Self>) {
        if let Err(error) = stream.set_nodelay(true) {
            return self.lose(&format!("setting TCP_NODELAY failed: {error}"), None, ctx);
        }
        let epoch = self.epoch;
        let (reading, writing) = stream.into_split();
        let pulse = Pulse::new();
        let (writer, task) = frame_writer(writing, pulse.clone());
        let lost = move |why: String, connection: &mut Self, ctx: &mut Context<Self>| {
            if connection.epoch == epoch {
                connection.lose(&why, None, ctx);
            }
        };
        let (heard, roomy) = (ctx.address(), ctx.address());
        let room = move || roomy.do_send(Room);
        let written =
            async { task.run(room).await.map_or_else(|e| e.to_string(), |()| "closed".into()) };
        let reader = FrameReader::new(reading, FRAME_BYTES_MAX, pulse.clone());
        let hear = async move |frames| heard.send(Heard { epoch, frames }).await.is_ok();
        let read = async { reader.pump(hear).await.to_string() };
        let tasks = [
            ctx.spawn(written.into_actor(self).map(lost)),
            ctx.spawn(read.into_actor(self).map(lost)),
        ];
        let (ping, silence) = (self.options.ping.into(), self.options.silence.into());
        let heartbeat = Heartbeat::new(clock::now(), ping, silence);
        let hello = Control::Hello(Hello {
            version: VERSION,
            spool: self.identity.spool,
            replaces: self.identity.replaces,
            opened: self.identity.opened,
            nonce: self.identity.nonce,
            client: self.options.client.clone(),
            token: None,
            capabilities: Vec::new(),
            program: concat!("paquebot ", env!("CARGO_PKG_VERSION")).to_owned(),
        });
        let greeted = writer.controls(&[hello]);
        let run_bytes_max = usize::MAX;
        self.socket =
            Some(Socket { writer, heartbeat, pulse, welcomed: false, run_bytes_max, tasks });
        if greeted.is_err() {
            self.lose("saying hello failed", None, ctx);
        }
        let waited = move |connection: &mut Self, ctx: &mut Context<Self>| {
            let waiting = connection.socket.as_ref().is_some_and(|socket| !socket.welcomed);
            if connection.epoch == epoch && waiting {
                connection.lose("the server did not answer the hello", None, ctx);
            }
        };
        ctx.run_later(GREETING, waited);
        self.beat(epoch, ctx);
    }

    pub(super) fn welcome(&mut self, welcome: &Welcome) -> Result<(), String> {
        let server = self.link.server();
        match self.identity.ledger {
            Some(before) if before != welcome.ledger => {
                if self.holds_packets() && !self.options.separate_ledgers {
                    return Err(format!(
                        "expected ledger {before}, found {} at {server}: is this another server, or \
                         was its ledger lost? Packets that the other one had handled may be handled \
                         again; to accept that, set `client.separate_ledgers = true`",
                        welcome.ledger
                    ));
                }
                tracing::error!(
                    server, ledger = %welcome.ledger, before = %before,
                    "the server has another ledger than before: packets that the old one had \
                     handled and not yet acknowledged will be handled again"
                );
            }
            _ => tracing::info!(server, ledger = %welcome.ledger, "connected"),
        }
        if self.identity.ledger != Some(welcome.ledger) {
            self.identity.ledger = Some(welcome.ledger);
            self.ports.remember.do_send(Remember(welcome.ledger));
        }
        if let Some(socket) = &mut self.socket {
            socket.welcomed = true;
            // A frame has a few bytes around its run.
            let run_bytes_max = welcome.limits.frame_bytes_max.saturating_sub(RUN_FRAME_BYTES);
            socket.run_bytes_max = usize::try_from(run_bytes_max).unwrap_or(usize::MAX);
        }
        self.link.connected();
        self.outbox.connected(welcome.limits.window_bytes);
        Ok(())
    }

    /// Whether anything is held that a ledger may have handled.
    fn holds_packets(&self) -> bool {
        self.lanes.iter().any(|(lane, facts)| {
            self.outbox.acked_through(*lane).is_some_and(|acked| acked < facts.stored_through)
        })
    }

    /// The connection is of no more use: everything in flight is forgotten and dialled again later.
    pub(super) fn lose(
        &mut self,
        why: &str,
        not_before: Option<Duration>,
        ctx: &mut Context<Self>,
    ) {
        self.epoch += 1;
        if let Some(socket) = self.socket.take() {
            for task in socket.tasks {
                ctx.cancel_future(task);
            }
        }
        self.statuses.lost(why);
        self.outbox.disconnected();
        self.retiring.clear();
        self.shelf.clear();
        // Only drops are left to be ordered. They go before the spool may take another name, or hear of
        // another ledger: what the server counted as skipped belongs to these (R8).
        self.act(ctx);
        if self.stopping {
            return ctx.stop();
        }
        if !self.renaming {
            self.redial(why, not_before, ctx);
        }
    }

    /// Dials the next server after a while.
    pub(super) fn redial(
        &mut self,
        why: &str,
        not_before: Option<Duration>,
        ctx: &mut Context<Self>,
    ) {
        let server = self.link.server();
        let (wait, is_news) = self.link.lost(why, not_before);
        if is_news {
            tracing::warn!(server, why, next_try_in = ?wait, "not connected; packets are kept");
        } else {
            tracing::debug!(server, why, next_try_in = ?wait, "not connected");
        }
        ctx.run_later(wait, Connection::dial);
    }

    /// Asks a silent peer, gives up a dead one, and comes again when that may be due.
    fn beat(&mut self, epoch: u64, ctx: &mut Context<Self>) {
        let now = clock::now();
        let Some(socket) = self.socket.as_mut().filter(|_| epoch == self.epoch) else { return };
        socket.heartbeat.heard(socket.pulse.felt());
        let failed = match socket.heartbeat.poll(now) {
            Some(Beat::Ping) => socket.writer.controls(&[Control::Ping(now.0)]).is_err(),
            Some(Beat::Dead) => true,
            None => false,
        };
        if failed {
            return self.lose("the server is silent", None, ctx);
        }
        let wait = Duration::from(socket.heartbeat.deadline().since(now));
        ctx.run_later(wait, move |connection, ctx| connection.beat(epoch, ctx));
    }
}
