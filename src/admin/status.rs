//! What observers may see of a client and of a server: status, readiness, and gauges for a scrape.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use metrics::gauge;
use paquebot_actors::connection::{LaneStanding, Standings};
use paquebot_actors::handler::{HandlerBoard, HandlerState};
use paquebot_actors::link::LinkBoard;
use paquebot_actors::lookout::{self, SpoolBoard};
use paquebot_actors::meters::{ClientMeters, Delivery, ServerMeters};
use paquebot_actors::replay::ReplayDesk;
use paquebot_actors::roster::{Roster, SessionFacts};
use paquebot_actors::source::Outlet;
use paquebot_actors::{clock, link};
use paquebot_protocol::route::RouteTable;
use paquebot_protocol::{ClientId, LedgerId};
use paquebot_store::{FullOf, Identity, LaneState, Ledger, Spool, SpoolFull};
use schemars::JsonSchema;
use serde::Serialize;

use super::answers::PauseFacts;

/// Lanes that `status` lists; the busiest.
const LANES_SHOWN_MAX: usize = 100;

/// A client as observers see it.
#[derive(Debug, Clone)]
pub struct ClientView {
    /// Its name.
    pub id: ClientId,
    /// Its spool, as it was opened.
    pub identity: Identity,
    /// Its store.
    pub spool: Spool,
    /// Where its connection stands.
    pub board: LinkBoard,
    /// How full its spool is, and how old its packets are.
    pub found: SpoolBoard,
    /// What it counts.
    pub meters: ClientMeters,
    /// How its lanes stand on the connection.
    pub standings: Standings,
    /// The way in for packets that come through the admin socket.
    pub outlet: Outlet,
}

/// A server as observers see it.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its ledger.
    pub ledger: LedgerId,
    /// Its store.
    pub store: Ledger,
    /// What it counts beside packets.
    pub meters: ServerMeters,
    /// Who is connected.
    pub board: Roster,
    /// Where it listens.
    pub listening: SocketAddr,
    /// What it has.
    pub handlers: Vec<HandlerView>,
    /// Which of its handlers takes which targets.
    pub routes: RouteTable,
    /// The way to its handlers for dead letters.
    pub replays: ReplayDesk,
}

/// A handler as observers see it.
#[derive(Debug, Clone)]
pub struct HandlerView {
    /// Its name.
    pub name: String,
    /// What it does with packets: its `kind` in the config.
    pub kind: &'static str,
    /// What it takes.
    pub targets: Vec<String>,
    /// How it is.
    pub board: HandlerBoard,
}

/// The client's part of `/v1/status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClientStatus {
    id: String,
    spool: String,
    replaces: Option<String>,
    opened: u64,
    connection: ConnectionStatus,
    pending_packets: u64,
    pending_bytes: u64,
    spool_file_bytes: u64,
    spool_max_bytes: u64,
    spool_segments: usize,
    /// What is held of what fits, with packets as they came lately: 1 is full.
    spool_fill_ratio: f64,
    /// When it is full at the rate of the last minute; null when it does not fill.
    spool_seconds_left: Option<f64>,
    /// What the disk has left.
    disk_available_bytes: Option<u64>,
    /// For how long the oldest packet waits.
    oldest_packet_age_seconds: f64,
    /// That packets are refused, or wait for room.
    full: Option<FullStatus>,
    /// Packets that its server can never take.
    dead_letters: u64,
    dead_letters_bytes: u64,
    failed: Option<String>,
    quarantine: QuarantineStatus,
    lanes: Vec<LaneStatus>,
    lanes_total: usize,
    /// Those that are gone, since the spool was made.
    lanes_retired: u64,
}

/// There is no room for packets.
#[derive(Debug, Serialize, JsonSchema)]
struct FullStatus {
    /// `spool-full`, `target-full` or `disk-full`.
    reason: &'static str,
    /// Since when, RFC 3339.
    since: String,
    /// How many packets were refused for that since.
    refused_packets: u64,
    /// What that means.
    means: String,
    /// What to do.
    advice: &'static str,
}

