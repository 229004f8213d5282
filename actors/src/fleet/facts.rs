//! What observers are told of the fleet.

use std::collections::BTreeMap;
use std::ops::Bound;

use paquebot_protocol::status::Status;
use paquebot_protocol::{Millis, SpoolId};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Fleet, Key, Member};
use crate::clock;

/// A client as a server knows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClientFacts {
    /// Its name.
    pub id: String,
    /// Its spool.
    pub spool: String,
    /// Its program and version.
    pub program: String,
    /// Where it connects from, or did last.
    pub address: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// When it was last connected, RFC 3339; now, while it is.
    pub last_seen: String,
    /// What waits there, as it told last; nothing when it does not tell.
    pub backlog: Option<ClientBacklog>,
    /// Its disk.
    pub disk: Option<ClientDisk>,
    /// When its spool is full at the rate that it told, in seconds from then; nothing when it does not
    /// fill.
    pub seconds_left: Option<u64>,
    /// Why it refuses packets: `spool-full`, `target-full` or `disk-full`.
    pub full: Option<String>,
    /// By how much its clock is ahead of the server's.
    pub clock_skew_seconds: Option<f64>,
    /// What was in its way last.
    pub last_error: Option<String>,
    /// When it told all this, RFC 3339.
    pub told: Option<String>,
}

/// What waits at a client.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClientBacklog {
    /// Packets.
    pub packets: u64,
    /// The bytes of the runs that hold them.
    pub bytes: u64,
    /// For how long the oldest waits.
    pub oldest_packet_age_seconds: f64,
    /// The lanes that hold most.
    pub lanes: Vec<ClientLane>,
}

/// What waits in a lane.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClientLane {
    /// The lane.
    pub lane: u64,
    /// Whom its packets are addressed to, where the server knows that.
    pub target: Option<String>,
    /// Packets.
    pub packets: u64,
    /// The bytes of the runs that hold them.
    pub bytes: u64,
    /// For how long the oldest waits.
    pub oldest_packet_age_seconds: f64,
}

/// How full a client's disk is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClientDisk {
    /// The bytes of the spool's files.
    pub spool_file_bytes: u64,
    /// How many they may be.
    pub spool_max_bytes: u64,
    /// What the disk has left.
    pub available_bytes: Option<u64>,
}

/// What metrics show of a client.
#[derive(Debug, Clone)]
pub struct ClientGauges {
    /// Its name.
    pub client: String,
    /// For how long it is away.
    pub away_ms: u64,
    /// What it told.
    pub told: Option<ToldGauges>,
}

/// What a client told.
#[derive(Debug, Clone, Copy)]
pub struct ToldGauges {
    /// Packets that wait.
    pub packets: u64,
    /// For how long the oldest of them waits.
    pub oldest_age_ms: u64,
    /// By how much its clock is ahead.
    pub skew_ms: i64,
}

impl ClientGauges {
    /// Several clients under one label: packets are added up, of all others the worst is shown.
    pub fn join(&mut self, other: &Self) {
        self.away_ms = self.away_ms.max(other.away_ms);
        self.told = match (self.told, other.told) {
            (Some(one), Some(another)) => Some(one.and(another)),
            (one, another) => one.or(another),
        };
    }
}

impl ToldGauges {
    fn and(self, other: Self) -> Self {
        let farther = self.skew_ms.unsigned_abs() < other.skew_ms.unsigned_abs();
        Self {
            packets: self.packets.saturating_add(other.packets),
            oldest_age_ms: self.oldest_age_ms.max(other.oldest_age_ms),
            skew_ms: if farther { other.skew_ms } else { self.skew_ms },
        }
    }
}

impl Fleet {
    /// Clients by name, after `after`, at most `limit`.
    #[must_use]
    pub fn read(&self, after: Option<&str>, limit: usize) -> Vec<ClientFacts> {
        let now_ms = clock::wall_ms();
        let members = self.members();
        let after = after.map(|after| (after.to_owned(), SpoolId([u8::MAX; 16])));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some = members.all.range::<Key, _>((from, Bound::Unbounded)).take(limit);
        some.map(|(key, member)| member.facts(key, now_ms)).collect()
    }

    /// One client, by each of its spools.
    #[must_use]
    pub fn one(&self, client: &str) -> Vec<ClientFacts> {
        let now_ms = clock::wall_ms();
        let members = self.members();
        let from = (client.to_owned(), SpoolId([0; 16]));
        let some = members.all.range(from..).take_while(|((of, _), _)| of == client);
        some.map(|(key, member)| member.facts(key, now_ms)).collect()
    }

    /// What metrics show: each client once, whatever spools it has. It is away when none is here.
    #[must_use]
    pub fn gauges(&self) -> Vec<ClientGauges> {
        let now_ms = clock::wall_ms();
        let members = self.members();
        let mut shown: BTreeMap<&str, ClientGauges> = BTreeMap::new();
        for ((client, _), member) in &members.all {
            let gauges = member.gauges(client, now_ms);
            match shown.get_mut(client.as_str()) {
                Some(known) => {
                    let away_ms = known.away_ms.min(gauges.away_ms);
                    known.join(&gauges);
                    known.away_ms = away_ms;
                }
                None => _ = shown.insert(client, gauges),
            }
        }
        shown.into_values().collect()
    }
}

impl Member {
    fn gauges(&self, client: &str, now_ms: u64) -> ClientGauges {
        let told = self.told.at(Millis(now_ms)).map(|status| ToldGauges {
            packets: status.backlog_packets,
            oldest_age_ms: status.oldest_age_ms,
            skew_ms: self.skew_ms.unwrap_or_default(),
        });
        let away_ms = if self.session.is_some() { 0 } else { now_ms.saturating_sub(self.seen_ms) };
        ClientGauges { client: client.to_owned(), away_ms, told }
    }

    fn facts(&self, (client, spool): &Key, now_ms: u64) -> ClientFacts {
        let connected = self.session.is_some();
        let status = self.told.at(Millis(now_ms));
        let status = status.as_ref();
        ClientFacts {
            id: client.clone(),
            spool: spool.to_string(),
            program: self.program.clone(),
            address: self.address.clone(),
            connected,
            since: connected.then(|| clock::rfc3339(self.since_ms)),
            last_seen: clock::rfc3339(if connected { now_ms } else { self.seen_ms }),
            backlog: status.map(|status| self.backlog(status)),
            disk: status.map(|status| ClientDisk {
                spool_file_bytes: status.spool_file_bytes,
                spool_max_bytes: status.spool_max_bytes,
                available_bytes: status.disk_bytes,
            }),
            seconds_left: status.and_then(|status| status.seconds_left),
            full: status.and_then(|status| status.full.clone()),
            clock_skew_seconds: self.skew_ms.map(|ms| ms as f64 / 1_000.0),
            last_error: status.and_then(|status| status.last_error.clone()),
            told: self.told_ms.map(clock::rfc3339),
        }
    }

    fn backlog(&self, status: &Status) -> ClientBacklog {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let mut lanes: Vec<ClientLane> = status
            .lanes
            .iter()
            .map(|lane| ClientLane {
                lane: lane.lane.0,
                target: self.targets.get(&lane.lane).cloned(),
                packets: lane.packets,
                bytes: lane.bytes,
                oldest_packet_age_seconds: seconds(lane.oldest_age_ms),
            })
            .collect();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.packets));
        ClientBacklog {
            packets: status.backlog_packets,
            bytes: status.backlog_bytes,
            oldest_packet_age_seconds: seconds(status.oldest_age_ms),
            lanes,
        }
    }
}
