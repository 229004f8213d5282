//! Pauses in words: that the server has paused a lane is told once for each reason, and that the lane
//! goes on is told once, however often the client comes again in vain meanwhile.

use paquebot_protocol::Lane;
use paquebot_protocol::frame::Pause;
use xxhash_rust::xxh3::xxh3_64;

use super::Connection;

impl Connection {
    pub(super) fn tell_of_pause(&mut self, pause: &Pause) {
        let Some(lane) = self.lanes.get_mut(&pause.lane) else { return };
        let why = xxh3_64(pause.reason.as_bytes());
        let (target, reason) = (lane.target.as_str(), &pause.reason);
        let retry_after_ms = pause.retry_after_ms;
        if lane.paused.replace(why) == Some(why) {
            tracing::debug!(target, reason, retry_after_ms, "lane paused by the server, still");
        } else {
            tracing::info!(target, reason, retry_after_ms, "lane paused by the server");
        }
    }

    /// Something of the lane was acknowledged.
    pub(super) fn tell_of_going_on(&mut self, lane: Lane) {
        if let Some(lane) = self.lanes.get_mut(&lane)
            && lane.paused.take().is_some()
        {
            tracing::info!(target = lane.target.as_str(), "the lane goes on");
        }
    }
}
