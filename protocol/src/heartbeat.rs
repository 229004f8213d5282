//! The heartbeat of a connection: a link that died without a word must not hold packets.

use crate::time::Millis;

/// What silence asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing was heard for a while: ask.
    Ping,
    /// Nothing was heard for too long: the peer is dead.
    Dead,
}

/// Watches one connection for silence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    ping_after: Millis,
    dead_after: Millis,
    heard: Millis,
    pinged: Option<Millis>,
}

impl Heartbeat {
    /// Starts at `now` with a peer that was just heard.
    #[must_use]
    pub fn new(now: Millis, ping_after: Millis, dead_after: Millis) -> Self {
        Self { ping_after, dead_after, heard: now, pinged: None }
    }

    /// The peer last showed at `at` that it lives; what is older than known changes nothing.
    pub fn heard(&mut self, at: Millis) {
        if at > self.heard {
            self.heard = at;
            self.pinged = None;
        }
    }

    /// What to do at `now`, if anything.
    pub fn poll(&mut self, now: Millis) -> Option<Beat> {
        if now.since(self.heard) >= self.dead_after {
            return Some(Beat::Dead);
        }
        if now >= self.next_ping() {
            self.pinged = Some(now);
            return Some(Beat::Ping);
        }
        None
    }

    /// When to poll again.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.next_ping().min(self.heard.after(self.dead_after))
    }

    fn next_ping(&self) -> Millis {
        self.pinged.unwrap_or(self.heard).after(self.ping_after)
    }
}
