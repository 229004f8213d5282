//! How many dead letters there are, and how many bytes: by handler for the gauges, by client for
//! the quota (R9).

use std::collections::BTreeMap;

use paquebot_protocol::ClientId;

/// What a dead letter takes of its client's quota beside its record: its facts, its place, and the
/// pages around them.
const LETTER_BYTES: u64 = 512;

/// Letters and the bytes of their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::ledger) struct Tally {
    pub(in crate::ledger) count: u64,
    pub(in crate::ledger) bytes: u64,
}

impl Tally {
    pub(in crate::ledger) fn add(&mut self, bytes: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn subtract(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn split(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// What of a quota these letters take.
    pub(in crate::ledger) fn charge(self) -> u64 {
        self.bytes.saturating_add(self.count.saturating_mul(LETTER_BYTES))
    }
}

/// What is known of a letter without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brief {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) client: ClientId,
    pub(super) handler: String,
    pub(super) bytes: u64,
}

/// The letters that count.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) all: Tally,
    /// A handler that ever had one stays, so that its gauge goes to zero.
    pub(super) handlers: BTreeMap<String, Tally>,
    pub(super) clients: BTreeMap<ClientId, Tally>,
}

impl Tallies {
    pub(super) fn add_all(&mut self, other: &Self) {
        self.all.merge(other.all);
        for (handler, tally) in &other.handlers {
            self.handlers.entry(handler.clone()).or_default().merge(*tally);
        }
        for (client, tally) in &other.clients {
            self.clients.entry(client.clone()).or_default().merge(*tally);
        }
    }

    pub(super) fn subtract_all(&mut self, other: &Self) {
        self.all.split(other.all);
        for (handler, tally) in &other.handlers {
            self.handlers.entry(handler.clone()).or_default().split(*tally);
        }
        for (client, tally) in &other.clients {
            self.clients.entry(client.clone()).or_default().split(*tally);
        }
        self.clients.retain(|_, tally| tally.count > 0);
    }

    pub(super) fn add(&mut self, letter: &Brief) {
        self.all.add(letter.bytes);
        if let Some(handler) = self.handlers.get_mut(&letter.handler) {
            handler.add(letter.bytes);
        } else {
            self.handlers.entry(letter.handler.clone()).or_default().add(letter.bytes);
        }
        self.clients.entry(letter.client.clone()).or_default().add(letter.bytes);
    }

    pub(super) fn subtract(&mut self, letter: &Brief) {
        self.all.subtract(letter.bytes);
        if let Some(handler) = self.handlers.get_mut(&letter.handler) {
            handler.subtract(letter.bytes);
        }
        if let Some(client) = self.clients.get_mut(&letter.client) {
            client.subtract(letter.bytes);
            if client.count == 0 {
                self.clients.remove(&letter.client);
            }
        }
    }
}
