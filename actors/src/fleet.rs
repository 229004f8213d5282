//! The fleet: every client that a server has met, with what it told of itself last, whether it is there
//! or away.
//!
//! Sessions write, anyone may read; the ledger keeps it now and then, so that a client that is away is
//! still known after a restart. Nothing is decided by it.

mod facts;
mod kept;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paquebot_protocol::frame::Hello;
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::status::{Status, Told};
use paquebot_protocol::{Lane, Millis, SpoolId};

pub use facts::{ClientBacklog, ClientDisk, ClientFacts, ClientGauges, ClientLane, ToldGauges};

use crate::clock;

/// How many clients are remembered: those that were away longest go.
const MEMBERS_MAX: usize = 20_000;

/// Who a client is to the fleet: a name may stand for two machines, by mistake or for a while.
type Key = (String, SpoolId);

/// All clients.
#[derive(Debug, Clone, Default)]
pub struct Fleet(Arc<Mutex<Members>>);

#[derive(Debug, Default)]
struct Members {
    all: BTreeMap<Key, Member>,
    /// Those that are to go from the ledger, too.
    gone: Vec<Key>,
}

/// One client, with one spool.
#[derive(Debug, Default)]
struct Member {
    /// Nothing while it is away.
    session: Option<SessionId>,
    address: String,
    program: String,
    since_ms: u64,
    seen_ms: u64,
    told: Told,
    /// Whom the lanes are addressed to that it told of.
    targets: BTreeMap<Lane, String>,
    /// By how much its clock was ahead of ours when it told.
    skew_ms: Option<i64>,
    told_ms: Option<u64>,
    /// Whether the ledger does not know it like this yet, and when it was last told.
    changed: bool,
    kept_ms: u64,
}

impl Fleet {
    /// A client is here.
    pub(crate) fn came(&self, session: SessionId, hello: &Hello, peer: SocketAddr) {
        let now_ms = clock::wall_ms();
        let members = &mut *self.members();
        members.make_way(hello);
        let member = members.all.entry(key_of(hello)).or_default();
        member.session = Some(session);
        member.address = peer.to_string();
        member.program.clone_from(&hello.program);
        (member.since_ms, member.seen_ms, member.changed) = (now_ms, now_ms, true);
    }

    /// It says how it is.
    pub(crate) fn told(
        &self,
        session: SessionId,
        hello: &Hello,
        status: Status,
        target: impl Fn(Lane) -> Option<String>,
    ) {
        let now_ms = clock::wall_ms();
        let members = &mut *self.members();
        let Some(member) = members.all.get_mut(&key_of(hello)) else { return };
        if member.session != Some(session) {
            return;
        }
        let ahead_ms = i128::from(status.clock_ms) - i128::from(now_ms);
        let bound = |ms: i128| ms.clamp(i64::MIN.into(), i64::MAX.into());
        member.skew_ms = i64::try_from(bound(ahead_ms)).ok();
        member.told.hear(Millis(now_ms), status);
        let lanes = member.told.lanes();
        member.targets = lanes.filter_map(|lane| Some((lane, target(lane)?))).collect();
        (member.told_ms, member.seen_ms, member.changed) = (Some(now_ms), now_ms, true);
    }

    /// It is gone.
    pub(crate) fn left(&self, session: SessionId, hello: &Hello) {
        let members = &mut *self.members();
        let Some(member) = members.all.get_mut(&key_of(hello)) else { return };
        if member.session == Some(session) {
            member.session = None;
            (member.seen_ms, member.changed) = (clock::wall_ms(), true);
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// A client comes with a spool: what it had before and is not worth a line any more goes, and so does
    /// the one that is away longest when there are too many.
    fn make_way(&mut self, hello: &Hello) {
        let key = key_of(hello);
        if self.all.contains_key(&key) {
            return;
        }
        let spools = (key.0.clone(), SpoolId([0; 16]))..=(key.0.clone(), SpoolId([u8::MAX; 16]));
        let replaced = |(_, spool): &Key| Some(*spool) == hello.replaces;
        let of_client = self.all.range(spools);
        let over = of_client.filter(|(known, member)| {
            let holds = member.told.backlog_packets() > 0 && !replaced(known);
            member.session.is_none() && !holds
        });
        let mut over: Vec<Key> = over.map(|(known, _)| known.clone()).collect();
        if self.all.len() >= MEMBERS_MAX {
            let away = self.all.iter().filter(|(_, member)| member.session.is_none());
            let longest = away.min_by_key(|(_, member)| member.seen_ms);
            over.extend(longest.map(|(known, _)| known.clone()));
        }
        for known in over {
            if self.all.remove(&known).is_some() {
                self.gone.push(known);
            }
        }
    }
}

fn key_of(hello: &Hello) -> Key {
    (hello.client.to_string(), hello.spool)
}
