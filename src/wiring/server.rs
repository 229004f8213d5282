//! The server's part: ledger, handlers, router, listener, in this order; stopped the other way.

use std::net::TcpListener;
use std::sync::Arc;

use actix::{Actor, Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle};
use paquebot_actors::clock;
use paquebot_actors::handler::{
    AskingHandler, AwaitEnd, FileHandler, FinishAsking, FinishFile, Handle, HandlerBoard,
};
use paquebot_actors::ledger::Ledger;
use paquebot_actors::listener::{Listener, Shut};
use paquebot_actors::meters::{ServerMeters, SessionMeters};
use paquebot_actors::permit::Purse;
use paquebot_actors::replay::{ReplayDesk, ReplayPorts, Replayer, StopReplays};
use paquebot_actors::roster::Roster;
use paquebot_actors::router::Router;
use paquebot_actors::seat::Seats;
use paquebot_actors::session::{SessionOptions, SessionPorts};
use paquebot_actors::share::Shares;
use paquebot_protocol::codec::FRAME_OVERHEAD_BYTES_MAX;
use paquebot_protocol::frame::Limits;
use paquebot_protocol::route::RouteTable;
use paquebot_store::{
    DeadLetterLimits, FileDisk, Ledger as Store, LedgerOptions, PausedHandler, WhenDeadLettersFull,
};

use super::handlers::{House, share};
use super::{step, store_failure};
use crate::admin::{HandlerView, ServerView};
use crate::config;
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

/// Long frames that have not come whole have this share for themselves, so that who sends them slowly
/// takes no room from packets.
const HALF_FRAMES_SHARE: u64 = 4;

/// Lanes that one client may have open.
const LANES_MAX: u32 = 100_000;

/// The running server.
#[derive(Debug)]
pub struct ServerPart {
    store: Store,
    listener: Addr<Listener>,
    seats: Seats,
    files: Vec<Addr<FileHandler>>,
    asking: Vec<Addr<AskingHandler>>,
    replayer: Addr<Replayer>,
    view: ServerView,
}

impl ServerPart {
    /// Opens the ledger and starts everything above it; handlers are up before anyone may connect.
    ///
    /// # Errors
    /// When the ledger cannot be opened, a handler's file not be used, or the address not be bound.
    pub fn start(config: &config::Server, clients_max: u64) -> Result<Self, Failure> {
        let clients_max = usize::try_from(clients_max).unwrap_or(usize::MAX);
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
        let board = Roster::default();
        board.fleet().take_up(opened.clients.clone());
        let door = Ledger::new(store.clone(), opened.ledger)
            .keeping_dead_letters(config.dead_letters.max_age)
            .keeping_clients(board.fleet().clone());
        let ledger = Ledger::start_in_arbiter(first, |_| door);
        let mut house = House {
            store: &store,
            opened: &opened,
            first,
            record: ledger.clone().recipient(),
            tried: ledger.clone().recipient(),
            files: Vec::new(),
            asking: Vec::new(),
            boards: Vec::new(),
        };
        let handlers = config.handlers.iter().map(|handler| house.handler(handler));
        let handlers: Vec<Recipient<Handle>> = handlers.collect::<Result<_, _>>()?;
        let unknown = house.unknown(config.unknown_target);
        let (files, asking, boards) = (house.files, house.asking, house.boards);
        let table =
            RouteTable::new(config.handlers.iter().enumerate().flat_map(|(at, handler)| {
                handler.targets.iter().map(move |pattern| (pattern.clone(), at))
            }));
        let shares =
            Shares::new(table.clone(), config.handlers.iter().map(share(config)).collect());
        resume_pauses(&opened.paused, config, &boards);
        let routes = table.clone();
        let handlers = handlers.into_iter().zip(boards.iter().cloned()).collect();
        let router = Router::new(table.clone(), handlers, unknown);
        let router = Router::start_in_arbiter(first, |_| router);
        let replays = ReplayPorts {
            store: store.clone(),
            route: router.clone().recipient(),
            table,
            names: config.handlers.iter().map(|handler| handler.name.clone()).collect(),
        };
        let replayer = Replayer::start_in_arbiter(first, |_| Replayer::new(replays));
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
        let options = session_options(config, shares);
        let connections_max = usize::try_from(config.max_connections).unwrap_or(usize::MAX);
        let seats = Seats::new(connections_max, SessionMeters::new(store.counts()));
        let at_first = first.clone();
        let listener =
            Listener::new(socket, seats.clone(), options, ports, board.clone(), arbiters.clone());
        let listener = Listener::start_in_arbiter(&at_first, |_| listener);
        tracing::info!(listen = %listening, "server: takes clients");
        let handlers = config.handlers.iter().zip(boards).map(|(handler, board)| HandlerView {
            name: handler.name.clone(),
            kind: handler.kind.name(),
            targets: handler.targets.iter().map(ToString::to_string).collect(),
            board,
        });
        let view = ServerView {
            ledger: opened.ledger,
            store: store.clone(),
            meters: ServerMeters::new(clients_max, store.counts()),
            board,
            listening,
            handlers: handlers.collect(),
            routes,
            replays: ReplayDesk::new(replayer.clone()),
        };
        Ok(Self { store, listener, seats, files, asking, replayer, view })
    }

    /// What observers may see.
    #[must_use]
    pub fn view(&self) -> ServerView {
        self.view.clone()
    }

    /// Nobody comes in any more, attempts end, files and the ledger are closed.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        step("sessions are told", self.listener.send(Shut)).await;
        for handler in &self.asking {
            step("nobody is asked any more", handler.send(FinishAsking)).await;
        }
        step("attempts end", self.seats.empty()).await;
        step("replays end", self.replayer.send(StopReplays)).await;
        for handler in &self.asking {
            step("programs end", handler.send(AwaitEnd)).await;
        }
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
        self.view.board.fleet().keep(&store);
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

/// Who was paused before stays so.
fn resume_pauses(paused: &[PausedHandler], config: &config::Server, boards: &[HandlerBoard]) {
    for PausedHandler { handler, since_ms, by } in paused {
        let since = clock::rfc3339(*since_ms);
        match config.handlers.iter().position(|known| known.name == *handler) {
            Some(at) => {
                if let Some(board) = boards.get(at) {
                    board.pause(*since_ms, by);
                }
                tracing::warn!(
                    handler,
                    since,
                    by,
                    "handler: paused by hand, as before the start; its packets wait at their clients"
                );
            }
            None => tracing::warn!(
                handler,
                since,
                by,
                "a handler that was paused by hand is not in the config; the pause is kept"
            ),
        }
    }
}

fn limits(config: config::DeadLetters) -> DeadLetterLimits {
    let when_full = match config.when_full {
        config::WhenDeadLettersFull::Pause => WhenDeadLettersFull::Pause,
        config::WhenDeadLettersFull::DropOldest => WhenDeadLettersFull::DropOldest,
    };
    DeadLetterLimits { max_bytes: config.max_bytes, when_full, ..DeadLetterLimits::default() }
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
        packet_bytes_max: usize::try_from(config.max_packet_bytes).unwrap_or(usize::MAX),
        memory: Purse::new(config.memory - config.memory / HALF_FRAMES_SHARE),
        half_frames: Purse::new(config.memory / HALF_FRAMES_SHARE),
        shares,
    }
}
