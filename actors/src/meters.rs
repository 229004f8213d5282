//! Every metric that the actors count, described once; names and labels are INTERFACE.md's.
//!
//! Handles are kept, so that nothing is looked up by name for a packet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, gauge};
use metrics::{Unit, describe_histogram, histogram};
use paquebot_protocol::TargetId;
use paquebot_store::{LaneState, RetiredTotals, SpoolStatus};

/// Targets beyond the limit are counted under this name.
const OTHER: &str = "_other";

/// Gives every metric its help text and unit.
pub fn describe() {
    let events = "packets by event and target, from durable totals where the event has one";
    describe_counter!("paquebot_client_packets_total", events);
    describe_gauge!("paquebot_client_backlog_packets", "packets stored and not yet acknowledged");
    describe_gauge!("paquebot_client_backlog_bytes", Unit::Bytes, "their size");
    describe_gauge!("paquebot_client_connected", "1 while the server has said welcome");
    describe_gauge!("paquebot_client_spool_file_bytes", Unit::Bytes, "real size of the spool");
    describe_gauge!("paquebot_client_spool_max_bytes", Unit::Bytes, "its limit");
    describe_counter!("paquebot_source_events_total", "events by source and outcome");
    describe_histogram!("paquebot_commit_seconds", Unit::Seconds, "time of a durable commit");
    describe_histogram!("paquebot_commit_packets", "packets of a commit");
    describe_gauge!("paquebot_server_clients", "clients connected");
    describe_counter!("paquebot_server_packets_total", "packets by handler and outcome");
    describe_counter!("paquebot_server_duplicates_total", "packets that came again");
    describe_counter!(
        "paquebot_server_refused_total",
        "connections refused or broken off, and runs with packets that are too large"
    );
    describe_gauge!("paquebot_server_dead_letters", "dead letters by handler");
    describe_gauge!("paquebot_server_dead_letters_bytes", Unit::Bytes, "their size");
    describe_gauge!("paquebot_handler_state", "1 for the state that the handler is in");
    describe_histogram!("paquebot_handle_seconds", Unit::Seconds, "time of one handling");
}

/// Bounds the `target` label: a series once shown stays.
#[derive(Debug, Clone)]
pub struct ClientMeters {
    targets_max: usize,
    lanes: Arc<Mutex<HashMap<TargetId, TargetMeters>>>,
    other: TargetMeters,
    /// What became of packets whose lanes are gone.
    retired: Arc<Mutex<ByLabel>>,
}

/// Sums under the labels that show them.
type ByLabel = HashMap<String, (TargetMeters, Sums)>;

#[derive(Debug, Clone)]
struct TargetMeters {
    label: String,
    sent: Counter,
    resent: Counter,
    rejected: Counter,
    backlog_packets: Gauge,
    backlog_bytes: Gauge,
}

impl TargetMeters {
    fn new(label: &str) -> Self {
        let packets = "paquebot_client_packets_total";
        let event = |event: &'static str| {
            let target = label.to_owned();
            counter!(packets, "event" => event, "target" => target)
        };
        Self {
            label: label.to_owned(),
            sent: event("sent"),
            resent: event("resent"),
            rejected: event("rejected"),
            backlog_packets: gauge!("paquebot_client_backlog_packets", "target" => label.to_owned()),
            backlog_bytes: gauge!("paquebot_client_backlog_bytes", "target" => label.to_owned()),
        }
    }

    fn total(&self, event: &'static str, total: u64) {
        let label = self.label.clone();
        counter!("paquebot_client_packets_total", "event" => event, "target" => label)
            .absolute(total);
    }
}

impl ClientMeters {
    /// Meters that show at most `targets_max` targets by name.
    #[must_use]
    pub fn new(targets_max: usize) -> Self {
        let (lanes, other) = (Arc::default(), TargetMeters::new(OTHER));
        Self { targets_max, lanes, other, retired: Arc::default() }
    }

    /// Packets went out, for the first time or again.
    pub fn sent(&self, target: &TargetId, first_time: u64, again: u64) {
        let meters = self.of(target);
        meters.sent.increment(first_time);
        meters.resent.increment(again);
    }

    /// The spool did not take packets.
    pub fn rejected(&self, target: &TargetId, packets: u64) {
        self.of(target).rejected.increment(packets);
    }

    /// Lanes were gone before this process began: of which targets nobody knows any more.
    pub fn carry(&self, gone: &RetiredTotals) {
        if gone.lanes > 0 {
            self.retire(&self.other, |sums| sums.add_gone(gone));
        }
    }

    /// A lane is gone, and what it counted stays.
    pub fn retired(&self, lane: &LaneState) {
        self.retire(&self.of(&lane.target), |sums| sums.add(lane));
    }

