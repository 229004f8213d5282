//! How a lane stands on this connection, for whoever asks where a packet is.

use actix::{Addr, Handler, Message, Recipient};
use paquebot_protocol::{Lane, Millis, Number};

use super::Connection;
use crate::clock;

/// How does a lane stand?
#[derive(Debug, Message)]
#[rtype(result = "Vec<Option<LaneStanding>>")]
struct HowStand(Vec<Lane>);

/// Whom to ask how lanes stand.
#[derive(Debug, Clone)]
pub struct Standings(Recipient<HowStand>);

impl Standings {
    /// Those of a connection.
    #[must_use]
    pub fn of(connection: &Addr<Connection>) -> Self {
        Self(connection.clone().recipient())
    }

    /// How a lane stands; nothing when it holds nothing, or the connection has ended.
    pub async fn lane(&self, lane: Lane) -> Option<LaneStanding> {
        self.lanes(vec![lane]).await.into_iter().next().flatten()
    }

    /// The same of several, in their order; nothing of any when the connection has ended.
    pub async fn lanes(&self, lanes: Vec<Lane>) -> Vec<Option<LaneStanding>> {
        self.0.send(HowStand(lanes)).await.unwrap_or_default()
    }
}

/// How a lane stands on this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStanding {
    /// Everything up to here was sent and not taken back.
    pub sent_through: Number,
    /// The server's word, while it lets the lane wait.
    pub pause: Option<Pause>,
}

/// A lane waits by the server's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Why, in the server's words.
    pub reason: String,
    /// When it was told first for the packet that it is about, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was told since.
    pub times: u64,
    /// When the lane is opened again.
    pub until_ms: u64,
    /// Whether it stands in the log.
    said: bool,
}

impl Handler<HowStand> for Connection {
    type Result = Vec<Option<LaneStanding>>;

    fn handle(&mut self, HowStand(lanes): HowStand, _: &mut Self::Context) -> Self::Result {
        lanes.into_iter().map(|lane| self.standing(lane)).collect()
    }
}

impl Connection {
    fn standing(&self, lane: Lane) -> Option<LaneStanding> {
        let facts = self.lanes.get(&lane)?;
        let connected = self.socket.is_some();
        let sent_through = self.outbox.sent_through(lane).filter(|_| connected);
        Some(LaneStanding {
            sent_through: sent_through.unwrap_or(Number::NONE),
            pause: facts.pause.clone().filter(|_| connected),
        })
    }

    /// The server lets a lane wait.
    pub(super) fn note_pause(&mut self, lane: Lane, reason: String, wait: Millis) {
        let now_ms = clock::wall_ms();
        let Some(facts) = self.lanes.get_mut(&lane) else { return };
        let before = facts.pause.take();
        let mut pause = Pause {
            reason,
            since_ms: before.as_ref().map_or(now_ms, |before| before.since_ms),
            times: before.as_ref().map_or(0, |before| before.times).saturating_add(1),
            until_ms: now_ms.saturating_add(wait.0),
            said: before.is_some_and(|before| before.said),
        };
        if !pause.said && facts.pause_said.is_due() && self.pauses_said.is_due() {
            let (target, times) = (facts.target.as_str(), pause.times);
            tracing::info!(
                target,
                reason = pause.reason,
                times,
                retry_after_ms = wait.0,
                "lane paused by the server; its packets wait here, and it comes again"
            );
            pause.said = true;
        }
        facts.pause = Some(pause);
    }

    /// The lane got on.
    pub(super) fn forget_pause(&mut self, lane: Lane) {
        let Some(facts) = self.lanes.get_mut(&lane) else { return };
        let Some(pause) = facts.pause.take() else { return };
        if pause.said {
            let (target, since) = (facts.target.as_str(), clock::rfc3339(pause.since_ms));
            tracing::info!(target, since, times = pause.times, "the lane goes on after its pause");
        }
    }
}
