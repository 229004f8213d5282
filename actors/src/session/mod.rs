//! The session: one per connected client, the other end of its connection.
//!
//! Drives the inbox: frames and outcomes go in, its orders are carried out here. Upholds R4 (acks
//! only what the ledger has recorded) and R7 (it outlives its socket until its last attempt has
//! ended, and only then gives its lanes back).

mod arrival;
mod dispatch;
pub mod standing;
mod who;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    SpawnHandle, WrapFuture,
};
use paquebot_protocol::frame::{Hello, Limits, Refused, RefusedCode, VERSION, Welcome};
use paquebot_protocol::heartbeat::{Beat, Heartbeat};
use paquebot_protocol::inbox::Inbox;
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Control, Frame, Lane, LaneKey, Millis, Number, Run, status};
use paquebot_store::{Admitted, LedgerError, Tried};
use tokio::net::TcpStream;

use arrival::Heard;
use standing::Pauses;

use crate::clock;
use crate::ledger::{Acquire, Admit, AdmitAnswer, Gone, Record, Release, Retire, Superseded};
use crate::permit::{Permit, Purse};
use crate::roster::{Roster, SessionFacts};
use crate::router::Route;
use crate::seat::{Seat, reason_of};
use crate::seldom::Seldom;
use crate::share::Shares;
use crate::socket::{FrameReader, Pulse, ReadEnd};
use crate::writer::{FrameWriter, frame_writer};

/// How long a peer may take to say hello.
const GREETING: Duration = Duration::from_secs(10);

/// After how much silence a client is asked, and after how much it is taken for dead. Clients ask
/// earlier; this is for those that are gone without a word.
const PING_AFTER: Millis = Millis(30_000);
const DEAD_AFTER: Millis = Millis(90_000);

/// When a refused client is to come again.
const BUSY_RETRY_MS: u64 = 1_000;

/// The same for one that has too many spools: that does not pass by itself.
const SPOOLS_RETRY_MS: u64 = 5 * 60 * 1_000;

/// What sessions share.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// What a client is allowed.
    pub limits: Limits,
    /// Unacknowledged bytes in one lane.
    pub lane_window_bytes: u64,
    /// The longest data of a packet.
    pub packet_bytes_max: usize,
    /// Memory for packets that have arrived and have no outcome yet, over all sessions.
    pub memory: Purse,
    /// Memory for long frames that have not come whole, over all sessions.
    pub half_frames: Purse,
    /// What handlers may take of it.
    pub shares: Shares,
}

/// Whom sessions ask.
#[derive(Debug, Clone)]
pub struct SessionPorts {
    /// For admission.
    pub admit: Recipient<Admit>,
    /// For lanes.
    pub acquire: Recipient<Acquire>,
    /// To give lanes back.
    pub release: Recipient<Release>,
    /// To end lanes for ever.
    pub retire: Recipient<Retire>,
    /// To take leave.
    pub gone: Recipient<Gone>,
    /// To move cursors over skips.
    pub record: Recipient<Record>,
    /// For packets.
    pub route: Recipient<Route>,
}

/// The actor.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    options: SessionOptions,
    ports: SessionPorts,
    peer: SocketAddr,
    board: Roster,
    stream: Option<std::net::TcpStream>,
    writer: Option<FrameWriter>,
    reading: Option<SpawnHandle>,
    heartbeat: Heartbeat,
    pulse: Pulse,
    client: Option<Hello>,
    welcomed: bool,
    closing: bool,
    inbox: Inbox,
    queues: HashMap<Lane, VecDeque<(Run, Option<Permit>)>>,
    answers: Vec<Control>,
    dead: BTreeMap<Lane, Vec<Number>>,
    tried: HashMap<Lane, Tried>,
    seat: Seat,
    pauses: Pauses,
    /// When it was last logged that a packet is too long.
    too_long_said: Seldom,
}

impl Session {
    /// A session on a socket that was just accepted.
    #[must_use]
    pub fn new(
        id: SessionId,
        stream: std::net::TcpStream,
        peer: SocketAddr,
        options: SessionOptions,
        ports: SessionPorts,
        board: Roster,
        seat: Seat,
    ) -> Self {
        let limits = options.limits;
        let lanes_max = limits.lanes_max as usize;
        let frame_bytes_max = u64::from(limits.frame_bytes_max);
        Self {
            id,
            inbox: Inbox::new(lanes_max, options.lane_window_bytes, frame_bytes_max),
            options,
            ports,
            peer,
            board,
            stream: Some(stream),
            writer: None,
            reading: None,
            heartbeat: Heartbeat::new(clock::now(), PING_AFTER, DEAD_AFTER),
            pulse: Pulse::new(),
            client: None,
            welcomed: false,
            closing: false,
            queues: HashMap::new(),
            answers: Vec::new(),
            dead: BTreeMap::new(),
            tried: HashMap::new(),
            seat,
            pauses: Pauses::default(),
            too_long_said: Seldom::default(),
        }
    }

