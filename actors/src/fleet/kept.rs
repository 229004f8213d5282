//! What the ledger keeps of the fleet: written when it has changed, never more often than the ledger's
//! door asks for, and with whatever else is committed.

use std::collections::BTreeMap;

use paquebot_protocol::status::Status;
use paquebot_protocol::{Lane, Millis};
use paquebot_store::{ClientOnRecord, Ledger, LedgerError};
use serde::{Deserialize, Serialize};

use super::{Fleet, Key, Member};
use crate::clock;

/// Rows that are written at once.
const ROWS_MAX: usize = 2_000;

/// How old the record of a client that is here may become.
const AGE_MAX_MS: u64 = 60_000;

/// A member beside its name, as it stands in a row.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    address: String,
    program: String,
    status: Option<Status>,
    /// When the status was like this.
    status_ms: u64,
    told_ms: Option<u64>,
    targets: BTreeMap<u64, String>,
    skew_ms: Option<i64>,
}

impl Fleet {
    /// Takes up what the ledger has kept: clients that are away, so far.
    pub fn take_up(&self, rows: Vec<ClientOnRecord>) {
        let members = &mut *self.members();
        for ClientOnRecord { client, spool, seen_ms, facts, .. } in rows {
            // A row that cannot be read is no more than a client of which little is known.
            let kept: Kept = serde_json::from_str(&facts).unwrap_or_default();
            let mut member = Member {
                address: kept.address,
                program: kept.program,
                seen_ms,
                skew_ms: kept.skew_ms,
                told_ms: kept.told_ms,
                targets: kept.targets.into_iter().map(|(lane, to)| (Lane(lane), to)).collect(),
                ..Member::default()
            };
            if let Some(status) = kept.status {
                member.told.hear(Millis(kept.status_ms), Status { whole: true, ..status });
            }
            members.all.insert((client.to_string(), spool), member);
        }
    }

    /// Has the ledger write down what it does not know yet.
    pub fn keep(&self, ledger: &Ledger) {
        let rows = self.changed(clock::wall_ms());
        if rows.is_empty() {
            return;
        }
        let (fleet, keys) = (self.clone(), rows.iter().map(key_of).collect::<Vec<_>>());
        let kept = move |outcome: Result<(), LedgerError>| {
            if outcome.is_err() {
                fleet.keep_again(&keys);
            }
        };
        ledger.remember_clients(rows, Box::new(kept));
    }

    fn changed(&self, now_ms: u64) -> Vec<ClientOnRecord> {
        let members = &mut *self.members();
        let gone = members.gone.drain(..).filter_map(|(client, spool)| {
            let client = client.parse().ok()?;
            Some(ClientOnRecord {
                client,
                spool,
                seen_ms: now_ms,
                gone: true,
                facts: String::new(),
            })
        });
        let mut rows: Vec<ClientOnRecord> = gone.collect();
        let due = |member: &Member| {
            let is_old = now_ms.saturating_sub(member.kept_ms) >= AGE_MAX_MS;
            member.changed || (member.session.is_some() && is_old)
        };
        let due = members.all.iter_mut().filter(|(_, member)| due(member));
        rows.extend(due.take(ROWS_MAX).filter_map(|(key, member)| member.row(key, now_ms)));
        rows
    }

    fn keep_again(&self, keys: &[Key]) {
        let members = &mut *self.members();
        for key in keys {
            match members.all.get_mut(key) {
                Some(member) => member.changed = true,
                None => members.gone.push(key.clone()),
            }
        }
    }
}

impl Member {
    fn row(&mut self, (client, spool): &Key, now_ms: u64) -> Option<ClientOnRecord> {
        (self.changed, self.kept_ms) = (false, now_ms);
        let kept = Kept {
            address: self.address.clone(),
            program: self.program.clone(),
            status: self.told.at(Millis(now_ms)),
            status_ms: now_ms,
            told_ms: self.told_ms,
            targets: self.targets.iter().map(|(lane, to)| (lane.0, to.clone())).collect(),
            skew_ms: self.skew_ms,
        };
        Some(ClientOnRecord {
            client: client.parse().ok()?,
            spool: *spool,
            seen_ms: if self.session.is_some() { now_ms } else { self.seen_ms },
            gone: false,
            facts: serde_json::to_string(&kept).ok()?,
        })
    }
}

fn key_of(row: &ClientOnRecord) -> Key {
    (row.client.to_string(), row.spool)
}
