//! What happens to the stores of a [`World`]: commits, crashes, copies, and names that change.

use std::collections::{BTreeSet, VecDeque};

use paquebot_protocol::{LaneKey, SpoolId};

use crate::common::ledger::Ledger;
use crate::machine::{Copy, Machine};
use crate::world::World;

impl World {
    pub(super) fn rekey(&mut self, at: usize, within_tombstone: bool) {
        // What was acknowledged, and what the ledger counted, belongs to the old name.
        self.lose(at);
        let machine = &mut self.machines[at];
        assert!(machine.may_rekey || within_tombstone, "one history was taken for two");
        self.spools += 1;
        let dropped = machine.client.rekey(SpoolId([self.spools; 16]));
        self.check_dropped(&dropped);
        self.machines[at].counts_differ = true;
        self.may_repeat(at);
    }

    /// Everything that this client holds may be handled a second time.
    pub(super) fn may_repeat(&mut self, at: usize) {
        let lanes = self.machines[at].client.spool.lanes.values();
        let serials = lanes.flat_map(|lane| lane.pending().map(|(_, serial)| serial));
        self.server.handler.may_repeat.extend(serials);
    }

    pub(super) fn commit(&mut self, at: usize) {
        let (dropped, accepted) = self.machines[at].commit();
        self.check_dropped(&dropped);
        self.accepted.extend(accepted);
        self.act(at);
    }

    pub(super) fn act(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let mut wire = VecDeque::new();
        let connected = machine.link.is_some() && machine.welcomed;
        let drops = machine.client.act(self.now, connected.then_some(&mut wire), machine.is_full);
        let (id, spool) = (machine.link, machine.client.spool.id);
        if let Some(link) = id.and_then(|id| self.link(id)) {
            link.send_up(wire);
        }
        for (lane, through) in drops {
            let reached = self.server.reached(LaneKey { spool, lane });
            assert!(through <= reached, "lane {lane}: {through} dropped, {reached} durable");
        }
    }

    /// The client's process ends, and comes back with `copy`.
    pub(super) fn start(&mut self, at: usize, mut copy: Copy) {
        self.nonces += 1;
        copy.spool.open(self.nonces);
        if let Some(link) = self.machines[at].link.and_then(|id| self.link(id)) {
            link.client_is_there = false;
            link.to_client.clear();
        }
        let mut machine = Machine::from_copy(copy, self.options);
        let before = &self.machines[at];
        machine.client.rekeyed = before.client.rekeyed;
        machine.backup.clone_from(&before.backup);
        (machine.may_rekey, machine.counts_differ) = (before.may_rekey, before.counts_differ);
        (machine.disk_is_full, machine.dial_at) = (before.disk_is_full, self.now);
        self.machines[at] = machine;
    }

    pub(super) fn restore(&mut self, at: usize) {
        let Some(copy) = self.machines[at].backup.clone() else { return };
        let pending = |machine: &Machine| -> BTreeSet<u64> {
            let lanes = machine.client.spool.lanes.values();
            lanes.flat_map(|lane| lane.pending().map(|(_, serial)| serial)).collect()
        };
        let before = pending(&self.machines[at]);
        (self.machines[at].may_rekey, self.machines[at].counts_differ) = (true, true);
        self.start(at, copy);
        let held: BTreeSet<u64> = self.machines.iter().flat_map(pending).collect();
        self.accepted.retain(|serial| !before.contains(serial) || held.contains(serial));
    }

    pub(super) fn clone_machine(&mut self, at: usize) {
        (self.machines[at].may_rekey, self.machines[at].counts_differ) = (true, true);
        let copy = self.machines[at].copy();
        self.machines.push(self.machines[at].clone());
        let last = self.machines.len() - 1;
        self.machines[last].link = None;
        self.start(last, copy);
    }

    pub(super) fn crash_server(&mut self) {
        self.server.crash();
        for link in &mut self.links {
            link.server_is_there = false;
            link.to_server.clear();
        }
    }

    pub(super) fn replace_ledger(&mut self, ledger: Ledger) {
        self.crash_server();
        self.server.ledger = ledger;
        for machine in &mut self.machines {
            (machine.may_rekey, machine.counts_differ) = (true, true);
        }
    }
}
