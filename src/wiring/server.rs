//! The server's part: ledger, handlers, router, listener, in this order; stopped the other way.

use std::net::TcpListener;
use std::sync::Arc;

use actix::{Actor, Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle};
use paquebot_actors::handler::{
    DeadLetterUnknown, Discard, FileFormat, FileHandler, FileOptions, FinishFile, FinishHttp,
    Handle, HandlerBoard, HandlerMeters, HttpHandler, HttpHandlerOptions, RealDisk, Rotation,
};
use paquebot_actors::ledger::{Ledger, Record, Tried};
use paquebot_actors::listener::{Listener, Shut};
use paquebot_actors::permit::Purse;
use paquebot_actors::roster::Roster;
use paquebot_actors::router::{Router, UnknownTarget};
use paquebot_actors::seat::Seats;
use paquebot_actors::session::{SessionOptions, SessionPorts};
use paquebot_actors::share::Shares;
use paquebot_protocol::codec::FRAME_OVERHEAD_BYTES_MAX;
use paquebot_protocol::frame::Limits;
use paquebot_protocol::route::RouteTable;
use paquebot_store::{
    DeadLetterLimits, FileDisk, Ledger as Store, LedgerOpened, LedgerOptions, WhenDeadLettersFull,
};

use super::{step, store_failure};
use crate::admin::{HandlerView, ServerView};
use crate::config::{self, HandlerKind};
use crate::exit::{Code, Failure};

/// Threads for sessions; the first one also has the router and the ledger's door.
const SESSION_THREADS_MAX: usize = 4;

/// The longest run that a client makes of small packets, with room for what is around it.
const RUN_BYTES_MAX: u64 = 1024 * 1024;

/// One lane may have this share of the memory for packets in flight, within bounds.
const LANE_SHARE: u64 = 32;
const LANE_WINDOW_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=8 * 1024 * 1024;

/// One connection may have this share.
const CONNECTION_SHARE: u64 = 8;

/// A handler whose work others do may have this one; the rest is for the others when it hangs.
const HANDLER_SHARE: u64 = 2;

/// Lanes that one client may have open.
const LANES_MAX: u32 = 100_000;

/// The running server.
#[derive(Debug)]
pub struct ServerPart {
    store: Store,
    listener: Addr<Listener>,
    seats: Seats,
    files: Vec<Addr<FileHandler>>,
    posts: Vec<Addr<HttpHandler>>,
    view: ServerView,
}

