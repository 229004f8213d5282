//! What must hold in a [`World`] after each step, and when everything has drained.

use paquebot_protocol::LaneKey;

use crate::world::World;

impl World {
    /// What must hold after each step and is not asserted where it happens.
    pub(super) fn check(&self) {
        self.server.ledger.check();
        for machine in &self.machines {
            let spool = &machine.client.spool;
            for (lane, stored) in &spool.lanes {
                stored.check(*lane);
                let acked = machine.client.outbox.acked_through(*lane).unwrap_or_default();
                assert!(stored.acked_through <= acked, "lane {lane}: dropped before it was acked");
                assert!(acked <= stored.stored_through, "lane {lane}: acked what does not exist");
                let row = self.server.ledger.row(LaneKey { spool: spool.id, lane: *lane });
                if stored.retiring && row.is_none() {
                    // The ledger has heard of its end, and the client does not know that yet.
                    continue;
                }
                let theirs = row.copied().unwrap_or_default();
                let ours = stored.totals;
                let known = machine.counts_differ
                    || (ours.handled <= theirs.handled && ours.dead <= theirs.dead);
                assert!(known, "lane {lane}: {ours:?}, of which the ledger has {theirs:?}");
            }
        }
    }

    /// R3: what is dropped has come to its end; a copy of the spool may have declared it gone.
    pub(super) fn check_dropped(&self, serials: &[u64]) {
        for serial in serials {
            assert!(
                self.has_ended(*serial),
                "packet {serial} was dropped, and nobody has handled it"
            );
        }
    }

    pub(super) fn has_ended(&self, serial: u64) -> bool {
        let handler = &self.server.handler;
        let known = [&handler.handled, &handler.dead, &self.declared];
        known.iter().any(|known| known.contains(&serial))
    }

    /// What must hold when everything has drained.
    pub(crate) fn check_drained(&self) {
        assert!(self.is_drained(), "not drained");
        for serial in &self.accepted {
            let ended = self.has_ended(*serial);
            assert!(ended, "packet {serial} was neither handled nor declared");
        }
        for machine in self.machines.iter().filter(|machine| !machine.counts_differ) {
            let spool = &machine.client.spool;
            for (lane, stored) in &spool.lanes {
                let row = self.server.ledger.row(LaneKey { spool: spool.id, lane: *lane });
                if stored.retiring && row.is_none() {
                    continue;
                }
                let theirs = row.copied().unwrap_or_default();
                let ours = stored.totals;
                let gone: u64 = ours.gone.iter().sum();
                let ours = (ours.handled, ours.dead, gone);
                let theirs = (theirs.handled, theirs.dead, theirs.skipped);
                assert_eq!(ours, theirs, "lane {lane}: handled, dead and skipped on both sides");
            }
        }
    }
}
