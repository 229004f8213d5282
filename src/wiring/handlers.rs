//! The server's handlers: from what the config says to running actors.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle};
use paquebot_actors::handler::{
    AskingHandler, AskingOptions, CommandLine, DeadLetterUnknown, Discard, FileFormat, FileHandler,
    FileOptions, Handle, HandlerBoard, HandlerMeters, Log, RealDisk, Rotation, Whom,
};
use paquebot_actors::ledger::{Record, Tried};
use paquebot_actors::permit::Purse;
use paquebot_actors::router::UnknownTarget;
use paquebot_store::{Ledger as Store, LedgerOpened};

use crate::config::{self, Destination, HandlerKind, LogLevel, Program, ProgramMode};
use crate::exit::{Code, Failure};

/// A handler whose work others do may have this share of the server's memory; the rest is for the
/// others when it hangs.
const HANDLER_SHARE: u64 = 2;

/// What handlers are made with.
pub(super) struct House<'a> {
    pub(super) store: &'a Store,
    pub(super) opened: &'a LedgerOpened,
    pub(super) first: &'a ArbiterHandle,
    pub(super) record: Recipient<Record>,
    pub(super) tried: Recipient<Tried>,
    pub(super) files: Vec<Addr<FileHandler>>,
    pub(super) asking: Vec<Addr<AskingHandler>>,
    pub(super) boards: Vec<HandlerBoard>,
}

impl House<'_> {
    /// Starts one.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub(super) fn handler(
        &mut self,
        handler: &config::Handler,
    ) -> Result<Recipient<Handle>, Failure> {
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
                tracing::info!(handler = name, ?targets, file = path.as_str(), "handler: file");
                Ok(address.recipient())
            }
            HandlerKind::Http(destination) => {
                tracing::info!(handler = name, ?targets, url = %destination.url, "handler: http");
                let Destination { url, headers, rejected_statuses, timeout, .. } = &**destination;
                let whom = Whom::Url {
                    url: url.clone(),
                    headers: headers.clone(),
                    rejected_statuses: rejected_statuses.clone(),
                };
                Ok(self.asking(handler, whom, *timeout, destination.concurrency, meters))
            }
            HandlerKind::Exec(exec) => {
                let Program { program, arguments, dir, mode, timeout, concurrency } = exec;
                tracing::info!(handler = name, ?targets, program = %program.display(), ?mode,
                    "handler: exec");
                let (program, arguments) = (program.clone(), arguments.clone());
                let line = CommandLine { program, arguments, dir: dir.clone() };
                let whom = match mode {
                    ProgramMode::Packet => Whom::Program(line),
                    ProgramMode::Lines => Whom::Process(line),
                };
                Ok(self.asking(handler, whom, *timeout, *concurrency, meters))
            }
            HandlerKind::Log { level } => {
                let level = match level {
                    LogLevel::Trace => tracing::Level::TRACE,
                    LogLevel::Debug => tracing::Level::DEBUG,
                    LogLevel::Info => tracing::Level::INFO,
                    LogLevel::Warn => tracing::Level::WARN,
                    LogLevel::Error => tracing::Level::ERROR,
                };
                tracing::info!(handler = name, ?targets, %level, "handler: log");
                let actor = Log::new(name, level, self.record.clone(), meters);
                let arbiter = Arbiter::new().handle();
                Ok(Log::start_in_arbiter(&arbiter, |_| actor).recipient())
            }
            HandlerKind::Discard => {
                let actor = Discard::new(name, self.record.clone(), meters);
                tracing::info!(handler = name, ?targets, "handler: discard");
                Ok(Discard::start_in_arbiter(self.first, |_| actor).recipient())
            }
        }
    }

    fn asking(
        &mut self,
        handler: &config::Handler,
        whom: Whom,
        timeout: Duration,
        concurrency: u64,
        meters: HandlerMeters,
    ) -> Recipient<Handle> {
        let options = AskingOptions {
            name: handler.name.clone(),
            whom,
            timeout,
            concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
            retry_initial: handler.retry.initial,
            retry_max: handler.retry.max,
            give_up_after: handler.retry.give_up_after,
        };
        let (record, tried) = (self.record.clone(), self.tried.clone());
        let arbiter = Arbiter::new().handle();
        let make = move |_: &mut _| AskingHandler::new(options, record, tried, meters);
        let address = AskingHandler::start_in_arbiter(&arbiter, make);
        self.asking.push(address.clone());
        address.recipient()
    }

    /// Starts what takes packets that no other handler takes.
    pub(super) fn unknown(&self, policy: config::UnknownTarget) -> UnknownTarget {
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
        HandlerMeters::new(name, totals, &self.store.counts(), board)
    }
}

/// The share of a handler whose work others do.
pub(super) fn share(config: &config::Server) -> impl Fn(&config::Handler) -> Option<Purse> {
    |handler| match handler.kind {
        HandlerKind::Http(_) | HandlerKind::Exec(_) => {
            Some(Purse::new(config.memory / HANDLER_SHARE))
        }
        HandlerKind::File { .. } | HandlerKind::Log { .. } | HandlerKind::Discard => None,
    }
}