impl ServerPart {
    /// Opens the ledger and starts everything above it; handlers are up before anyone may connect.
    ///
    /// # Errors
    /// When the ledger cannot be opened, a handler's file not be used, or the address not be bound.
    pub fn start(config: &config::Server) -> Result<Self, Failure> {
        let disk = Arc::new(FileDisk);
        let dead_letters = limits(config.dead_letters);
        let options = LedgerOptions { dir: config.data_dir.clone(), dead_letters };
        let (store, opened) = Store::open(options, disk).map_err(|error| store_failure(&error))?;
        for note in &opened.notes {
            tracing::warn!(note, "server: opening the ledger");
        }
        tracing::info!(ledger = %opened.ledger, data_dir = %config.data_dir.display(),
            "server: outcomes are recorded here");
        if opened.made {
            tracing::info!(ledger = %opened.ledger, data_dir = %config.data_dir.display(),
                "server: a new ledger was made, because there was none: this is the first start here, \
                 or the directory was removed; clients that hold packets for another ledger refuse \
                 this one");
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let arbiters: Vec<ArbiterHandle> =
            (0..threads.clamp(1, SESSION_THREADS_MAX)).map(|_| Arbiter::new().handle()).collect();
        let Some(first) = arbiters.first() else {
            return Err(Failure::new(Code::Internal, "no thread for the server"));
        };
        let door = Ledger::new(store.clone(), opened.ledger)
            .keeping_dead_letters(config.dead_letters.max_age);
        let ledger = Ledger::start_in_arbiter(first, |_| door);
        let mut house = House {
            store: &store,
            opened: &opened,
            first,
            record: ledger.clone().recipient(),
            tried: ledger.clone().recipient(),
            files: Vec::new(),
            posts: Vec::new(),
            boards: Vec::new(),
        };
        let handlers = config.handlers.iter().map(|handler| house.handler(handler));
        let handlers: Vec<Recipient<Handle>> = handlers.collect::<Result<_, _>>()?;
        let unknown = house.unknown(config.unknown_target);
        let (files, posts, boards) = (house.files, house.posts, house.boards);
        let table =
            RouteTable::new(config.handlers.iter().enumerate().flat_map(|(at, handler)| {
                handler.targets.iter().map(move |pattern| (pattern.clone(), at))
            }));
        let shares =
            Shares::new(table.clone(), config.handlers.iter().map(share(config)).collect());
        let router = Router::new(table, handlers, unknown);
        let router = Router::start_in_arbiter(first, |_| router);
        let address = (config.listen.host(), config.listen.port());
        let doing = format!("server: listening on {} failed", config.listen);
        let socket = TcpListener::bind(address).map_err(Failure::of(Code::Io, &doing))?;
        let listening = socket.local_addr().map_err(Failure::of(Code::Io, &doing))?;
        let ports = SessionPorts {
            admit: ledger.clone().recipient(),
            acquire: ledger.clone().recipient(),
            release: ledger.clone().recipient(),
            retire: ledger.clone().recipient(),
            gone: ledger.clone().recipient(),
            record: ledger.recipient(),
            route: router.recipient(),
        };
        let (board, options) = (Roster::default(), session_options(config, shares));
        let seats = Seats::new(usize::try_from(config.max_connections).unwrap_or(usize::MAX));
        let at_first = first.clone();
        let listener =
            Listener::new(socket, seats.clone(), options, ports, board.clone(), arbiters.clone());
        let listener = Listener::start_in_arbiter(&at_first, |_| listener);
        tracing::info!(listen = %listening, "server: takes clients");
        let handlers = config.handlers.iter().zip(boards).map(|(handler, board)| HandlerView {
            name: handler.name.clone(),
            targets: handler.targets.iter().map(ToString::to_string).collect(),
            board,
        });
        let view = ServerView {
            ledger: opened.ledger,
            store: store.clone(),
            board,
            listening,
            handlers: handlers.collect(),
        };
        Ok(Self { store, listener, seats, files, posts, view })
    }

    /// What observers may see.
    #[must_use]
    pub fn view(&self) -> ServerView {
        self.view.clone()
    }

    /// Nobody comes in any more, attempts end, files and the ledger are closed.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        step("sessions are told", self.listener.send(Shut)).await;
        for post in &self.posts {
            step("requests end", post.send(FinishHttp)).await;
        }
        step("attempts end", self.seats.empty()).await;
        for file in self.files {
            let thread = step("handlers finish", file.send(FinishFile)).await;
            if let Some(Ok(Some(thread))) = thread {
                let joined = actix_rt::task::spawn_blocking(move || thread.join().is_ok());
                if let Some(Ok(false)) = step("handlers finish", joined).await {
                    tracing::error!("the thread of a file handler had panicked");
                }
            }
        }
        let store = self.store;
        let closed =
            step("the ledger closes", actix_rt::task::spawn_blocking(move || store.close()));
        match closed.await {
            Some(Ok(Err(why))) => {
                Err(Failure::new(Code::Io, format!("closing the ledger failed: {why}")))
            }
            _ => Ok(()),
        }
    }
}

/// What handlers are made with.
struct House<'a> {
    store: &'a Store,
    opened: &'a LedgerOpened,
    first: &'a ArbiterHandle,
    record: Recipient<Record>,
    tried: Recipient<Tried>,
    files: Vec<Addr<FileHandler>>,
    posts: Vec<Addr<HttpHandler>>,
    boards: Vec<HandlerBoard>,
}

