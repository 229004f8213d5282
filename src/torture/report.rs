//! The report of a run: one table, or JSON.

use std::sync::Arc;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::offence::{Kind, Offences};
use super::stage::Stage;
use super::tally;

/// Groups of the tally that are told kind by kind.
const GROUPS: [(&str, &str); 4] =
    [("kills", "killed"), ("faults", "fault"), ("cuts", "network"), ("receiver", "receiver")];

/// What came of it.
#[derive(Debug)]
pub(super) struct Report {
    /// What it was drawn from.
    pub(super) seed: u64,
    /// How long it took, draining included.
    pub(super) seconds: u64,
    /// Packets handled, by the server's own count.
    pub(super) handled: u64,
    /// Packets that became dead letters.
    pub(super) dead: u64,
    /// Packets that clients gave up because of their age.
    pub(super) expired: u64,
    /// Packets that made way at clients for later ones.
    pub(super) evicted: u64,
    /// Lanes that clients ended.
    pub(super) lanes_retired: u64,
    /// The longest time that draining took; nothing when it did not end.
    pub(super) drain_max: Option<Duration>,
    /// The most memory of the server.
    pub(super) server_rss_peak_bytes: u64,
    /// The most memory of any client.
    pub(super) client_rss_peak_bytes: u64,
    /// What happened.
    pub(super) stage: Arc<Stage>,
    /// What is wrong.
    pub(super) offences: Offences,
}

impl Report {
    /// For people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header([format!("torture, seed {}", self.seed), String::new()]);
        for (name, value) in self.rows() {
            table.add_row([name, value]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n")
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let mut report = json!({
            "seed": self.seed,
            "seconds": self.seconds,
            "packets": self.of(tally::POSTED),
            "stored": self.of(tally::STORED),
            "unknown": self.of(tally::UNKNOWN),
            "refused": self.of(tally::REFUSED),
            "handled": self.handled,
            "dead_lettered": self.dead,
            "expired": self.expired,
            "evicted": self.evicted,
            "lanes_retired": self.lanes_retired,
            "drain_seconds_max": self.drain_max.map(|time| time.as_secs_f64()),
            "server_rss_peak_bytes": self.server_rss_peak_bytes,
            "client_rss_peak_bytes": self.client_rss_peak_bytes,
            "offences": self.offences.told().collect::<Vec<_>>(),
        });
        if let Some(figures) = report.as_object_mut() {
            for (group, _) in GROUPS {
                let kinds = self.stage.tally.kinds(group);
                let kinds = kinds.map(|(kind, count)| (kind.to_owned(), count.into()));
                figures.insert(group.to_owned(), Value::Object(kinds.collect()));
            }
            for kind in [Kind::Lost, Kind::Twice, Kind::OutOfOrder] {
                figures.insert(kind.word().to_owned(), self.offences.count(kind).into());
            }
            let others = self.offences.counts().map(|(kind, count)| (kind.word(), count));
            figures.extend(others.map(|(kind, count)| (kind.to_owned(), count.into())));
        }
        report
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        row("seconds", self.seconds.to_string());
        row("packets posted", self.of(tally::POSTED).to_string());
        row("answered stored", self.of(tally::STORED).to_string());
        row("handled", self.handled.to_string());
        row("dead letters", self.dead.to_string());
        row("expired", self.expired.to_string());
        row("evicted", self.evicted.to_string());
        row("lanes retired", self.lanes_retired.to_string());
        row("without an answer", self.of(tally::UNKNOWN).to_string());
        row("refused", self.of(tally::REFUSED).to_string());
        for (group, name) in GROUPS {
            for (kind, count) in self.stage.tally.kinds(group) {
                row(&format!("{name}: {}", kind.replace('_', " ")), count.to_string());
            }
        }
        let drained = self.drain_max.map_or("never".to_owned(), |time| format!("{time:.1?}"));
        row("longest draining", drained);
        row("server's memory", mebibytes(self.server_rss_peak_bytes));
        row("a client's memory", mebibytes(self.client_rss_peak_bytes));
        let main = [Kind::Lost, Kind::Twice, Kind::OutOfOrder];
        for kind in main {
            row(&kind.word().replace('_', " "), self.offences.count(kind).to_string());
        }
        for (kind, count) in self.offences.counts().filter(|(kind, _)| !main.contains(kind)) {
            row(&kind.word().replace('_', " "), count.to_string());
        }
        rows
    }

    fn of(&self, name: &'static str) -> u64 {
        self.stage.tally.of(name)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