    fn listen(&mut self, ctx: &mut Context<Self>) -> std::io::Result<()> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        stream.set_nodelay(true)?;
        let (reading, writing) = stream.into_split();
        let (writer, task) = frame_writer(writing, self.pulse.clone());
        self.writer = Some(writer);
        let written =
            async { task.run(|| ()).await.map_or_else(|e| e.to_string(), |()| "closed".into()) };
        let lost =
            |why: String, session: &mut Self, ctx: &mut Context<Self>| session.leave(&why, ctx);
        ctx.spawn(written.into_actor(self).map(lost));
        let (heard, memory) = (ctx.address(), self.options.memory.clone());
        let reader =
            FrameReader::new(reading, self.options.limits.frame_bytes_max, self.pulse.clone())
                .sharing(self.options.half_frames.clone());
        let hear = async move |frames: Vec<Frame>| {
            let mut carried = Vec::with_capacity(frames.len());
            for frame in frames {
                let permit = match &frame {
                    Frame::Run { run, .. } => match memory.try_take(run.encoded().len()) {
                        Some(permit) => Some(permit),
                        None => {
                            // What has its place already goes on first: it may be what frees ours.
                            let ready = Heard(std::mem::take(&mut carried));
                            if heard.send(ready).await.is_err() {
                                return false;
                            }
                            memory.take(run.encoded().len()).await
                        }
                    },
                    Frame::Control(_) => None,
                };
                carried.push((frame, permit));
            }
            heard.send(Heard(carried)).await.is_ok()
        };
        let read = async { reader.pump(hear).await };
        let ended = |end: ReadEnd, session: &mut Self, ctx: &mut Context<Self>| match end.offence()
        {
            Some(offence) => session.throw_out(offence, &end.to_string(), ctx),
            None => session.leave(&end.to_string(), ctx),
        };
        self.reading = Some(ctx.spawn(read.into_actor(self).map(ended)));
        Ok(())
    }

    fn refuse(&self, code: RefusedCode, message: String, retry_after_ms: Option<u64>) {
        self.refuse_for(reason_of(code), code, message, retry_after_ms);
    }

    fn refuse_for(
        &self,
        reason: &'static str,
        code: RefusedCode,
        message: String,
        retry_after_ms: Option<u64>,
    ) {
        self.seat.refused(reason);
        let refused = Control::Refused(Refused { code, message, retry_after_ms });
        if let Some(writer) = &self.writer {
            // A peer that does not even read this is closed all the same.
            let _said = writer.controls(&[refused]);
        }
    }

    /// The connection ends because of what the peer did, or did not do, in a word for the metrics.
    fn throw_out(&mut self, offence: &'static str, why: &str, ctx: &mut Context<Self>) {
        if !self.closing {
            self.seat.refused(offence);
            self.leave(why, ctx);
        }
    }

    /// The connection ends; the session goes on until its last attempt has ended.
    fn leave(&mut self, why: &str, ctx: &mut Context<Self>) {
        if self.closing {
            return;
        }
        self.closing = true;
        tracing::info!(client = self.client_name(), peer = %self.peer, why, "disconnected");
        if let Some(reading) = self.reading.take() {
            ctx.cancel_future(reading);
        }
        if let Some(writer) = self.writer.take() {
            // It sends what is queued, then ends. A peer that is gone does not hear the reason.
            let _said = writer.controls(&[Control::Bye(why.to_owned())]);
        }
        self.inbox.close();
        self.queues.clear();
        self.board.remove(self.id);
        if let Some(hello) = &self.client {
            self.board.fleet().left(self.id, hello);
        }
        // Lanes in which nothing runs are free for the next session at once.
        let busy: BTreeSet<Lane> = self.inbox.attempts().collect();
        let idle: Vec<Lane> = self.inbox.lanes().filter(|lane| !busy.contains(lane)).collect();
        self.release(idle);
        self.finish(ctx);
    }

    fn release(&self, lanes: impl IntoIterator<Item = Lane>) {
        let lanes: Vec<LaneKey> = lanes.into_iter().filter_map(|lane| self.key(lane)).collect();
        if !lanes.is_empty() {
            self.ports.release.do_send(Release { session: self.id, lanes });
        }
    }

    /// Ends once no attempt is running any more.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        if self.inbox.attempts().next().is_some() {
            return;
        }
        if let Some(hello) = &self.client {
            self.ports.gone.do_send(Gone { session: self.id, spool: hello.spool });
        }
        // One more turn of the loop lets the writer take what was queued.
        ctx.run_later(FAREWELL, |_, ctx| ctx.stop());
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        let now = clock::now();
        self.heartbeat.heard(self.pulse.felt());
        match self.heartbeat.poll(now) {
            Some(Beat::Dead) => return self.throw_out("silent", "the client is silent", ctx),
            Some(Beat::Ping) => {
                self.answers.push(Control::Ping(now.0));
                self.act(ctx);
            }
            None => {}
        }
        let wait = Duration::from(self.heartbeat.deadline().since(now));
        ctx.run_later(wait, Session::beat);
    }

    fn key(&self, lane: Lane) -> Option<LaneKey> {
        self.client.as_ref().map(|hello| LaneKey { spool: hello.spool, lane })
    }

    fn client_name(&self) -> &str {
        self.client.as_ref().map_or("?", |hello| hello.client.as_str())
    }
}

