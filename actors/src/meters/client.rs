//! What a client counts of its packets, by target.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Gauge, counter, gauge};
use paquebot_protocol::{Lane, TargetId};
use paquebot_store::{Count, Counts, LaneState, RetiredTotals, SpoolStatus};

use super::{OTHER, SourceMeters};
use crate::lookout::SpoolFindings;

/// What stands before a target in the name of its counts.
const TARGET: &str = "target/";

/// Bounds the `target` label: a series once shown stays.
#[derive(Debug, Clone)]
pub struct ClientMeters {
    targets_max: usize,
    counts: Counts,
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
    sent: Count,
    resent: Count,
    rejected: Count,
    backlog_packets: Gauge,
    backlog_bytes: Gauge,
    oldest_age: Gauge,
}

impl TargetMeters {
    fn new(label: &str, counts: &Counts) -> Self {
        let count = |event: &str| counts.of(&format!("{TARGET}{event}/{label}"));
        let of = || label.to_owned();
        let meters = Self {
            label: of(),
            sent: count("sent"),
            resent: count("resent"),
            rejected: count("rejected"),
            backlog_packets: gauge!("paquebot_client_backlog_packets", "target" => of()),
            backlog_bytes: gauge!("paquebot_client_backlog_bytes", "target" => of()),
            oldest_age: gauge!("paquebot_client_oldest_packet_age_seconds", "target" => of()),
        };
        // Whoever makes rates of them needs a first point.
        meters.show(&Sums::default());
        meters
    }

    fn show(&self, sums: &Sums) {
        self.backlog_packets.set(sums.backlog_packets as f64);
        self.backlog_bytes.set(sums.backlog_bytes as f64);
        self.oldest_age.set(sums.oldest_age_ms as f64 / 1_000.0);
        for (event, total) in [
            ("accepted", sums.accepted),
            ("stored", sums.accepted),
            ("handled", sums.handled),
            ("dead_lettered", sums.dead_lettered),
            ("damaged", sums.damaged),
            ("purged", sums.purged),
            ("evicted", sums.evicted),
            ("expired", sums.expired),
            ("sent", self.sent.kept()),
            ("resent", self.resent.kept()),
            ("rejected", self.rejected.kept()),
        ] {
            let label = self.label.clone();
            counter!("paquebot_client_packets_total", "event" => event, "target" => label)
                .absolute(total);
        }
    }
}

impl ClientMeters {
    /// Meters that show at most `targets_max` targets by name; those that have `counts` come first.
    #[must_use]
    pub fn new(targets_max: usize, counts: Counts) -> Self {
        let other = TargetMeters::new(OTHER, &counts);
        let known = counts.kept();
        let meters =
            Self { targets_max, counts, lanes: Arc::default(), other, retired: Arc::default() };
        for (name, _) in known {
            let label = name.strip_prefix(TARGET).and_then(|name| name.split_once('/'));
            if let Some(Ok(target)) = label.map(|(_, label)| label.parse()) {
                meters.of(&target);
            }
        }
        meters
    }

    /// What the spool counts for whoever asks.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Packets went out, for the first time or again.
    pub fn sent(&self, target: &TargetId, first_time: u64, again: u64) {
        let meters = self.of(target);
        meters.sent.add(first_time);
        meters.resent.add(again);
    }

    /// The spool did not take packets.
    pub fn rejected(&self, target: &TargetId, packets: u64) {
        self.of(target).rejected.add(packets);
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
    pub fn sample(
        &self,
        status: &SpoolStatus,
        found: &SpoolFindings,
        lanes: impl FnOnce() -> Vec<LaneState>,
    ) {
        gauge!("paquebot_client_spool_file_bytes").set(status.file_bytes as f64);
        gauge!("paquebot_client_spool_max_bytes").set(status.max_bytes as f64);
        gauge!("paquebot_client_spool_fill_ratio").set(found.fill_ratio);
        let seconds_left = found.seconds_left.unwrap_or(f64::INFINITY);
        gauge!("paquebot_client_spool_seconds_left").set(seconds_left);
        SourceMeters::show(&self.counts.kept());
        // Before the lanes are looked at: one that goes meanwhile counts a moment later, and not twice,
        // which a counter could not take back.
        let mut sums = self.retired.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ages: HashMap<Lane, u64> = found.ages_ms().collect();
        for lane in &lanes() {
            let meters = self.of(&lane.target);
            let fresh = || (meters.clone(), Sums::default());
            let sums = &mut sums.entry(meters.label.clone()).or_insert_with(fresh).1;
            sums.add(lane);
            if lane.pending_packets > 0 {
                let age_ms = ages.get(&lane.lane).copied().unwrap_or_default();
                sums.oldest_age_ms = sums.oldest_age_ms.max(age_ms);
            }
        }
        let shown: Vec<_> = {
            let named = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            named.values().chain([&self.other]).cloned().collect()
        };
        for meters in shown {
            let of_label = sums.remove(&meters.label);
            meters.show(&of_label.map(|(_, sums)| sums).unwrap_or_default());
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
        lanes
            .entry(target.clone())
            .or_insert_with(|| TargetMeters::new(target.as_str(), &self.counts))
            .clone()
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
    oldest_age_ms: u64,
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
