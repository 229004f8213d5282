//! The client's part: spool, persistence, connection, sources, in this order; stopped the other way.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Actor, Addr, Recipient};
use actix_rt::{Arbiter, ArbiterHandle};
use paquebot_actors::connection::{
    Buried, Connection, ConnectionOptions, ConnectionPorts, Ended, Hangup, Priorities, SpoolTime,
    Standings, StoredRuns,
};
use paquebot_actors::link::LinkBoard;
use paquebot_actors::lookout::{Lookout, SpoolBoard};
use paquebot_actors::meters::{ClientMeters, CommitMeters};
use paquebot_actors::permit::Purse;
use paquebot_actors::persistence::Persistence;
use paquebot_actors::receipts::Receipts;
use paquebot_actors::source::{
    Condition, HttpListener, HttpOptions, HttpSource, LibraryLoad, LibraryReport, LibrarySource,
    Lifetimes, OnError, Outlet, Recipe, StopSource, TailOptions, Template, TimerOptions, Worker,
    directory, exec, host, stdin, tail, timer,
};
use paquebot_store::{
    Committed, FileDisk, Identity, LanePolicy, LaneState, Opened, Policies, Spool, SpoolOptions,
    WhenFull,
};

use tokio::sync::oneshot;

use super::{step, store_failure};
use crate::admin::ClientView;
use crate::cli;
use crate::config::{self, Listen, SourceKind};
use crate::exit::{Code, Failure};
use crate::unix_socket;

/// Packets on their way from the sources to the disk.
const SOURCE_MEMORY_BYTES: u64 = 32 * 1024 * 1024;

/// How long the connection may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// The running client.
#[derive(Debug)]
pub struct ClientPart {
    spool: Spool,
    connection: Addr<Connection>,
    sources: Vec<(String, Recipient<StopSource>)>,
    memory: Purse,
    outlet: Outlet,
    view: ClientView,
    /// Where persistence and the connection live.
    arbiter: ArbiterHandle,
    sources_arbiter: ArbiterHandle,
}

