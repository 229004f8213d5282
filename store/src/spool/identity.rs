//! Who the spool is, and whom it is sent to: a new id, and another ledger, each in a commit of its own
//! (R7).

use paquebot_protocol::{LedgerId, SpoolId};

use super::facts::Identity;
use super::mark::Row;
use super::writer::Writer;
use crate::error::AppendError;
use crate::fault::Fault;
use crate::random;
use crate::reply::Promise;
use crate::schema::{self, LaneRow};

impl Writer {
    /// Takes a new id.
    pub(super) fn rekey(&mut self, promise: Promise<Identity, AppendError>) {
        let spool = match random::bytes("a spool id") {
            Ok(bytes) => SpoolId(bytes),
            Err(fault) => return promise.keep(Err(fault.into())),
        };
        let replaces = Some(self.identity.spool);
        self.become_known_as(Identity { spool, replaces, ..self.identity }, promise);
    }

    /// Remembers the ledger that packets are sent to.
    pub(super) fn remember(&mut self, ledger: LedgerId, promise: Promise<Identity, AppendError>) {
        self.become_known_as(Identity { ledger: Some(ledger), ..self.identity }, promise);
    }

    fn become_known_as(&mut self, identity: Identity, promise: Promise<Identity, AppendError>) {
        if !self.stage.is_empty() || !self.drops.is_empty() {
            // Packets were promised the id that they were numbered under, and what the ledger said
            // of skipped ones belongs to the old name.
            self.commit();
        }
        if let Some(fault) = &self.failed {
            return promise.keep(Err(fault.clone().into()));
        }
        let before = std::mem::replace(&mut self.identity, identity);
        match self.write_identity() {
            Ok(()) => {
                // Another ledger, or the same under another name, counts anew.
                self.lanes.iter_mut().for_each(|(_, entry)| entry.skipped = 0);
                self.publish_status();
                promise.keep(Ok(identity));
            }
            Err(fault) => {
                self.identity = before;
                let unknown = AppendError::Failed(fault.to_string());
                self.fail(fault);
                promise.keep(Err(unknown));
                self.heal();
            }
        }
    }

    fn write_identity(&self) -> Result<(), Fault> {
        let transaction = self.active.db.begin_write()?;
        {
            let mut meta = transaction.open_table(schema::META)?;
            let row = Row::Spool(self.spool_row(self.active.number)).encode()?;
            meta.insert(schema::META_SPOOL, row.as_slice())?;
            let mut lanes = transaction.open_table(schema::LANES)?;
            for (lane, entry) in self.lanes.iter().filter(|(_, entry)| entry.skipped > 0) {
                let row = Row::Lane(lane, LaneRow { skipped: 0, ..entry.row() });
                lanes.insert(lane.0, row.encode()?.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
