//! What the server can never take: which of it ends for good, and when its lane goes on (R5).
//!
//! Final is only what no time can change: a packet that is longer than this server takes, and a run
//! that arrives unreadable again and again although it is read anew. A target that is forbidden, and a
//! reason of which this version does not know, hold the lane: the owner of the server may mean to
//! change it, all packets of a lane have the same target, and no other lane waits for them.

use std::ops::RangeInclusive;

use super::Outbox;
use super::order::Violation;
use super::sending::Phase;
use crate::frame::{RefuseRun, RefuseRunCode};
use crate::id::{Lane, Number};

/// So often a run may arrive unreadable in a row, with a wait in between, before that counts as final:
/// once may be the link, and what is sent again is read and verified again.
const UNDECODABLE_MAX: u8 = 3;

/// What a refusal comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is about an opening that has ended, or packets that have their outcome.
    Over,
    /// The lane waits, and they are sent again.
    Held,
    /// These packets can never be sent: the lane waits until they are declared.
    Final(RangeInclusive<Number>),
}

impl Outbox {
    /// The server refuses packets. Unless that is over, the lane has to be paused
    /// ([`Outbox::paused`]).
    ///
    /// # Errors
    /// When they were never sent.
    pub fn refused(&mut self, refused: &RefuseRun) -> Result<Refusal, Violation> {
        let RefuseRun { lane, generation, first, through, code } = *refused;
        let sending = self.lanes.get_mut(&lane).ok_or(Violation::UnknownLane { lane })?;
        let ended = matches!(sending.phase, Phase::Closed | Phase::Paused);
        if generation != sending.generation || ended {
            return Ok(Refusal::Over);
        }
        let sent = sending.sent_through;
        if first > through || first == Number::NONE || through > sent {
            return Err(Violation::RefusedUnsent { lane, sent, first, through });
        }
        let first = first.max(sending.acked_through.next());
        if first > through {
            return Ok(Refusal::Over);
        }
        let is_final = match code {
            RefuseRunCode::TooLarge => true,
            RefuseRunCode::Undecodable => {
                let before = if sending.refused.0 == first { sending.refused.1 } else { 0 };
                sending.refused = (first, before.saturating_add(1));
                before.saturating_add(1) >= UNDECODABLE_MAX
            }
            RefuseRunCode::Forbidden | RefuseRunCode::Unknown => false,
        };
        Ok(if is_final { Refusal::Final(first..=through) } else { Refusal::Held })
    }

    /// What a paused lane waited for has come: it is opened again at once.
    pub fn resume(&mut self, lane: Lane) {
        let Some(sending) = self.lanes.get_mut(&lane) else { return };
        if sending.phase != Phase::Paused {
            return;
        }
        sending.phase = Phase::Closed;
        self.resume.retain(|(_, waiting)| *waiting != lane);
        self.wake(lane);
    }
}
