//! A client's machine: the model client, the disk under its spool, its backup, and how it dials.

use paquebot_protocol::backoff::Backoff;
use paquebot_protocol::{Lane, Millis};

use crate::common::Options;
use crate::common::client::Client;
use crate::common::spool::Spool;

/// A copy of a spool, with the lanes that its targets use at present.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Copy {
    pub(crate) spool: Spool,
    slots: Vec<Option<Lane>>,
    next_lane: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) client: Client,
    /// The lane that each target uses at present.
    slots: Vec<Option<Lane>>,
    next_lane: u64,
    /// Packets that no commit has taken yet, by target.
    pub(crate) staged: Vec<(usize, Vec<Vec<u8>>)>,
    pub(crate) backup: Option<Copy>,
    /// The link that it uses.
    pub(crate) link: Option<u64>,
    pub(crate) welcomed: bool,
    pub(crate) dial_at: Millis,
    pub(crate) backoff: Backoff,
    pub(crate) is_full: bool,
    pub(crate) disk_is_full: bool,
    /// The next commit fails.
    pub(crate) commit_fails: bool,
    /// There was an event of R7 that may make it take a new name.
    pub(crate) may_rekey: bool,
    /// There was an event of R7 after which the counts of the two sides need not agree.
    pub(crate) counts_differ: bool,
}

impl Machine {
    pub(crate) fn new(spool: Spool, slots: usize, options: Options) -> Self {
        let copy = Copy { spool, slots: vec![None; slots], next_lane: 1 };
        Self::from_copy(copy, options)
    }

    /// A machine whose process starts.
    pub(crate) fn from_copy(copy: Copy, options: Options) -> Self {
        let Copy { spool, slots, next_lane } = copy;
        Self {
            client: Client::new(spool, options),
            slots,
            next_lane,
            staged: Vec::new(),
            backup: None,
            link: None,
            welcomed: false,
            dial_at: Millis(0),
            backoff: Backoff::new(Millis(100), Millis(30_000)),
            is_full: false,
            disk_is_full: false,
            commit_fails: false,
            may_rekey: false,
            counts_differ: false,
        }
    }

    pub(crate) fn copy(&self) -> Copy {
        let Self { slots, next_lane, .. } = self;
        Copy { spool: self.client.spool.clone(), slots: slots.clone(), next_lane: *next_lane }
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn lane(&self, slot: usize) -> Option<Lane> {
        self.slots[slot]
    }

    /// The target of `slot` goes on in another lane.
    pub(crate) fn retire(&mut self, slot: usize) {
        if let Some(lane) = self.slots[slot].take() {
            self.client.retire(lane);
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.staged.is_empty() || !self.client.lazy_drops.is_empty()
    }

    /// The store's thread commits what waits; gives the serials of what was dropped and of what was
    /// accepted.
    pub(crate) fn commit(&mut self) -> (Vec<u64>, Vec<u64>) {
        let staged = std::mem::take(&mut self.staged);
        if std::mem::take(&mut self.commit_fails) {
            return (Vec::new(), Vec::new());
        }
        let dropped = self.client.commit_drops();
        let mut accepted = Vec::new();
        for (slot, packets) in staged {
            if self.disk_is_full {
                continue;
            }
            let lane = *self.slots[slot].get_or_insert_with(|| {
                self.next_lane += 1;
                Lane(self.next_lane - 1)
            });
            self.client.store(lane, &packets);
            let serial =
                |data: &Vec<u8>| data.first_chunk().map_or(0, |it| u64::from_be_bytes(*it));
            accepted.extend(packets.iter().map(serial));
        }
        (dropped, accepted)
    }

    /// All that was accepted is final and dropped, durably.
    pub(crate) fn is_drained(&self) -> bool {
        let drained =
            |lane: &crate::common::spool::StoredLane| lane.acked_through == lane.stored_through;
        !self.has_work() && self.client.spool.lanes.values().all(drained)
    }
}
