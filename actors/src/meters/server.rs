//! What a server counts beside packets: connections, duplicates, and how its clients are.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, gauge};
use paquebot_store::{Count, Counts};

use super::OTHER;
use crate::fleet::ClientGauges;

/// What stands before the rest in the names of counts.
pub(crate) const HANDLER: &str = "handler/";
const REFUSED: &str = "refused/";
const DUPLICATES: &str = "duplicates";

/// Every reason for which a connection is refused or broken off.
const REASONS: [&str; 15] = [
    "busy",
    "connections",
    "frame",
    "no-hello",
    "noise",
    "rekey",
    "retired-lane",
    "silent",
    "slow-frame",
    "slow-reader",
    "spools",
    "superseded",
    "too-large",
    "version",
    "violation",
];

/// What sessions count; goes on from what the ledger has kept.
#[derive(Debug, Clone)]
pub struct SessionMeters {
    counts: Counts,
    duplicates: Count,
}

impl SessionMeters {
    /// Every reason is there from the beginning: whoever makes rates of it needs a first point.
    #[must_use]
    pub fn new(counts: Counts) -> Self {
        for reason in REASONS {
            let _known = counts.of(&format!("{REFUSED}{reason}"));
        }
        let duplicates = counts.of(DUPLICATES);
        Self { counts, duplicates }
    }

    /// A connection was refused or broken off.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.counts.of(&format!("{REFUSED}{reason}")).add(1);
    }

    /// Packets came that had been handled before.
    pub(crate) fn duplicates(&self, packets: u64) {
        self.duplicates.add(packets);
    }
}

/// What is shown of a server's counts and clients.
#[derive(Debug, Clone)]
pub struct ServerMeters {
    counts: Counts,
    clients_max: usize,
    clients: Arc<Mutex<HashSet<String>>>,
}

impl ServerMeters {
    /// Meters that show at most `clients_max` clients by name.
    #[must_use]
    pub fn new(clients_max: usize, counts: Counts) -> Self {
        Self { counts, clients_max, clients: Arc::default() }
    }

    /// Shows what is kept of the counts, and how the clients are; for each scrape.
    pub fn sample(&self, clients: impl Iterator<Item = ClientGauges>) {
        for (name, kept) in self.counts.kept() {
            show_count(&name, kept);
        }
        let mut shown: BTreeMap<String, ClientGauges> = BTreeMap::new();
        for client in clients {
            let label = self.label_of(&client.client);
            match shown.get_mut(&label) {
                Some(known) => known.join(&client),
                None => _ = shown.insert(label, client),
            }
        }
        for (label, client) in shown {
            show_client(&label, &client);
        }
    }

    /// A client once shown stays.
    fn label_of(&self, client: &str) -> String {
        let mut known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < self.clients_max {
            known.insert(client.to_owned());
        }
        if known.contains(client) { client.to_owned() } else { OTHER.to_owned() }
    }
}

fn show_count(name: &str, kept: u64) {
    if let Some(reason) = name.strip_prefix(REFUSED) {
        counter!("paquebot_server_refused_total", "reason" => reason.to_owned()).absolute(kept);
    } else if name == DUPLICATES {
        counter!("paquebot_server_duplicates_total").absolute(kept);
    } else if let Some((outcome, handler)) =
        name.strip_prefix(HANDLER).and_then(|name| name.split_once('/'))
    {
        let (handler, outcome) = (handler.to_owned(), outcome.to_owned());
        counter!("paquebot_server_packets_total", "handler" => handler, "outcome" => outcome)
            .absolute(kept);
    }
}

fn show_client(label: &str, client: &ClientGauges) {
    let seen = "paquebot_server_client_last_seen_seconds";
    gauge!(seen, "client" => label.to_owned()).set(client.away_ms as f64 / 1_000.0);
    let Some(told) = &client.told else { return };
    let backlog = "paquebot_server_client_backlog_packets";
    gauge!(backlog, "client" => label.to_owned()).set(told.packets as f64);
    let oldest = "paquebot_server_client_oldest_packet_age_seconds";
    gauge!(oldest, "client" => label.to_owned()).set(told.oldest_age_ms as f64 / 1_000.0);
    let skew = "paquebot_server_client_clock_skew_seconds";
    gauge!(skew, "client" => label.to_owned()).set(told.skew_ms as f64 / 1_000.0);
}