    fn retire(&self, meters: &TargetMeters, add: impl FnOnce(&mut Sums)) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (meters.clone(), Sums::default());
        add(&mut retired.entry(meters.label.clone()).or_insert_with(fresh).1);
    }

    /// Brings what the spool knows up to date; for each scrape.
    pub fn sample(&self, status: &SpoolStatus, lanes: impl FnOnce() -> Vec<LaneState>) {
        gauge!("paquebot_client_spool_file_bytes").set(status.file_bytes as f64);
        gauge!("paquebot_client_spool_max_bytes").set(status.max_bytes as f64);
        // Before the lanes are looked at: one that goes meanwhile counts a moment later, and not twice,
        // which a counter could not take back.
        let mut sums = self.retired.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for lane in &lanes() {
            let meters = self.of(&lane.target);
            let fresh = || (meters.clone(), Sums::default());
            sums.entry(meters.label.clone()).or_insert_with(fresh).1.add(lane);
        }
        for (meters, sums) in sums.into_values() {
            meters.backlog_packets.set(sums.backlog_packets as f64);
            meters.backlog_bytes.set(sums.backlog_bytes as f64);
            meters.total("accepted", sums.accepted);
            meters.total("stored", sums.accepted);
            meters.total("handled", sums.handled);
            meters.total("dead_lettered", sums.dead_lettered);
            meters.total("damaged", sums.damaged);
            meters.total("purged", sums.purged);
            meters.total("evicted", sums.evicted);
            meters.total("expired", sums.expired);
        }
    }

    fn of(&self, target: &TargetId) -> TargetMeters {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = lanes.get(target) {
            return meters.clone();
        }
        if lanes.len() >= self.targets_max {
            return self.other.clone();
        }
        lanes.entry(target.clone()).or_insert_with(|| TargetMeters::new(target.as_str())).clone()
    }
}

#[derive(Debug, Clone, Default)]
struct Sums {
    accepted: u64,
    handled: u64,
    dead_lettered: u64,
    damaged: u64,
    purged: u64,
    evicted: u64,
    expired: u64,
    backlog_packets: u64,
    backlog_bytes: u64,
}

impl Sums {
    fn add(&mut self, lane: &LaneState) {
        let totals = &lane.totals;
        self.accepted += lane.next.before().0;
        self.handled += lane.handled();
        self.dead_lettered += totals.dead_lettered;
        self.damaged += totals.damaged;
        self.purged += totals.purged;
        self.evicted += totals.evicted;
        self.expired += totals.expired;
        self.backlog_packets += lane.pending_packets;
        self.backlog_bytes += lane.pending_bytes;
    }

    fn add_gone(&mut self, gone: &RetiredTotals) {
        let totals = &gone.totals;
        self.accepted += gone.accepted;
        self.handled += gone.handled();
        self.dead_lettered += totals.dead_lettered;
        self.damaged += totals.damaged;
        self.purged += totals.purged;
        self.evicted += totals.evicted;
        self.expired += totals.expired;
    }
}

/// What a source counts.
#[derive(Debug, Clone)]
pub struct SourceMeters {
    sent: Counter,
    filtered: Counter,
    error: Counter,
}

impl SourceMeters {
    /// The meters of one source.
    #[must_use]
    pub fn new(source: &str) -> Self {
        let events = "paquebot_source_events_total";
        let outcome = |outcome: &'static str| {
            let source = source.to_owned();
            counter!(events, "source" => source, "outcome" => outcome)
        };
        let filtered = outcome("filtered");
        Self { sent: outcome("sent"), filtered, error: outcome("error") }
    }

    /// Events became packets.
    pub fn sent(&self, events: u64) {
        self.sent.increment(events);
    }

    /// An event was none of those that become packets.
    pub fn filtered(&self) {
        self.filtered.increment(1);
    }

    /// Something was wrong with an event.
    pub fn error(&self) {
        self.error.increment(1);
    }
}

/// What a store's commits count.
#[derive(Debug, Clone)]
pub struct CommitMeters {
    seconds: Histogram,
    packets: Histogram,
}

impl CommitMeters {
    /// The meters of `spool` or `ledger`.
    #[must_use]
    pub fn new(store: &'static str) -> Self {
        Self {
            seconds: histogram!("paquebot_commit_seconds", "store" => store),
            packets: histogram!("paquebot_commit_packets", "store" => store),
        }
    }

    /// One commit took this long for so many packets.
    pub fn committed(&self, took: Duration, packets: u64) {
        self.seconds.record(took);
        self.packets.record(packets as f64);
    }
}