impl House<'_> {
    fn handler(&mut self, handler: &config::Handler) -> Result<Recipient<Handle>, Failure> {
        let board = HandlerBoard::default();
        let (name, meters) = (&handler.name, self.meters(&handler.name, board.clone()));
        self.boards.push(board);
        let targets: Vec<_> = handler.targets.iter().map(ToString::to_string).collect();
        match &handler.kind {
            HandlerKind::File { path, format, rotate } => {
                let format = match format {
                    config::FileFormat::Ndjson => FileFormat::Ndjson,
                    config::FileFormat::Raw => FileFormat::Raw,
                };
                let options = FileOptions {
                    name: name.clone(),
                    path: path.clone(),
                    format,
                    rotation: rotate.map(|config::Rotate { size, every, keep, compress }| {
                        Rotation { size, every, keep, compress }
                    }),
                    retry_initial: handler.retry.initial,
                    retry_max: handler.retry.max,
                };
                let (id, record) = (self.opened.ledger, self.record.clone());
                let disk = Arc::new(RealDisk);
                let doing = format!("handler {name}");
                let actor = FileHandler::open(options, disk, self.store, id, record, meters)
                    .map_err(Failure::of(Code::Io, &doing))?;
                let address = FileHandler::start_in_arbiter(self.first, |_| actor);
                self.files.push(address.clone());
                tracing::info!(handler = name, ?targets, file = %path.display(), "handler: file");
                Ok(address.recipient())
            }
            HandlerKind::Http(destination) => {
                let options = http_options(handler, destination);
                let (record, tried) = (self.record.clone(), self.tried.clone());
                let arbiter = Arbiter::new().handle();
                let make = move |_: &mut _| HttpHandler::new(options, record, tried, meters);
                let address = HttpHandler::start_in_arbiter(&arbiter, make);
                self.posts.push(address.clone());
                tracing::info!(handler = name, ?targets, url = %destination.url, "handler: http");
                Ok(address.recipient())
            }
            HandlerKind::Discard => {
                let actor = Discard::new(name, self.record.clone(), meters);
                tracing::info!(handler = name, ?targets, "handler: discard");
                Ok(Discard::start_in_arbiter(self.first, |_| actor).recipient())
            }
        }
    }

    fn unknown(&self, policy: config::UnknownTarget) -> UnknownTarget {
        if policy == config::UnknownTarget::Hold {
            return UnknownTarget::Hold;
        }
        let meters = self.meters(DeadLetterUnknown::NAME, HandlerBoard::default());
        let actor = DeadLetterUnknown::new(self.record.clone(), meters);
        UnknownTarget::HandTo(
            DeadLetterUnknown::start_in_arbiter(self.first, |_| actor).recipient(),
        )
    }

    fn meters(&self, name: &str, board: HandlerBoard) -> HandlerMeters {
        let known = self.opened.totals.iter().find(|(handler, _)| handler == name);
        let totals = known.map(|(_, totals)| *totals).unwrap_or_default();
        HandlerMeters::new(name, totals.handled, totals.dead_lettered, board)
    }
}

fn limits(config: config::DeadLetters) -> DeadLetterLimits {
    let when_full = match config.when_full {
        config::WhenDeadLettersFull::Pause => WhenDeadLettersFull::Pause,
        config::WhenDeadLettersFull::DropOldest => WhenDeadLettersFull::DropOldest,
    };
    DeadLetterLimits { max_bytes: config.max_bytes, when_full, ..DeadLetterLimits::default() }
}

/// The share of a handler whose work others do.
fn share(config: &config::Server) -> impl Fn(&config::Handler) -> Option<Purse> {
    |handler| match handler.kind {
        HandlerKind::Http(_) => Some(Purse::new(config.memory / HANDLER_SHARE)),
        HandlerKind::File { .. } | HandlerKind::Discard => None,
    }
}

fn http_options(handler: &config::Handler, to: &config::Destination) -> HttpHandlerOptions {
    HttpHandlerOptions {
        name: handler.name.clone(),
        url: to.url.clone(),
        headers: to.headers.clone(),
        rejected_statuses: to.rejected_statuses.clone(),
        timeout: to.timeout,
        concurrency: usize::try_from(to.concurrency).unwrap_or(usize::MAX),
        retry_initial: handler.retry.initial,
        retry_max: handler.retry.max,
        give_up_after: handler.retry.give_up_after,
    }
}

fn session_options(config: &config::Server, shares: Shares) -> SessionOptions {
    let frame_bytes_max = config.max_packet_bytes.saturating_add(FRAME_OVERHEAD_BYTES_MAX.into());
    let frame_bytes_max = frame_bytes_max.max(RUN_BYTES_MAX);
    let lane_window_bytes =
        (config.memory / LANE_SHARE).clamp(*LANE_WINDOW_BYTES.start(), *LANE_WINDOW_BYTES.end());
    SessionOptions {
        limits: Limits {
            frame_bytes_max: u32::try_from(frame_bytes_max).unwrap_or(u32::MAX),
            window_bytes: (config.memory / CONNECTION_SHARE).max(lane_window_bytes),
            lanes_max: LANES_MAX,
        },
        lane_window_bytes,
        memory: Purse::new(config.memory),
        shares,
    }
}