impl ClientPart {
    /// Opens the spool and starts everything above it.
    ///
    /// # Errors
    /// When the spool cannot be opened or a source's address not be bound.
    pub fn start(config: &config::Client, targets_max: u64) -> Result<Self, Failure> {
        let link: Arc<OnceLock<Addr<Connection>>> = Arc::default();
        let targets_max = usize::try_from(targets_max).unwrap_or(usize::MAX);
        let told: Arc<OnceLock<ClientMeters>> = Arc::default();
        let receipts = Receipts::default();
        let (spool, opened) = open(config, Arc::clone(&link), Arc::clone(&told), receipts.clone())?;
        let Opened { identity, made_for, lanes, letters, retired, notes, damage } = opened;
        let meters = ClientMeters::new(targets_max, spool.counts());
        meters.carry(&retired);
        // As the cell of the connection, below.
        drop(told.set(meters.clone()));
        for note in notes {
            tracing::info!("spool: {note}");
        }
        for damage in damage {
            tracing::error!("spool: {damage}");
        }
        if let Some(letters) = letters.filter(|letters| letters.pending_packets > 0) {
            tracing::warn!(
                dead_letters = letters.pending_packets,
                "client: packets that the server could not take: see paquebot dead-letters"
            );
        }
        announce(config, &identity, lanes.iter().map(|lane| lane.pending_packets).sum());
        if let Some(before) = made_for.filter(|before| *before != config.id) {
            tracing::warn!(client = %config.id, %before, spool = %identity.spool,
                "the client was renamed: its spool was made under another `client.id`; packets and \
                 numbers stay, rights at the server go by the new name");
        }
        let arbiter = Arbiter::new().handle();
        receipts.begin(&lanes);
        let door = Persistence::new(spool.clone(), receipts.clone());
        let persistence = Persistence::start_in_arbiter(&arbiter, |_| door);
        let board = LinkBoard::default();
        let options = ConnectionOptions {
            client: config.id.clone(),
            servers: config.servers.iter().map(ToString::to_string).collect(),
            ping: config.ping,
            silence: config.silence,
            reconnect_initial: config.reconnect.initial,
            reconnect_max: config.reconnect.max,
            separate_ledgers: config.separate_ledgers,
            priorities: priorities(config),
            now: {
                let spool = spool.clone();
                SpoolTime(Arc::new(move || spool.now()))
            },
        };
        let ports = ConnectionPorts {
            read: persistence.clone().recipient(),
            prove: persistence.clone().recipient(),
            drop_through: persistence.clone().recipient(),
            doom: persistence.clone().recipient(),
            expire: persistence.clone().recipient(),
            remember: persistence.clone().recipient(),
            forget: persistence.clone().recipient(),
            rekey: persistence.clone().recipient(),
        };
        let connection =
            Connection::new(options, ports, identity, lanes, meters.clone(), board.clone());
        let connection = Connection::start_in_arbiter(&arbiter, |_| connection);
        // The cell is empty until here and filled once.
        drop(link.set(connection.clone()));
        let found = SpoolBoard::default();
        let lookout = Lookout::new(spool.clone(), found.clone(), connection.clone().recipient());
        Lookout::start_in_arbiter(&arbiter, |_| lookout);
        let memory = Purse::new(SOURCE_MEMORY_BYTES);
        let packet_bytes_max = usize::try_from(config.max_packet_bytes).unwrap_or(usize::MAX);
        let outlet = Outlet::new(
            &persistence,
            receipts,
            memory.clone(),
            packet_bytes_max,
            meters.clone(),
            lifetimes(config),
        );
        let view = ClientView {
            id: config.id.clone(),
            identity,
            spool: spool.clone(),
            board,
            found,
            meters,
            standings: Standings::of(&connection),
            outlet: outlet.clone(),
        };
        let sources_arbiter = Arbiter::new().handle();
        let sources = Vec::new();
        let mut part =
            Self { spool, connection, sources, memory, outlet, view, arbiter, sources_arbiter };
        for source in &config.sources {
            part.start_source(source)?;
        }
        Ok(part)
    }

    /// What observers may see.
    #[must_use]
    pub fn view(&self) -> ClientView {
        self.view.clone()
    }

    /// Starts the source `library`, beside the actors that carry its packets: between them nobody has
    /// to wake another thread.
    #[must_use]
    pub fn start_library(
        &self,
        load: LibraryLoad,
        done: oneshot::Sender<LibraryReport>,
    ) -> Addr<LibrarySource> {
        let source = LibrarySource::new(load, self.outlet.clone(), done);
        LibrarySource::start_in_arbiter(&self.arbiter, |_| source)
    }

