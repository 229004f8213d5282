//! Turns: which lane goes next. Lanes of one priority take turns; those of a higher one go first, but
//! a lower one that was passed over for long gets a turn, so that nothing waits for ever (R5, R11).

use std::collections::VecDeque;

use crate::id::Lane;

/// How early the packets of a lane are sent, compared with those of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// As most.
    #[default]
    Normal,
    /// When others have nothing to send.
    Low,
}

/// Turns of others after which a lower priority gets one.
const PASSED_OVER_MAX: u8 = 15;

/// Lanes that wait, by priority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Turns {
    high: VecDeque<Lane>,
    normal: VecDeque<Lane>,
    low: VecDeque<Lane>,
    /// How many turns higher ones had while a normal one waited.
    normal_passed_over: u8,
    /// The same for a low one.
    low_passed_over: u8,
}

impl Turns {
    /// A lane waits for its turn.
    pub(super) fn push(&mut self, priority: Priority, lane: Lane) {
        match priority {
            Priority::High => self.high.push_back(lane),
            Priority::Normal => self.normal.push_back(lane),
            Priority::Low => self.low.push_back(lane),
        }
    }

    /// Whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Lane> {
        if self.low_passed_over >= PASSED_OVER_MAX {
            return self.pop_low();
        }
        if self.normal_passed_over >= PASSED_OVER_MAX {
            return self.pop_normal();
        }
        let high = self.high.pop_front();
        if high.is_some() {
            pass_over(&mut self.normal_passed_over, &self.normal);
            pass_over(&mut self.low_passed_over, &self.low);
            return high;
        }
        self.pop_normal().or_else(|| self.pop_low())
    }

    fn pop_normal(&mut self) -> Option<Lane> {
        self.normal_passed_over = 0;
        let normal = self.normal.pop_front();
        if normal.is_some() {
            pass_over(&mut self.low_passed_over, &self.low);
        }
        normal
    }

    fn pop_low(&mut self) -> Option<Lane> {
        self.low_passed_over = 0;
        self.low.pop_front()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.high.len() + self.normal.len() + self.low.len()
    }

    /// Nobody waits any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Those who wait see another go.
fn pass_over(passed_over: &mut u8, waiting: &VecDeque<Lane>) {
    if !waiting.is_empty() {
        *passed_over += 1;
    }
}
