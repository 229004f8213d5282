//! That there was no room is remembered until there is, so that whoever looks can see it: a full spool
//! that nobody posts to stays full.

use paquebot_protocol::TargetId;

use super::parcel::Part;
use super::size;
use super::writer::Writer;
use crate::clock;
use crate::error::AppendError;
use crate::fault::Fault;

/// Targets of one parcel that are remembered.
const TARGETS_MAX: usize = 16;

/// What is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FullOf {
    /// The spool's own quota.
    Spool,
    /// The share of this target; others are taken.
    Target(TargetId),
    /// The number of lanes; targets that have one are taken.
    Lanes,
    /// The disk.
    Disk,
}

/// There was no room, and there is none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolFull {
    /// Of what.
    pub of: FullOf,
    /// Since when, in milliseconds since 1970 (UTC).
    pub since_ms: u64,
    /// How many packets were refused for that since; others wait for room.
    pub refused: u64,
}

/// What there was no room for.
#[derive(Debug)]
pub(super) struct Refused {
    told: SpoolFull,
    wanted: Vec<(TargetId, u64)>,
}

impl Refused {
    /// Whether that is more than the share of one target.
    pub(super) fn is_of_all(&self) -> bool {
        !matches!(self.told.of, FullOf::Target(_))
    }

    /// As everybody is told.
    pub(super) fn told(&self) -> SpoolFull {
        self.told.clone()
    }
}

impl Writer {
    /// There was no room for these packets; `refused` says that they do not wait for it.
    pub(super) fn is_full(&mut self, error: &AppendError, parts: &[Part], refused: bool) {
        let of = match error {
            AppendError::Full { .. } => FullOf::Spool,
            AppendError::LanesFull { .. } => FullOf::Lanes,
            AppendError::DiskFull => FullOf::Disk,
            AppendError::LaneFull { .. } => match self.beyond_share(parts) {
                Some(target) => FullOf::Target(target),
                None => FullOf::Spool,
            },
            _ => return,
        };
        let packets: usize = parts.iter().map(|part| part.batch.count()).sum();
        let packets = if refused { packets as u64 } else { 0 };
        let wanted = parts.iter().take(TARGETS_MAX);
        let wanted = wanted.map(|part| (part.target.clone(), size::batch_bytes(&part.batch)));
        let wanted: Vec<_> = wanted.collect();
        let fresh = || SpoolFull { of: of.clone(), since_ms: clock::reading().wall_ms, refused: 0 };
        let before = self.refused.take().map(|before| before.told);
        // The whole spool, or the disk, is more than one target's share.
        let mut told = match before {
            Some(before) if before.of == of => before,
            Some(before) if matches!(before.of, FullOf::Spool | FullOf::Disk) => before,
            Some(before) => SpoolFull { refused: before.refused, ..fresh() },
            None => fresh(),
        };
        told.refused = told.refused.saturating_add(packets);
        self.refused = Some(Refused { told, wanted });
        self.tell_whether_full();
    }

    /// These packets had room: if they are such as had none before, it is full no more.
    pub(super) fn has_room_for(&mut self, parts: &[Part]) {
        let Some(refused) = &self.refused else { return };
        let covers = |(target, bytes): &(TargetId, u64)| {
            let same = |part: &&Part| part.target == *target;
            parts.iter().filter(same).any(|part| size::batch_bytes(&part.batch) >= *bytes)
        };
        if !refused.wanted.is_empty() && refused.wanted.iter().all(covers) {
            self.refused = None;
            self.tell_whether_full();
        }
    }

    /// Looks whether there is room by now for what had none.
    pub(super) fn look_whether_full(&mut self) {
        let Some(refused) = &self.refused else { return };
        let (of, wanted) = (refused.told.of.clone(), refused.wanted.clone());
        let bytes: u64 = wanted.iter().map(|(_, bytes)| bytes).sum();
        let share = |writer: &mut Self, (target, bytes): &(TargetId, u64)| {
            let (lane, policy) = (writer.lanes.lane_of(target), writer.policy_of(target));
            writer.check_share(lane, policy, *bytes).is_ok()
        };
        let has_room = self.failed.is_none()
            && self.disk_takes(bytes)
            && wanted.iter().all(|one| share(self, one));
        let has_lane = of != FullOf::Lanes
            || self.lanes.len() < self.options.lanes_max
            || self.lanes.idle_after(None).next().is_some();
        if has_room && has_lane {
            self.refused = None;
            self.tell_whether_full();
        }
    }

    /// The target among those whose share is used up.
    fn beyond_share(&mut self, parts: &[Part]) -> Option<TargetId> {
        let beyond = |writer: &mut Self, part: &Part| {
            let lane = writer.lanes.lane_of(&part.target);
            let policy = writer.policy_of(&part.target);
            let found = writer.check_share(lane, policy, size::batch_bytes(&part.batch));
            matches!(found, Err(AppendError::LaneFull { .. }))
        };
        parts.iter().find(|part| beyond(self, part)).map(|part| part.target.clone())
    }

    /// The disk had no room for what was written.
    pub(super) fn is_full_by(&mut self, fault: &Fault) {
        if *fault == Fault::Full {
            self.is_full(&AppendError::DiskFull, &[], true);
        }
    }

    fn tell_whether_full(&self) {
        self.shared.status().full = self.refused.as_ref().map(Refused::told);
    }
}
