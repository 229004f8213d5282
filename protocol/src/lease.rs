//! Leases on lanes: at most one session may have an attempt running in a lane, even when its socket
//! is gone and the client is already back on another one (R7).
//!
//! A session holds a lease from the opening of a lane until it has let go of it and its last attempt
//! there has ended; a later session waits in line, lane by lane, and its welcome does not.

use std::collections::{BTreeMap, VecDeque};

use crate::id::LaneKey;

/// A session, numbered by the server in the order in which sessions were welcomed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Who holds which lane, and who waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Leases {
    lanes: BTreeMap<LaneKey, Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line {
    holder: SessionId,
    waiting: VecDeque<SessionId>,
}

impl Leases {
    /// Asks for a lane; `true` when `session` holds it now, `false` when it stands in line.
    pub fn acquire(&mut self, key: LaneKey, session: SessionId) -> bool {
        let fresh = || Line { holder: session, waiting: VecDeque::new() };
        let line = self.lanes.entry(key).or_insert_with(fresh);
        if line.holder == session {
            return true;
        }
        if !line.waiting.contains(&session) {
            line.waiting.push_back(session);
        }
        false
    }

    /// Gives a lane back, or leaves the line; the session that holds it now because of that.
    pub fn release(&mut self, key: LaneKey, session: SessionId) -> Option<SessionId> {
        let line = self.lanes.get_mut(&key)?;
        if line.holder != session {
            line.waiting.retain(|waiting| *waiting != session);
            return None;
        }
        match line.waiting.pop_front() {
            Some(next) => {
                line.holder = next;
                Some(next)
            }
            None => {
                self.lanes.remove(&key);
                None
            }
        }
    }

    /// Whether `session` holds the lane.
    #[must_use]
    pub fn holds(&self, key: LaneKey, session: SessionId) -> bool {
        self.lanes.get(&key).is_some_and(|line| line.holder == session)
    }
}
