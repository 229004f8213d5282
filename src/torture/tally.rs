//! The tally: how often each thing happened, by name.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by name; names are `group.kind`.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

pub(super) const POSTED: &str = "packets.posted";
pub(super) const STORED: &str = "packets.stored";
pub(super) const UNKNOWN: &str = "packets.unknown";
pub(super) const REFUSED: &str = "packets.refused";

pub(super) const KILL_CLIENT: &str = "kills.client";
pub(super) const KILL_SERVER: &str = "kills.server";
pub(super) const KILL_FROZEN: &str = "kills.frozen";
pub(super) const STOP: &str = "faults.stops";
pub(super) const FREEZE: &str = "faults.freezes";
pub(super) const RESTART: &str = "faults.restarts";

pub(super) const CONNECTIONS: &str = "cuts.connections";
pub(super) const CUT_FIN: &str = "cuts.fin";
pub(super) const CUT_RESET: &str = "cuts.reset";
pub(super) const CUT_AT_ONCE: &str = "cuts.refused";
pub(super) const STALL: &str = "cuts.stalled";
pub(super) const STALL_FOREVER: &str = "cuts.stalled_forever";
pub(super) const FLIP: &str = "cuts.bits_flipped";
pub(super) const SLOW: &str = "cuts.slowed";
pub(super) const SPLIT: &str = "cuts.split";

pub(super) const RECEIVED: &str = "receiver.accepted";
pub(super) const REJECTED: &str = "receiver.rejected";
pub(super) const FAILED: &str = "receiver.failed";
pub(super) const HUNG: &str = "receiver.hung";

impl Tally {
    /// One more.
    pub(super) fn one(&self, name: &'static str) {
        self.add(name, 1);
    }

    /// So many more.
    pub(super) fn add(&self, name: &'static str, more: u64) {
        *self.counts().entry(name).or_default() += more;
    }

    /// How many there are of one name.
    pub(super) fn of(&self, name: &'static str) -> u64 {
        self.counts().get(name).copied().unwrap_or_default()
    }

    /// How many there are of a group.
    pub(super) fn group(&self, group: &str) -> u64 {
        self.kinds(group).map(|(_, count)| count).sum()
    }

    /// The kinds of a group and their counts.
    pub(super) fn kinds(&self, group: &str) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let kinds: Vec<_> = self
            .counts()
            .iter()
            .filter_map(|(name, count)| {
                let (of, kind) = name.split_once('.')?;
                (of == group).then_some((kind, *count))
            })
            .collect();
        kinds.into_iter()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
