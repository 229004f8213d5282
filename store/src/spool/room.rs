//! Room in the files: whether they take another commit, and how much more they take before something is
//! refused or has to make way (R9).
//!
//! What the quota says is not what it takes: redb doubles a file when it is full, a large packet lies on
//! a page of a power of two, and a small file runs out of places for such pages long before it runs out
//! of bytes. So how much more is taken is found by going through what would become of the files, with
//! packets of the size that was seen lately.

use paquebot_protocol::Lane;

use super::lanes::LaneEntry;
use super::refused::Refused;
use super::rotate::DISK_RESERVE_BYTES;
use super::size;
use super::writer::Writer;

/// The steps that are gone through; what is beyond is taken to go on like that.
const STEPS_MAX: usize = 4_096;

/// What packets are taken to be before there were any.
const PACKET_BYTES: u64 = 4_096;

/// What the active segment has to do to take another commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing: it has room.
    Enough,
    /// Its file doubles: to this length.
    Grow(u64),
    /// The next segment is begun: of this length.
    Rotate(u64),
}

/// A segment that takes appends, as far as room goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    pub(super) len: u64,
    pub(super) filled: u64,
    pub(super) base: u64,
    pub(super) segment_bytes: u64,
}

impl Fill {
    /// How a commit can be taken when the files may grow by no more than `left` bytes.
    pub(super) fn room(&self, commit_bytes: u64, left: u64) -> Option<Room> {
        let Self { len, filled, base, segment_bytes } = *self;
        let commit_bytes = commit_bytes.saturating_add(size::slack(commit_bytes));
        let needed = filled.saturating_add(commit_bytes);
        if needed <= size::fill_max(len) {
            return Some(Room::Enough);
        }
        let grown = doubled(len, needed);
        let fresh = doubled(size::SEGMENT_BASE_BYTES, base.saturating_add(commit_bytes));
        // A file with next to nothing in it would only be followed by another like it.
        let worth = filled > base.saturating_mul(2);
        let large = grown > size::segment_len_max(segment_bytes).max(len);
        if grown - len <= left && !(worth && large) {
            Some(Room::Grow(grown))
        } else if worth && fresh <= left {
            // A small file may fit where doubling a large one does not.
            Some(Room::Rotate(fresh))
        } else {
            None
        }
    }

    /// How many bytes of packets of `packet_bytes` are taken while the files grow by `left` bytes.
    fn takes(mut self, packet_bytes: u64, left: u64) -> u64 {
        let commit_bytes = size::commit_bytes(packet_bytes, 1);
        let needed = commit_bytes.saturating_add(size::slack(commit_bytes));
        let (mut rest, mut taken) = (left, 0_u64);
        for _ in 0..STEPS_MAX {
            match self.room(commit_bytes, rest) {
                Some(Room::Enough) => {
                    let free = size::fill_max(self.len).saturating_sub(self.filled + needed);
                    let bytes = (free / packet_bytes + 1).saturating_mul(packet_bytes);
                    self.filled = self.filled.saturating_add(bytes);
                    taken = taken.saturating_add(bytes);
                }
                Some(Room::Grow(grown)) => {
                    rest -= grown - self.len;
                    self.len = grown;
                }
                Some(Room::Rotate(fresh)) => {
                    rest -= fresh;
                    (self.len, self.filled) = (fresh, self.base);
                }
                None => return taken,
            }
        }
        let spent = (left - rest).max(1);
        let ratio = left as f64 / spent as f64;
        (taken as f64 * ratio) as u64
    }
}

/// How long a file of `len` bytes is once it takes `needed`.
fn doubled(len: u64, needed: u64) -> u64 {
    let mut grown = len.max(1);
    while size::fill_max(grown) < needed {
        grown = grown.saturating_mul(2);
        if grown > u64::MAX / 4 {
            break;
        }
    }
    grown
}

/// How much is held, and how much more would be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolRoom {
    /// The bytes of the runs that are held: of the whole spool, or of the target that holds most, when
    /// that has come nearer to its share.
    pub held_bytes: u64,
    /// The bytes that are taken in addition before packets are refused or have to make way.
    pub left_bytes: u64,
    /// The bytes that the disk itself has left.
    pub disk_bytes: Option<u64>,
}

