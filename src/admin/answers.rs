//! What the admin side answers in JSON, as types: `paquebot schema --api` is made from them.

use paquebot_actors::clock;
use paquebot_actors::connection::Pause;
use paquebot_actors::fleet::ClientFacts;
use schemars::JsonSchema;
use serde::Serialize;

use super::status::{ClientStatus, HandlerStatus, ServerStatus};

/// The answer of `/v1/status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// The client, if this process has one.
    pub client: Option<ClientStatus>,
    /// The server, if this process has one.
    pub server: Option<ServerStatus>,
}

/// The answer of `/readyz`, with 200 or 503.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// Whether the process does what it is there for; being offline is ready.
    pub ready: bool,
    /// Why it is not, each in a word.
    pub reasons: Vec<&'static str>,
}

/// The answer of `/v1/packets/{id}`. When the packet was never seen it is a problem, 404, that has these
/// members, too.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Trace {
    /// The packet.
    pub id: String,
    /// Where it is, as both sides say together.
    pub state: &'static str,
    /// What the client of this process knows.
    pub client: Option<ClientTrace>,
    /// What the server of this process knows.
    pub server: Option<ServerTrace>,
}

/// What a client knows of a packet.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ClientTrace {
    /// `stored`, `in-flight`, `paused`, `handled`, `expired`, `evicted`, `purged`, `damaged`,
    /// `dead-letter` (here), `dead-lettered` (here and gone, or at the server), `done` when it cannot
    /// tell, or `unknown`.
    pub state: &'static str,
    /// Whether its lane is known and has no such packet.
    #[serde(skip)]
    pub never_stored: bool,
    /// What that means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// Whom it is addressed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The bytes of its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How many packets of its lane go before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_before: Option<u64>,
    /// Why it will not be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it became a dead letter here, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why its lane waits, by the server's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseFacts>,
    /// The way to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<LinkFacts>,
}

/// A lane waits by the server's word.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PauseFacts {
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// How often that was told.
    pub times: u64,
    /// When it is tried again, RFC 3339.
    pub next_try: String,
}

impl PauseFacts {
    pub(super) fn of(pause: Pause) -> Self {
        Self {
            since: clock::rfc3339(pause.since_ms),
            times: pause.times,
            next_try: clock::rfc3339(pause.until_ms),
            reason: pause.reason,
        }
    }
}

/// Where a connection stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LinkFacts {
    /// `connecting`, `connected` or `waiting`.
    pub state: &'static str,
    /// The server's address.
    pub server: String,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
}

/// What a server knows of a packet.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ServerTrace {
    /// `waiting`, `handled`, `dead-letter`, `dead-letter-gone`, `skipped`, `elsewhere`, `done` or
    /// `unknown`.
    pub state: &'static str,
    /// What that means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<&'static str>,
    /// Who has sent from its spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The name under which its spool came last, when that is another than the id says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_now: Option<String>,
    /// Whom it is addressed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The handler that had it, or that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// When it came to its end, RFC 3339; in a lane at full speed up to a second early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why it is a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it was first tried, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_attempt: Option<String>,
    /// When it was last tried, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<String>,
    /// How far its lane was handled, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled_through: Option<u64>,
    /// Why its lane waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseFacts>,
}

/// The answer of `/v1/dead-letters`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeadLetters {
    /// A page of them, in the order in which they came.
    pub dead_letters: Vec<DeadLetterFacts>,
    /// What to ask for next as `after`; null when this was the last page.
    pub next: Option<u64>,
}

/// A dead letter in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeadLetterFacts {
    /// Who keeps it: `server`, or `client` when its server can never take it.
    pub side: &'static str,
    /// The packet.
    pub id: String,
    /// The client that sent it.
    pub client: String,
    /// Whom it was addressed to.
    pub target: String,
    /// The handler that could not take it; empty at a client.
    pub handler: String,
    /// Why not.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried, RFC 3339.
    pub first_attempt: String,
    /// When it was last tried, RFC 3339.
    pub last_attempt: String,
    /// The bytes of the packet's record.
    pub size: u64,
}

/// The answer of `/v1/clients`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Clients {
    /// Each with each of its spools, by name; one that is away as it was known last.
    pub clients: Vec<ClientFacts>,
    /// What to ask for next as `after`; null when this was the last page.
    pub next: Option<String>,
}

/// The answer of `/v1/handlers`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Handlers {
    /// Each, in the order of the config.
    pub handlers: Vec<HandlerStatus>,
}
