//! The roster: who is connected to a server, for whoever wants to look.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paquebot_protocol::frame::Hello;
use paquebot_protocol::lease::SessionId;

use crate::clock;

/// Who is connected, for `status`: sessions write, anyone may read.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Mutex<BTreeMap<SessionId, SessionFacts>>>);

/// One connected client.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SessionFacts {
    /// Its name.
    pub client: String,
    /// Its spool.
    pub spool: String,
    /// Where it connects from.
    pub address: String,
    /// Its program and version.
    pub program: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl SessionFacts {
    pub(crate) fn new(hello: &Hello, peer: SocketAddr) -> Self {
        Self {
            client: hello.client.to_string(),
            spool: hello.spool.to_string(),
            address: peer.to_string(),
            program: hello.program.clone(),
            since: clock::rfc3339(clock::wall_ms()),
        }
    }
}

impl Roster {
    /// All who are connected.
    #[must_use]
    pub fn read(&self) -> Vec<SessionFacts> {
        self.sessions().values().cloned().collect()
    }

    pub(crate) fn insert(&self, session: SessionId, facts: SessionFacts) {
        self.sessions().insert(session, facts);
    }

    pub(crate) fn remove(&self, session: SessionId) {
        self.sessions().remove(&session);
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, SessionFacts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