    /// The spool, for measurements.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    fn start_source(&mut self, source: &config::Source) -> Result<(), Failure> {
        let doing = format!("source {}: no thread for it", source.name);
        let failed = || Failure::of::<std::io::Error>(Code::Io, &doing);
        let outlet = self.outlet.clone();
        let worker = match &source.kind {
            SourceKind::Http { listen, max_connections, allow_origins, recipe } => {
                let recipe = recipe.as_ref().map(|recipe| recipe_of(source, recipe)).transpose()?;
                let options = HttpOptions {
                    name: source.name.clone(),
                    allow_origins: allow_origins.clone(),
                    recipe,
                    ttl: source.ttl,
                    parse_duration: cli::duration,
                };
                return self.start_http(options, listen, *max_connections);
            }
            SourceKind::Tail { paths, start_at, lines, recipe } => {
                let (paths, start_at, lines) = (paths.clone(), *start_at, *lines);
                let options = TailOptions { paths, start_at, lines };
                tail::start(options, recipe_of(source, recipe)?, outlet).map_err(failed())?
            }
            SourceKind::Directory { options, recipe } => {
                let recipe = recipe_of(source, recipe)?;
                directory::start(options.clone(), recipe, outlet).map_err(failed())?
            }
            SourceKind::Exec { options, recipe } => {
                let recipe = recipe_of(source, recipe)?;
                exec::start(options.clone(), recipe, outlet).map_err(failed())?
            }
            SourceKind::Timer { ticks, data, recipe } => {
                let data = compiled(source, data)?;
                let options = TimerOptions { ticks: ticks.clone(), data };
                timer::start(options, recipe_of(source, recipe)?, outlet).map_err(failed())?
            }
            SourceKind::Host { options, recipe } => {
                let recipe = recipe_of(source, recipe)?;
                host::start(options.clone(), recipe, outlet).map_err(failed())?
            }
            SourceKind::Stdin { lines, recipe } => {
                stdin::start(*lines, recipe_of(source, recipe)?, outlet).map_err(failed())?
            }
        };
        let address = Worker::start_in_arbiter(&self.sources_arbiter, |_| worker);
        self.sources.push((source.name.clone(), address.recipient()));
        Ok(())
    }

    fn start_http(
        &mut self,
        options: HttpOptions,
        listen: &Listen,
        max_connections: u64,
    ) -> Result<(), Failure> {
        let connections_max = usize::try_from(max_connections).unwrap_or(usize::MAX);
        let name = options.name.clone();
        let doing = format!("source {name}: listening on {listen} failed");
        let failed = || Failure::of::<std::io::Error>(Code::Io, &doing);
        let listener = match listen {
            Listen::Tcp(address) => {
                let socket =
                    TcpListener::bind((address.host(), address.port())).map_err(failed())?;
                HttpListener::Tcp(socket, connections_max)
            }
            Listen::Unix(path) => {
                HttpListener::Unix(unix_socket::bind(path).map_err(failed())?, connections_max)
            }
        };
        let actor = HttpSource::start(options, listener, self.outlet.clone()).map_err(failed())?;
        let address = HttpSource::start_in_arbiter(&self.sources_arbiter, |_| actor);
        tracing::info!(source = name, listen = %listen, "takes packets over HTTP");
        self.sources.push((name, address.recipient()));
        Ok(())
    }

    /// No new input, the last commit answered, goodbye said, the spool closed.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        for (name, source) in self.sources {
            let stopped = step("sources answer what they have", source.send(StopSource)).await;
            tracing::debug!(source = name, ?stopped, "source stopped");
        }
        step("packets reach the disk", self.memory.drained()).await;
        step("the connection says goodbye", self.connection.send(Hangup)).await;
        let gone = async {
            while self.connection.connected() {
                actix_rt::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // A server that does not read the goodbye sees the end of the connection.
        drop(actix_rt::time::timeout(FAREWELL, gone).await);
        let spool = self.spool;
        let closed =
            step("the spool closes", actix_rt::task::spawn_blocking(move || spool.close()));
        match closed.await {
            Some(Ok(Err(why))) => {
                Err(Failure::new(Code::Io, format!("closing the spool failed: {why}")))
            }
            _ => Ok(()),
        }
    }
}

fn open(
    config: &config::Client,
    link: Arc<OnceLock<Addr<Connection>>>,
    meters: Arc<OnceLock<ClientMeters>>,
    receipts: Receipts,
) -> Result<(Spool, Opened), Failure> {
    let lanes_max = usize::try_from(config.spool.max_lanes).unwrap_or(usize::MAX);
    let mut options = SpoolOptions::new(config.data_dir.clone(), config.spool.max_bytes, lanes_max);
    options.policies = keeping(config);
    options.client = Some(config.id.clone());
    options.retire_after = config.spool.retire_after;
    let commits = CommitMeters::new("spool");
    // Lanes may end, and go, before there is a connection or a meter to tell.
    let (mut ended, mut gone) = (Vec::new(), Vec::new());
    let on_commit = move |committed: Committed| {
        let Committed { runs, packets, buried, retiring, retired, notes, took } = committed;
        ended.extend(retiring);
        gone.extend(retired);
        if let Some(meters) = meters.get() {
            gone.drain(..).for_each(|lane: LaneState| meters.retired(&lane));
        }
        for note in notes {
            tracing::error!("spool: {note}");
        }
        if packets > 0 {
            commits.committed(took, packets);
        }
        receipts.buried(&buried);
        if let Some(connection) = link.get() {
            if !ended.is_empty() {
                connection.do_send(Ended(std::mem::take(&mut ended)));
            }
            if !buried.is_empty() {
                connection.do_send(Buried(buried));
            }
            if !runs.is_empty() {
                connection.do_send(StoredRuns(runs));
            }
        }
    };
    Spool::open(options, Arc::new(FileDisk), Box::new(on_commit))
        .map_err(|error| store_failure(&error))
}

