//! Where a packet is, as far as the ledger knows.

use std::collections::BTreeSet;

use paquebot_protocol::{ClientId, LaneKey, Number, PacketId, SpoolId};
use redb::ReadableTable;

use super::facts::Tried;
use super::fence::number_of;
use super::history::Passed;
use super::letters::DeadLetter;
use super::sheet::Sheet;
use crate::fault::Fault;
use crate::schema::{self, SpoolOnRecord};

/// What a ledger knows of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    /// Who has sent from its spool; nothing when that was never here.
    pub client: Option<ClientId>,
    /// The name under which its spool came last, when that is another than the packet's id says.
    pub spool: Option<SpoolId>,
    /// Whether its lane has ended: then every packet of it has come to its end.
    pub retired: bool,
    /// How far its lane was handled.
    pub cursor: Number,
    /// How and when it passed, if that is still known.
    pub passed: Option<Passed>,
    /// Its dead letter, without the record.
    pub letter: Option<DeadLetter>,
    /// What is known of its failed attempts, if it is the one that its lane waits for.
    pub tried: Option<Tried>,
}

impl Sheet<'_> {
    /// Looks for a packet, under each name that its spool has had since.
    pub(super) fn trace(&mut self, id: PacketId) -> Result<Traced, Fault> {
        let mut best = Traced::default();
        for spool in self.names_of(id.spool)? {
            let traced = self.trace_in(spool, id)?;
            let is_further = traced.retired || traced.cursor > best.cursor;
            if best.client.is_none() || is_further {
                best = traced;
            }
        }
        best.letter = self
            .dead
            .letter(id)?
            .map(|letter| DeadLetter { record: bytes::Bytes::new(), ..letter });
        Ok(best)
    }

    fn trace_in(&self, spool: SpoolId, id: PacketId) -> Result<Traced, Fault> {
        let Some(on_record) = self.spool(spool)? else { return Ok(Traced::default()) };
        let key = LaneKey { spool, lane: id.lane };
        let cursor = self.cursor_row(key)?.at;
        let lane = (number_of(spool), id.lane.0);
        let tried = self.tried(key, cursor)?.filter(|tried| tried.number == id.number);
        Ok(Traced {
            client: Some(on_record.client),
            spool: (spool != id.spool).then_some(spool),
            retired: cursor == Number::NONE && self.is_retired(key)?,
            cursor,
            passed: self.history.find(
                &self.transaction.open_table(schema::HISTORY)?,
                lane,
                id.number.0,
            )?,
            letter: None,
            tried,
        })
    }

    /// A spool, and all that have taken its place.
    fn names_of(&self, spool: SpoolId) -> Result<Vec<SpoolId>, Fault> {
        let (mut names, mut known) = (vec![spool], BTreeSet::from([spool]));
        let mut heirs = Vec::new();
        for row in self.spools.iter()? {
            let (key, row) = row?;
            let on_record: SpoolOnRecord = schema::decode("a spool's row", row.value())?;
            let replaces = on_record.replaces;
            heirs.extend(replaces.map(|before| (before, SpoolId(key.value().to_be_bytes()))));
        }
        let mut at = 0;
        while let Some(name) = names.get(at).copied() {
            let next = heirs.iter().filter(|(before, _)| *before == name).map(|(_, heir)| *heir);
            names.extend(next.filter(|heir| known.insert(*heir)));
            at += 1;
        }
        Ok(names)
    }
}
