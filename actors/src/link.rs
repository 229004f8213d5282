//! The link: which server is tried next, when, and what observers may know about it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paquebot_protocol::Millis;
use paquebot_protocol::backoff::Backoff;

use crate::clock;

/// Where a client's connection stands, for `status` and the log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LinkState {
    /// `connecting`, `connected` or `waiting`.
    pub state: &'static str,
    /// The server that this is about.
    pub server: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
    /// When the next attempt is made, in milliseconds since 1970, while it is waited for.
    pub next_try_ms: Option<u64>,
}

/// A board that the connection writes and anyone may read.
#[derive(Debug, Clone)]
pub struct LinkBoard {
    state: Arc<Mutex<LinkState>>,
    sent_bytes: Arc<AtomicU64>,
}

impl Default for LinkBoard {
    fn default() -> Self {
        let state = LinkState {
            state: "connecting",
            server: String::new(),
            since_ms: clock::wall_ms(),
            last_error: None,
            next_try_ms: None,
        };
        Self { state: Arc::new(Mutex::new(state)), sent_bytes: Arc::default() }
    }
}

impl LinkBoard {
    /// What stands there now.
    #[must_use]
    pub fn read(&self) -> LinkState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many bytes of packets went to the wire since this process started, resent ones included.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    fn waits_until(&self, next_try_ms: u64) {
        let mut board = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        board.next_try_ms = Some(next_try_ms);
    }

    fn write(&self, state: &'static str, server: &str, last_error: Option<String>) {
        let mut board = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if board.state != state || board.server != server {
            board.since_ms = clock::wall_ms();
        }
        board.state = state;
        board.next_try_ms = None;
        server.clone_into(&mut board.server);
        if last_error.is_some() || state == "connected" {
            board.last_error = last_error;
        }
    }
}

/// Walks through the addresses of one server, waiting longer after each round of failures.
#[derive(Debug)]
pub struct Link {
    servers: Vec<String>,
    at: usize,
    backoff: Backoff,
    /// After this long a connection has proved itself, whatever went over it.
    proven_after: Millis,
    connected_at: Option<Millis>,
    /// Why the last try failed, to tell news from repetition.
    told: Option<String>,
    board: LinkBoard,
    connected: metrics::Gauge,
}

impl Link {
    /// A link over `servers`, which must not be empty.
    #[must_use]
    pub fn new(servers: Vec<String>, initial: Duration, max: Duration, board: LinkBoard) -> Self {
        let backoff = Backoff::new(Millis::from(initial), Millis::from(max));
        let mut link = Self {
            servers,
            at: 0,
            backoff,
            proven_after: max.into(),
            connected_at: None,
            told: None,
            board,
            connected: metrics::Gauge::noop(),
        };
        link.face();
        link
    }

    /// The server that is tried now.
    #[must_use]
    pub fn server(&self) -> String {
        self.servers.get(self.at).cloned().unwrap_or_default()
    }

    /// An attempt begins.
    pub fn dialling(&self) {
        self.board.write("connecting", &self.server(), None);
    }

    /// Packets went to the wire.
    pub fn sent(&self, bytes: usize) {
        self.board.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The server said welcome.
    pub fn connected(&mut self) {
        self.connected_at = Some(clock::now());
        self.told = None;
        self.connected.set(1.0);
        self.board.write("connected", &self.server(), None);
    }

    /// An ack came: the connection is worth something. A welcome alone is not; a connection that
    /// always ends right after it must not be tried at full speed.
    pub fn progressed(&mut self) {
        self.backoff.reset();
    }

    /// The attempt or the connection ended: how long to wait before the next one, which goes to the
    /// next server in turn, and whether the reason is news.
    pub fn lost(&mut self, why: &str, not_before: Option<Duration>) -> (Duration, bool) {
        if let Some(since) = self.connected_at.take()
            && clock::now().since(since) >= self.proven_after
        {
            self.backoff.reset();
        }
        let is_news = self.told.as_deref() != Some(why);
        self.told = Some(why.to_owned());
        self.connected.set(0.0);
        self.board.write("waiting", &self.server(), Some(why.to_owned()));
        self.at = (self.at + 1) % self.servers.len().max(1);
        self.face();
        let wait = Duration::from(self.backoff.next(random()));
        let wait = not_before.map_or(wait, |floor| floor.max(wait));
        self.board.waits_until(clock::wall_ms().saturating_add(Millis::from(wait).0));
        (wait, is_news)
    }

    fn face(&mut self) {
        self.connected = metrics::gauge!("paquebot_client_connected", "server" => self.server());
    }
}

/// What jitter is drawn from.
pub(crate) fn random() -> u64 {
    // Without randomness the jitter is gone, not the link: the whole ceiling is waited.
    getrandom::u64().unwrap_or(u64::MAX)
}
