//! What a client tells its server of itself now and then: what waits in which lane and for how long, how
//! full its disk is, what its clock shows.
//!
//! Both sides of it: [`Telling`] says what is worth telling, [`Told`] is what the server knows by it. Only
//! what has changed since the last status of a connection is told; ages go on by themselves. Nothing is
//! decided by it, and a peer that does not know the frame is none the worse.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Lane;
use crate::time::Millis;

/// A server that takes this frame names it.
pub const CAPABILITY: &str = "status";

/// Lanes that are told of: those that hold most. It bounds what a server keeps of a client.
pub const LANES_MAX: usize = 64;

/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 300;

/// Not more often than this, whatever changes.
const AT_MOST_EVERY: Millis = Millis(5_000);

/// And not less often, for clocks drift.
const AT_LEAST_EVERY: Millis = Millis(30_000);

/// By how much the age of a packet may be wrong before it is told anew.
const AGE_SLACK_MS: u64 = 2_000;

/// How a client is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// What its clock shows: milliseconds since 1970 (UTC).
    pub clock_ms: u64,
    /// Whether these are all lanes: what was told before is void.
    #[serde(default)]
    pub whole: bool,
    /// Packets that wait, in all lanes together.
    #[serde(default)]
    pub backlog_packets: u64,
    /// The bytes of the runs that hold them.
    #[serde(default)]
    pub backlog_bytes: u64,
    /// For how long the oldest of them waits, in milliseconds.
    #[serde(default)]
    pub oldest_age_ms: u64,
    /// The bytes of the spool's files.
    #[serde(default)]
    pub spool_file_bytes: u64,
    /// How many they may be.
    #[serde(default)]
    pub spool_max_bytes: u64,
    /// What the disk has left.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// When nothing more is taken at the present rate, in seconds; nothing when it does not fill.
    #[serde(default)]
    pub seconds_left: Option<u64>,
    /// Why packets are refused, in a word.
    #[serde(default)]
    pub full: Option<String>,
    /// What was in the way last, for people.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Lanes that have changed.
    #[serde(default)]
    pub lanes: Vec<LaneBacklog>,
}

/// What waits in a lane; with no packets it is not among those told of any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneBacklog {
    /// The lane.
    pub lane: Lane,
    /// The packets.
    pub packets: u64,
    /// The bytes of the runs that hold them.
    #[serde(default)]
    pub bytes: u64,
    /// For how long the oldest waits, in milliseconds.
    #[serde(default)]
    pub oldest_age_ms: u64,
}

/// The client's side, for one connection.
#[derive(Debug, Clone, Default)]
pub struct Telling {
    last: Option<(Millis, Status)>,
    lanes: BTreeMap<Lane, Known>,
}

/// A lane as the other side knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    backlog: LaneBacklog,
    at: Millis,
}

impl Known {
    fn age_ms(&self, now: Millis) -> u64 {
        self.backlog.oldest_age_ms.saturating_add(now.since(self.at).0)
    }
}

impl Telling {
    /// What is to be told of `status`, which has all lanes that hold packets; nothing when there is no
    /// news, or it was told just now.
    pub fn tell(&mut self, now: Millis, mut status: Status) -> Option<Status> {
        status.lanes.retain(|lane| lane.packets > 0);
        status.lanes.sort_by_key(|lane| (std::cmp::Reverse(lane.packets), lane.lane));
        status.lanes.truncate(LANES_MAX);
        for text in [&mut status.full, &mut status.last_error] {
            *text = text.take().map(|text| bounded(&text));
        }
        let all = std::mem::take(&mut status.lanes);
        let Some((at, last)) = &self.last else {
            status.whole = true;
            return Some(self.told(now, status, all));
        };
        let waited = now.since(*at);
        if waited < AT_MOST_EVERY {
            return None;
        }
        let mut changed: Vec<LaneBacklog> =
            all.iter().filter(|lane| self.is_news(now, lane)).copied().collect();
        let is_gone = |lane: &&Lane| all.iter().all(|known| known.lane != **lane);
        let gone = self.lanes.keys().filter(is_gone);
        let forget =
            |lane: &Lane| LaneBacklog { lane: *lane, packets: 0, bytes: 0, oldest_age_ms: 0 };
        changed.extend(gone.map(forget));
        let same = |of: fn(&Status) -> (u64, u64, u64)| of(last) == of(&status);
        let same = same(|s| (s.backlog_packets, s.backlog_bytes, s.spool_max_bytes))
            && last.full == status.full
            && last.last_error == status.last_error
            && last.seconds_left.is_some() == status.seconds_left.is_some();
        if same && changed.is_empty() && waited < AT_LEAST_EVERY {
            return None;
        }
        Some(self.told(now, status, changed))
    }

    fn told(&mut self, now: Millis, mut status: Status, lanes: Vec<LaneBacklog>) -> Status {
        self.last = Some((now, status.clone()));
        for backlog in &lanes {
            if backlog.packets == 0 {
                self.lanes.remove(&backlog.lane);
            } else {
                self.lanes.insert(backlog.lane, Known { backlog: *backlog, at: now });
            }
        }
        status.lanes = lanes;
        status
    }

    fn is_news(&self, now: Millis, lane: &LaneBacklog) -> bool {
        self.lanes.get(&lane.lane).is_none_or(|known| {
            let (packets, bytes) = (known.backlog.packets, known.backlog.bytes);
            let off = known.age_ms(now).abs_diff(lane.oldest_age_ms);
            (packets, bytes) != (lane.packets, lane.bytes) || off > AGE_SLACK_MS
        })
    }
}

/// The server's side: what it knows of a client.
#[derive(Debug, Clone, Default)]
pub struct Told {
    status: Option<(Millis, Status)>,
    lanes: BTreeMap<Lane, Known>,
}

impl Told {
    /// The client says how it is.
    pub fn hear(&mut self, now: Millis, mut status: Status) {
        if status.whole {
            self.lanes.clear();
        }
        // What goes makes room for what comes.
        status.lanes.sort_by_key(|backlog| backlog.packets > 0);
        for backlog in std::mem::take(&mut status.lanes) {
            if backlog.packets == 0 {
                self.lanes.remove(&backlog.lane);
            } else if self.lanes.len() < LANES_MAX || self.lanes.contains_key(&backlog.lane) {
                self.lanes.insert(backlog.lane, Known { backlog, at: now });
            }
        }
        for text in [&mut status.full, &mut status.last_error] {
            *text = text.take().map(|text| bounded(&text));
        }
        self.status = Some((now, status));
    }

    /// The lanes that are known.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.lanes.keys().copied()
    }

    /// How many packets wait.
    #[must_use]
    pub fn backlog_packets(&self) -> u64 {
        self.status.as_ref().map_or(0, |(_, status)| status.backlog_packets)
    }

    /// How the client is by now, with its lanes by number; what waited goes on to wait.
    #[must_use]
    pub fn at(&self, now: Millis) -> Option<Status> {
        let (at, status) = self.status.as_ref()?;
        let passed = now.since(*at).0;
        let aged =
            |age_ms: u64, packets| if packets == 0 { 0 } else { age_ms.saturating_add(passed) };
        let lanes = self
            .lanes
            .values()
            .map(|known| LaneBacklog { oldest_age_ms: known.age_ms(now), ..known.backlog });
        Some(Status {
            whole: true,
            clock_ms: status.clock_ms.saturating_add(passed),
            oldest_age_ms: aged(status.oldest_age_ms, status.backlog_packets),
            lanes: lanes.collect(),
            ..status.clone()
        })
    }
}

fn bounded(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned()
}