/// How packets are kept when there is no room, as the config says.
fn keeping(config: &config::Client) -> Policies {
    let (policies, usual) = (config.policies.clone(), config.spool.when_full);
    Policies(Arc::new(move |target| {
        let policy = config::Policy::of(&policies, target);
        let when_full = match policy.and_then(|policy| policy.when_full).unwrap_or(usual) {
            config::WhenFull::Reject => WhenFull::Reject,
            config::WhenFull::Block => WhenFull::Block,
            config::WhenFull::DropOldest => WhenFull::DropOldest,
        };
        LanePolicy { when_full, max_bytes: policy.and_then(|policy| policy.max_bytes) }
    }))
}

/// How early packets are sent, as the config says.
fn priorities(config: &config::Client) -> Priorities {
    let policies = config.policies.clone();
    Priorities(Arc::new(move |target| {
        let policy = config::Policy::of(&policies, target);
        policy.map(|policy| policy.priority).unwrap_or_default()
    }))
}

/// For how long packets are worth sending, as the config says.
fn lifetimes(config: &config::Client) -> Lifetimes {
    let policies = config.policies.clone();
    Lifetimes(Arc::new(move |target| config::Policy::of(&policies, target)?.ttl))
}

/// A source's recipe, compiled. The config has compiled it before.
fn recipe_of(source: &config::Source, recipe: &config::Recipe) -> Result<Recipe, Failure> {
    let fields = source.kind.fields();
    let failed = |why: String| Failure::new(Code::Config, format!("source {}: {why}", source.name));
    let template = |text: &String| compiled(source, text);
    let when = recipe.when.as_ref();
    let headers = recipe.headers.iter();
    Ok(Recipe {
        source: source.name.clone(),
        when: when.map(|text| Condition::parse(text, fields).map_err(failed)).transpose()?,
        target: template(&recipe.target)?,
        headers: headers
            .map(|(name, text)| Ok((name.clone(), template(text)?)))
            .collect::<Result<_, Failure>>()?,
        content_type: recipe.content_type.as_ref().map(template).transpose()?,
        ttl: source.ttl,
        on_error: match recipe.on_error {
            config::OnError::Send => OnError::Send,
            config::OnError::Drop => OnError::Drop,
        },
        target_on_error: recipe.target_on_error.clone(),
    })
}

/// A template of a source, compiled. The config has compiled it before.
fn compiled(source: &config::Source, text: &str) -> Result<Template, Failure> {
    let failed = |why: String| Failure::new(Code::Config, format!("source {}: {why}", source.name));
    Template::parse(text, source.kind.fields()).map_err(failed)
}

fn announce(config: &config::Client, identity: &Identity, pending: u64) {
    tracing::info!(
        client = %config.id, spool = %identity.spool, opened = identity.opened, pending,
        data_dir = %config.data_dir.display(), max_bytes = config.spool.max_bytes,
        "client: packets are stored here"
    );
    if identity.opened == 1 {
        tracing::info!(
            spool = %identity.spool, data_dir = %config.data_dir.display(),
            "client: a new spool was made, because there was none: this is the first start here, or \
             the directory was removed, and what was in it and not yet sent is gone with it"
        );
    }
}
