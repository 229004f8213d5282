//! What `top` reads of an answer of `/v1/status`: the fields that it shows, and no others, so that it can
//! look at a process of another version, too.

use serde::Deserialize;

/// The answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// The program's version.
    pub version: String,
    /// The client, if the process has one.
    pub client: Option<Client>,
    /// The server, if the process has one.
    pub server: Option<Server>,
}

/// A client.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Client {
    pub id: String,
    pub connection: Connection,
    pub pending_packets: u64,
    pub pending_bytes: u64,
    pub spool_file_bytes: u64,
    pub spool_max_bytes: u64,
    pub failed: Option<String>,
    pub full: Option<Full>,
    pub lanes: Vec<Lane>,
    pub lanes_total: usize,
}

/// There is no room for packets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Full {
    pub means: String,
}

/// Where its connection stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub state: String,
    pub server: String,
    pub since: String,
    pub last_error: Option<String>,
}

/// A lane; the busiest come first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lane {
    pub target: String,
    pub pending_packets: u64,
    pub pending_bytes: u64,
    pub dead_lettered: u64,
}

/// A server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    pub listening: String,
    pub clients: Vec<Session>,
    pub handlers: Vec<Handler>,
    pub dead_letters: u64,
    pub dead_letters_bytes: u64,
    pub failed: Option<String>,
}

/// A connected client.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub client: String,
    pub address: String,
    pub program: String,
    pub since: String,
}

/// A handler.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Handler {
    pub name: String,
    pub kind: String,
    pub state: String,
    pub since: String,
    pub paused_by: Option<String>,
    pub waiting_lanes: Option<u64>,
    pub last_error: Option<String>,
}
