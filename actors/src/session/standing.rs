//! How a lane stands at its session, for whoever asks where a packet is.

use std::collections::HashMap;

use actix::{Handler, Message, Recipient};
use paquebot_protocol::frame::Pause;
use paquebot_protocol::{Lane, Number, TargetId};

use super::Session;
use crate::clock;

/// How does a lane stand?
#[derive(Debug, Message)]
#[rtype(result = "Option<LaneAtSession>")]
pub struct HowStands(Lane);

/// How a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneAtSession {
    /// Where its packets go.
    pub target: TargetId,
    /// The last packet that its client has told of.
    pub assigned_through: Number,
    /// Why it waits, if it does.
    pub pause: Option<Paused>,
}

/// A lane waits by this server's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Why.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often that was said since.
    pub times: u64,
    /// When its client comes again.
    pub until_ms: u64,
}

/// The lanes that wait, until they get on.
pub(super) type Pauses = HashMap<Lane, Paused>;

/// Asks a session, which may have ended.
pub(crate) async fn ask(session: &Recipient<HowStands>, lane: Lane) -> Option<LaneAtSession> {
    session.send(HowStands(lane)).await.ok().flatten()
}

impl Handler<HowStands> for Session {
    type Result = Option<LaneAtSession>;

    fn handle(&mut self, HowStands(lane): HowStands, _: &mut Self::Context) -> Self::Result {
        Some(LaneAtSession {
            target: self.inbox.target(lane)?.clone(),
            assigned_through: self.inbox.assigned_through(lane)?,
            pause: self.pauses.get(&lane).cloned(),
        })
    }
}

impl Session {
    /// A lane is told to wait.
    pub(super) fn note_pause(&mut self, pause: &Pause) {
        let now_ms = clock::wall_ms();
        let fresh =
            || Paused { reason: String::new(), since_ms: now_ms, times: 0, until_ms: now_ms };
        let noted = self.pauses.entry(pause.lane).or_insert_with(fresh);
        noted.reason.clone_from(&pause.reason);
        noted.times = noted.times.saturating_add(1);
        noted.until_ms = now_ms.saturating_add(pause.retry_after_ms);
    }
}