/// Damaged bytes that were put aside and declared; the client is ready all the same.
#[derive(Debug, Serialize, JsonSchema)]
struct QuarantineStatus {
    files: usize,
    last: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ConnectionStatus {
    state: &'static str,
    server: String,
    since: String,
    last_error: Option<String>,
    /// When the next attempt is made, RFC 3339, while it is waited for.
    next_try: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LaneStatus {
    lane: u64,
    target: String,
    acked_through: u64,
    next: u64,
    pending_packets: u64,
    pending_bytes: u64,
    dead_lettered: u64,
    /// How many of those that wait were sent on this connection, and have no outcome yet.
    in_flight: u64,
    /// Why it waits, by the server's word.
    pause: Option<PauseFacts>,
}

/// The server's part of `/v1/status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServerStatus {
    ledger: String,
    listening: String,
    clients: Vec<SessionFacts>,
    handlers: Vec<HandlerStatus>,
    dead_letters: u64,
    dead_letters_bytes: u64,
    /// By how they went, since the ledger was made.
    dead_letters_gone: BTreeMap<String, u64>,
    ledger_file_bytes: u64,
    failed: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
/// How a handler is.
pub struct HandlerStatus {
    name: String,
    kind: &'static str,
    targets: Vec<String>,
    #[serde(flatten)]
    state: HandlerState,
}

impl HandlerView {
    pub(super) fn status(&self) -> HandlerStatus {
        let (name, targets) = (self.name.clone(), self.targets.clone());
        HandlerStatus { name, kind: self.kind, targets, state: self.board.read() }
    }
}

impl ClientView {
    /// Everything about the client.
    #[must_use]
    pub async fn status(&self) -> ClientStatus {
        let spool = self.spool.status();
        let identity = spool.identity.unwrap_or(self.identity);
        let mut lanes = self.spool.lane_states();
        let lanes_total = lanes.len();
        lanes.sort_by_key(|lane| std::cmp::Reverse((lane.pending_packets, lane.next)));
        lanes.truncate(LANES_SHOWN_MAX);
        let waiting = lanes.iter().filter(|lane| lane.pending_packets > 0);
        let standings = self.standings.lanes(waiting.map(|lane| lane.lane).collect()).await;
        // The busiest come first, so that those that hold nothing have none.
        let standings = standings.into_iter().chain(std::iter::repeat(None));
        let lanes = lanes.iter().zip(standings).map(|(lane, how)| LaneStatus::of(lane, how));
        let lanes = lanes.collect();
        let link::LinkState { state, server, since_ms, last_error, next_try_ms } =
            self.board.read();
        let since = clock::rfc3339(since_ms);
        let found = self.found.read(&self.spool);
        let next_try = next_try_ms.map(clock::rfc3339);
        ClientStatus {
            id: self.id.to_string(),
            spool: identity.spool.to_string(),
            replaces: identity.replaces.map(|spool| spool.to_string()),
            opened: identity.opened,
            connection: ConnectionStatus { state, server, since, last_error, next_try },
            pending_packets: spool.pending_packets,
            pending_bytes: spool.pending_bytes,
            spool_file_bytes: spool.file_bytes,
            spool_max_bytes: spool.max_bytes,
            spool_segments: spool.segments,
            spool_fill_ratio: found.fill_ratio,
            spool_seconds_left: found.seconds_left,
            disk_available_bytes: found.disk_bytes,
            oldest_packet_age_seconds: found.oldest_age_ms() as f64 / 1_000.0,
            full: spool.full.map(FullStatus::from),
            dead_letters: spool.dead_letters,
            dead_letters_bytes: spool.dead_letters_bytes,
            failed: spool.failed,
            quarantine: QuarantineStatus {
                files: spool.quarantine.files,
                last: spool.quarantine.last,
            },
            lanes,
            lanes_total,
            lanes_retired: spool.retired.lanes,
        }
    }

    /// Why the client is not ready, in a word.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        let status = self.spool.status();
        match status.full.map(|full| full.of) {
            Some(of @ (FullOf::Spool | FullOf::Lanes | FullOf::Disk)) => Some(lookout::reason(&of)),
            // Packets to other targets are taken.
            Some(FullOf::Target(_)) | None => status.failed.map(|_| "store-failed"),
        }
    }

    /// Brings gauges up to date.
    pub fn sample(&self) {
        let found = self.found.read(&self.spool);
        self.meters.sample(&self.spool.status(), &found, || self.spool.lane_states());
    }
}

impl ServerView {
    /// Everything about the server.
    #[must_use]
    pub fn status(&self) -> ServerStatus {
        let ledger = self.store.status();
        ServerStatus {
            ledger: self.ledger.to_string(),
            listening: self.listening.to_string(),
            clients: self.board.read(),
            handlers: self.handlers.iter().map(HandlerView::status).collect(),
            dead_letters: ledger.dead_letters,
            dead_letters_bytes: ledger.dead_letters_bytes,
            dead_letters_gone: ledger.dead_letters_gone,
            ledger_file_bytes: ledger.file_bytes,
            failed: ledger.failed,
        }
    }

    /// Why the server is not ready, in a word.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        let ledger = self.store.status();
        let broken = || ledger.failed.as_ref().map(|_| "ledger-failed");
        if ledger.disk_full { Some("disk-full") } else { broken() }
    }

    /// Brings gauges up to date.
    pub fn sample(&self) {
        let ledger = self.store.status();
        gauge!("paquebot_server_clients").set(self.board.len() as f64);
        self.meters.sample(self.board.fleet().gauges().into_iter());
        for of in ledger.dead_letters_of {
            let handler = of.handler;
            gauge!("paquebot_server_dead_letters", "handler" => handler.clone())
                .set(of.count as f64);
            gauge!("paquebot_server_dead_letters_bytes", "handler" => handler).set(of.bytes as f64);
        }
    }
}

impl ServerView {
    /// How long deliveries took, as metrics show it.
    pub(super) fn deliveries(&self) -> String {
        let of = |handler: &HandlerView| handler.board.delivery().clone();
        Delivery::render(self.handlers.iter().map(|one| (one.name.as_str(), of(one))))
    }
}

impl From<SpoolFull> for FullStatus {
    fn from(full: SpoolFull) -> Self {
        let (means, advice) = lookout::in_words(&full.of);
        Self {
            reason: lookout::reason(&full.of),
            since: clock::rfc3339(full.since_ms),
            refused_packets: full.refused,
            means,
            advice,
        }
    }
}

impl LaneStatus {
    fn of(state: &LaneState, standing: Option<LaneStanding>) -> Self {
        let sent = standing.as_ref().map(|standing| standing.sent_through);
        let sent = sent.filter(|sent| *sent > state.acked_through);
        let in_flight = sent.map_or(0, |sent| sent.since(state.acked_through));
        Self {
            lane: state.lane.0,
            target: state.target.to_string(),
            acked_through: state.acked_through.0,
            next: state.next.0,
            pending_packets: state.pending_packets,
            pending_bytes: state.pending_bytes,
            dead_lettered: state.totals.dead_lettered,
            in_flight: in_flight.min(state.pending_packets),
            pause: standing.and_then(|standing| standing.pause).map(PauseFacts::of),
        }
    }
}