/// How long the last frames may take on their way out.
const FAREWELL: Duration = Duration::from_millis(200);

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.listen(ctx) {
            return self.leave(&format!("the socket cannot be used: {error}"), ctx);
        }
        let greeted = |session: &mut Self, ctx: &mut Context<Self>| {
            if session.client.is_none() {
                session.throw_out("no-hello", "no hello came in time", ctx);
            }
        };
        ctx.run_later(GREETING, greeted);
        self.beat(ctx);
    }
}

impl Handler<AdmitAnswer> for Session {
    type Result = ();

    fn handle(&mut self, answer: AdmitAnswer, ctx: &mut Self::Context) {
        let Some(hello) = self.client.as_ref().filter(|_| !self.closing) else { return };
        match answer.admitted {
            Ok(Admitted::Yes(known)) => {
                who::tell(hello, self.peer, &known);
                self.board.fleet().came(self.id, hello, self.peer);
                let asked = ctx.address().recipient();
                if let Some(twin) =
                    self.board.insert(self.id, SessionFacts::new(hello, self.peer), asked)
                {
                    who::tell_of_twin(hello, self.peer, &twin);
                }
                self.answers.push(Control::Welcome(Welcome {
                    version: VERSION.min(hello.version),
                    ledger: answer.ledger,
                    opened: hello.opened,
                    limits: self.options.limits,
                    capabilities: vec![status::CAPABILITY.to_owned()],
                    program: concat!("paquebot ", env!("CARGO_PKG_VERSION")).to_owned(),
                }));
                self.welcomed = true;
                self.act(ctx);
            }
            Ok(Admitted::Rekey) => {
                let message = format!(
                    "the ledger knows another opening of spool {}: a copy of it is or was at work",
                    hello.spool
                );
                self.refuse(RefusedCode::Rekey, message, None);
                self.leave("its spool is a copy, or was restored", ctx);
            }
            Err(error @ LedgerError::TooManySpools { .. }) => {
                let (code, message) = (RefusedCode::Busy, error.to_string());
                if self.seat.may_tell() {
                    tracing::error!(client = self.client_name(), peer = %self.peer, %error,
                        "a client is refused that comes under ever new spools: does it lose its \
                         data_dir with each start?");
                }
                self.refuse_for("spools", code, message, Some(SPOOLS_RETRY_MS));
                self.leave("it has too many spools", ctx);
            }
            Err(error) => {
                self.refuse(RefusedCode::Busy, error.to_string(), Some(BUSY_RETRY_MS));
                self.leave("the ledger did not answer", ctx);
            }
        }
    }
}

impl Handler<Superseded> for Session {
    type Result = ();

    fn handle(&mut self, _: Superseded, ctx: &mut Self::Context) {
        let message = "a newer connection of the same spool took over".to_owned();
        self.refuse(RefusedCode::Superseded, message, None);
        self.leave("a newer connection of the same spool took over", ctx);
    }
}

/// The server is stopping: say so, and let attempts end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Dismiss;

impl Handler<Dismiss> for Session {
    type Result = ();

    fn handle(&mut self, _: Dismiss, ctx: &mut Self::Context) {
        self.leave("the server is stopping", ctx);
    }
}
