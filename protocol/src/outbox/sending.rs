//! What the outbox knows of one lane.

use std::collections::VecDeque;

use super::turns::Priority;
use crate::id::Number;
use crate::window::Window;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Closed,
    Opening,
    Proving { cursor: Number, window_bytes: u64, skipped: u64 },
    Open,
    Loading,
    Paused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sending {
    pub(super) phase: Phase,
    pub(super) generation: u32,
    /// Whether the lane was paused when it was last open.
    pub(super) was_paused: bool,
    pub(super) queued: bool,
    pub(super) priority: Priority,
    pub(super) acked_through: Number,
    /// The drop of everything up to here is durable.
    pub(super) dropped_through: Number,
    pub(super) sent_through: Number,
    /// The highest number that this connection has sent or heard to be final: an ack beyond it is
    /// none.
    pub(super) ackable_through: Number,
    pub(super) stored_through: Number,
    pub(super) window: Window,
    pub(super) in_flight: VecDeque<(Number, u64)>,
    pub(super) retiring: Retiring,
    /// The first number of a run that arrived unreadable, and how often in a row.
    pub(super) refused: (Number, u8),
}

/// How far the end of a lane has come (R6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Retiring {
    No,
    Wanted,
    Said,
}

impl Sending {
    /// A lane that no connection has opened yet.
    pub(super) fn new(acked_through: Number) -> Self {
        Self {
            phase: Phase::Closed,
            generation: 0,
            was_paused: false,
            priority: Priority::default(),
            queued: false,
            acked_through,
            dropped_through: acked_through,
            sent_through: acked_through,
            ackable_through: acked_through,
            stored_through: acked_through,
            window: Window::default(),
            in_flight: VecDeque::new(),
            retiring: Retiring::No,
            refused: (Number::NONE, 0),
        }
    }
}