impl SpoolRoom {
    /// How full the spool is: from 0, with nothing in it, to 1, when nothing more is taken.
    #[must_use]
    pub fn fill_ratio(&self) -> f64 {
        let all = self.held_bytes.saturating_add(self.left_bytes);
        if all == 0 { 1.0 } else { self.held_bytes as f64 / all as f64 }
    }
}

impl Writer {
    /// The active segment, as far as room goes.
    pub(super) fn fill(&self) -> Fill {
        let (filled, base) = (self.active.filled, self.active.base);
        Fill { len: self.active.len(), filled, base, segment_bytes: self.options.segment_bytes }
    }

    /// How much is held and would be taken; looks whether what was full is so still.
    pub(super) fn measure(&mut self) -> SpoolRoom {
        self.look_whether_full();
        let disk_bytes = self.disk.available(self.paths.root()).ok();
        let pending = self.pending_bytes;
        let most = self.lanes.iter().max_by_key(|(_, entry)| entry.pending_bytes);
        let (lane, held) = most
            .map_or((Lane(0), 0), |(lane, entry): (Lane, &LaneEntry)| (lane, entry.pending_bytes));
        let target = self.lanes.get(lane).map(|entry| entry.target.clone());
        let policy = target.map(|target| self.policy_of(&target)).unwrap_or_default();
        let share_bytes = self.share_of(held, policy);
        let reserve = self.headroom().max(self.kept_from(held));
        let left = self.quota_left().saturating_sub(reserve);
        let disk = disk_bytes.unwrap_or(u64::MAX).saturating_sub(DISK_RESERVE_BYTES);
        let packet_bytes = if self.usual_bytes == 0 { PACKET_BYTES } else { self.usual_bytes };
        let is_full =
            self.failed.is_some() || self.refused.as_ref().is_some_and(Refused::is_of_all);
        let takes = if is_full { 0 } else { self.fill().takes(packet_bytes, left.min(disk)) };
        let whole = SpoolRoom { held_bytes: pending, left_bytes: takes, disk_bytes };
        let left_bytes = share_bytes.saturating_sub(held).min(takes);
        let share = SpoolRoom { held_bytes: held, left_bytes, disk_bytes };
        if share.fill_ratio() > whole.fill_ratio() && pending > 0 { share } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is foretold is what happens: packets one by one, until none is taken any more.
    #[test]
    fn what_is_foretold_is_what_is_taken() {
        for (quota, packet_bytes) in [(16 << 20, 900_000), (64 << 20, 900_000), (64 << 20, 5_000)] {
            let segment_bytes = 4 << 20;
            let (len, base) = (1 << 20, 100 << 10);
            let begin = Fill { len, filled: base, base, segment_bytes };
            let (mut fill, mut rest, mut taken) = (begin, quota, 0);
            let commit_bytes = size::commit_bytes(packet_bytes, 1);
            while let Some(room) = fill.room(commit_bytes, rest) {
                match room {
                    Room::Enough => {
                        (fill.filled, taken) = (fill.filled + packet_bytes, taken + packet_bytes);
                    }
                    Room::Grow(grown) => (rest, fill.len) = (rest - (grown - fill.len), grown),
                    Room::Rotate(fresh) => {
                        (rest, fill.len, fill.filled) = (rest - fresh, fresh, base);
                    }
                }
            }
            assert_eq!(begin.takes(packet_bytes, quota), taken);
            assert!(taken < quota);
        }
    }

    #[test]
    fn a_large_quota_is_reckoned_in_a_bounded_time() {
        let begin = Fill { len: 1 << 20, filled: 1 << 17, base: 1 << 17, segment_bytes: 64 << 20 };
        let quota = 1 << 44;
        let taken = begin.takes(1_000, quota);
        assert!(taken > quota / 2 && taken < quota, "{taken}");
    }

    #[test]
    fn nothing_in_it_is_0_and_nothing_more_is_1() {
        let room = |held_bytes, left_bytes| SpoolRoom { held_bytes, left_bytes, disk_bytes: None };
        assert_eq!(room(0, 10).fill_ratio(), 0.0);
        assert_eq!(room(0, 0).fill_ratio(), 1.0);
        assert_eq!(room(5, 0).fill_ratio(), 1.0);
        assert_eq!(room(5, 5).fill_ratio(), 0.5);
    }
}
