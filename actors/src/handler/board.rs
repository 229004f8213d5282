//! The board of a handler: whether it works, and whether somebody has paused it by hand.
//!
//! The handler writes how it works, the admin side pauses and resumes it, the router and the handler
//! look whether it is paused, and anyone may read. What is shown in metrics follows at once. That a
//! pause outlives the process is the ledger's affair.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use paquebot_protocol::LaneKey;

use crate::clock;
use crate::link::random;
use crate::meters::Delivery;

/// Why, at most, in bytes: what a destination answers is not ours.
const ERROR_BYTES_MAX: usize = 300;

/// When a lane of a paused handler comes again: after a second, so that a resumed handler has its
/// packets at once, and later when there are so many of them that their asking would be a load.
const COME_AGAIN_MS: std::ops::RangeInclusive<u64> = 1_000..=15_000;
const COME_AGAIN_MS_PER_LANE: u64 = 2;

/// Lanes that are kept in mind while they wait; there may be more.
const LANES_MAX: usize = 100_000;

/// How a handler is: it may be read and written by many.
#[derive(Debug, Clone, Default)]
pub struct HandlerBoard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    delivery: Delivery,
    paused: AtomicBool,
    board: Mutex<Board>,
}

/// What stands on it.
#[derive(Debug)]
struct Board {
    name: String,
    works: bool,
    since_ms: u64,
    last_error: Option<String>,
    /// How many lanes are failing, where somebody counts them.
    failing_lanes: Option<usize>,
    paused: Option<Paused>,
    gauges: Option<StateGauges>,
}

#[derive(Debug)]
struct Paused {
    since_ms: u64,
    by: String,
    /// The lanes that have come meanwhile.
    lanes: HashSet<LaneKey>,
}

/// The gauges of a handler's state.
#[derive(Debug, Clone)]
pub(super) struct StateGauges {
    pub(super) ok: Gauge,
    pub(super) failing: Gauge,
    pub(super) paused: Gauge,
}

/// How a handler is.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct HandlerState {
    /// `ok`, `failing` or `paused`.
    pub state: &'static str,
    /// Since when, RFC 3339.
    pub since: String,
    /// Who paused it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// How many lanes wait at their clients because of that; nothing when nobody knows.
    pub waiting_lanes: Option<usize>,
    /// What was in the way when it last failed.
    pub last_error: Option<String>,
}

impl Default for Board {
    fn default() -> Self {
        let (name, since_ms) = (String::new(), clock::wall_ms());
        let (last_error, failing_lanes, paused, gauges) = (None, None, None, None);
        Self { name, works: true, since_ms, last_error, failing_lanes, paused, gauges }
    }
}

impl HandlerBoard {
    /// How it is.
    #[must_use]
    pub fn read(&self) -> HandlerState {
        let board = self.board();
        let paused = board.paused.as_ref();
        let (state, waiting_lanes) = match (paused, board.works) {
            (Some(paused), _) => ("paused", Some(paused.lanes.len())),
            (None, true) => ("ok", Some(0)),
            (None, false) => ("failing", board.failing_lanes),
        };
        HandlerState {
            state,
            since: clock::rfc3339(paused.map_or(board.since_ms, |paused| paused.since_ms)),
            paused_by: paused.map(|paused| paused.by.clone()),
            waiting_lanes,
            last_error: board.last_error.clone(),
        }
    }

    /// How long deliveries to it take.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }

    /// From now on it begins no packet. One that is paused stays so as it was.
    pub fn pause(&self, since_ms: u64, by: &str) {
        let mut board = self.board();
        let by = by.to_owned();
        board.paused.get_or_insert_with(|| Paused { since_ms, by, lanes: HashSet::new() });
        self.0.paused.store(true, Ordering::Release);
        board.show();
    }

    /// It goes on.
    pub fn resume(&self) {
        let mut board = self.board();
        board.paused = None;
        self.0.paused.store(false, Ordering::Release);
        board.show();
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Acquire)
    }

    /// A lane came while it is paused: when it is to come again, in milliseconds, and why.
    pub(crate) fn put_off(&self, lane: LaneKey) -> (u64, String) {
        let mut board = self.board();
        let reason = format!("handler {} is paused", board.name);
        let lanes = board.paused.as_mut().map_or(0, |paused| {
            if paused.lanes.len() < LANES_MAX {
                paused.lanes.insert(lane);
            }
            paused.lanes.len() as u64
        });
        let (least, most) = COME_AGAIN_MS.into_inner();
        let longest = (lanes * COME_AGAIN_MS_PER_LANE).clamp(least, most);
        (longest - random() % (longest / 2), reason)
    }

    /// What it is called, and where it shows how it is.
    pub(super) fn show_on(&self, name: &str, gauges: StateGauges) {
        let mut board = self.board();
        name.clone_into(&mut board.name);
        board.gauges = Some(gauges);
        board.show();
    }

    /// It works; says whether that is news.
    pub(super) fn is_ok(&self) -> bool {
        self.turn(true, None)
    }

    /// It fails; says whether that is news.
    pub(super) fn is_failing(&self, why: &str) -> bool {
        let end = why.floor_char_boundary(ERROR_BYTES_MAX);
        self.turn(false, why.get(..end))
    }

    /// So many of its lanes are failing.
    pub(super) fn failing_lanes(&self, lanes: usize) {
        self.board().failing_lanes = Some(lanes);
    }

    fn turn(&self, works: bool, error: Option<&str>) -> bool {
        let mut board = self.board();
        if let Some(error) = error {
            board.last_error = Some(error.to_owned());
        }
        let news = board.works != works;
        if news {
            board.works = works;
            board.since_ms = clock::wall_ms();
            board.show();
        }
        news
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn show(&self) {
        let Some(gauges) = &self.gauges else { return };
        let paused = self.paused.is_some();
        gauges.ok.set(f64::from(u8::from(self.works && !paused)));
        gauges.failing.set(f64::from(u8::from(!self.works && !paused)));
        gauges.paused.set(f64::from(u8::from(paused)));
    }
}
