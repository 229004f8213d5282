//! The roster: who is connected to a server, for whoever wants to look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Recipient;
use paquebot_protocol::frame::Hello;
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Lane, SpoolId};

use crate::clock;
use crate::fleet::Fleet;
use crate::session::standing::{self, HowStands, LaneAtSession};

/// Who is connected, for `status`: sessions write, anyone may read.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    sessions: Arc<Mutex<Sessions>>,
    fleet: Fleet,
}

#[derive(Default)]
struct Sessions {
    facts: BTreeMap<SessionId, SessionFacts>,
    /// The same by client: with thousands of them, nobody looks through all when one comes in.
    of_client: HashMap<String, BTreeSet<SessionId>>,
    /// Whom to ask how its lanes stand.
    asked: HashMap<SessionId, Recipient<HowStands>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sessions", self.facts.len())
    }
}

/// One connected client.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
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
        self.sessions().facts.values().cloned().collect()
    }

    /// How many are connected.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether it is empty")]
    pub fn len(&self) -> usize {
        self.sessions().facts.len()
    }

    /// All clients, those that are away, too, and what they tell of themselves.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// How a lane of a connected spool stands; nothing when that is not connected, or has not opened
    /// the lane.
    pub async fn lane(&self, spool: SpoolId, lane: Lane) -> Option<LaneAtSession> {
        let spool = spool.to_string();
        let session = {
            let sessions = self.sessions();
            let mut newest = sessions.facts.iter().rev();
            let (session, _) = newest.find(|(_, facts)| facts.spool == spool)?;
            sessions.asked.get(session)?.clone()
        };
        standing::ask(&session, lane).await
    }

    /// Enters a session; gives one of the same client that has another spool, if there is any.
    pub(crate) fn insert(
        &self,
        session: SessionId,
        facts: SessionFacts,
        asked: Recipient<HowStands>,
    ) -> Option<SessionFacts> {
        let sessions = &mut *self.sessions();
        let same = sessions.of_client.entry(facts.client.clone()).or_default();
        let mut others = same.iter().filter_map(|other| sessions.facts.get(other));
        let twin = others.find(|other| other.spool != facts.spool).cloned();
        same.insert(session);
        sessions.asked.insert(session, asked);
        sessions.facts.insert(session, facts);
        twin
    }

    pub(crate) fn remove(&self, session: SessionId) {
        let sessions = &mut *self.sessions();
        sessions.asked.remove(&session);
        let Some(facts) = sessions.facts.remove(&session) else { return };
        if let Some(same) = sessions.of_client.get_mut(&facts.client) {
            same.remove(&session);
            if same.is_empty() {
                sessions.of_client.remove(&facts.client);
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
