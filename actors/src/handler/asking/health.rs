//! Health: whether a handler works whose lanes fail one by one.
//!
//! It fails as long as one of its lanes does: one that was paused after its last attempt and has not
//! had a packet handled since. A lane that was expected back long ago is forgotten, because its
//! client may be gone. What changes is logged once, and once a minute when it changes all the time.

use std::collections::HashMap;
use std::sync::Arc;

use paquebot_protocol::{LaneKey, Millis};

use crate::clock;
use crate::handler::HandlerMeters;
use crate::seldom::Seldom;

/// How long after its time a paused lane may stay away before it no longer counts.
const OVERDUE: Millis = Millis(60_000);

/// How often overdue lanes are looked for.
const LOOK_EVERY: Millis = Millis(10_000);

/// The health of one handler.
#[derive(Debug)]
pub(super) struct Health {
    name: Arc<str>,
    meters: HandlerMeters,
    /// Until when each failing lane is expected back.
    failing: HashMap<LaneKey, Millis>,
    looked: Millis,
    /// When it was last logged that it fails, and whether it was this time.
    seldom: Seldom,
    said: bool,
}

impl Health {
    pub(super) fn new(name: Arc<str>, meters: HandlerMeters) -> Self {
        let (looked, seldom) = (clock::now(), Seldom::default());
        Self { name, meters, failing: HashMap::new(), looked, seldom, said: false }
    }

    /// A lane's attempt failed, and the lane is paused for so long.
    pub(super) fn failed(&mut self, lane: LaneKey, pause: Millis, why: &str) {
        let back = clock::now().after(pause).after(OVERDUE);
        self.failing.insert(lane, back);
        self.forget_overdue();
        self.meters.board.failing_lanes(self.failing.len());
        self.meters.is_failing(1, why);
        if !self.said && self.seldom.is_due() {
            self.said = true;
            tracing::warn!(handler = %self.name, why,
                "the handler fails; packets wait at their clients, which come again");
        }
    }

    /// A packet of the lane was handled, or rejected by somebody who works.
    pub(super) fn worked(&mut self, lane: LaneKey) {
        if self.failing.remove(&lane).is_some() {
            self.meters.board.failing_lanes(self.failing.len());
        }
        self.forget_overdue();
        let works = self.failing.is_empty() && self.meters.is_ok();
        if works && std::mem::take(&mut self.said) {
            tracing::info!(handler = %self.name, "the handler works again");
        }
    }

    fn forget_overdue(&mut self) {
        let now = clock::now();
        if now.since(self.looked) >= LOOK_EVERY {
            self.looked = now;
            self.failing.retain(|_, back| *back > now);
        }
    }
}
