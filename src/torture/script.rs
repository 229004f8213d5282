//! The script of one connection: what the network will do to it, drawn when it is made.

use std::time::Duration;

use fastrand::Rng;

use super::plan::{spread, stream};

/// After how many bytes of one direction a wound falls, and after how long at the latest.
const WOUND_BYTES: (u64, u64) = (8, 8 * 1024 * 1024);
const WOUND_MS: (u64, u64) = (200, 30_000);

/// How long a link is silent and then goes on, in milliseconds.
const STALL_MS: (u64, u64) = (50, 10_000);

/// How long a chunk is under way, in milliseconds.
const DELAY_MS: (u64, u64) = (1, 60);

/// What a slow link carries.
const BYTES_PER_SECOND: (u64, u64) = (30_000, 3_000_000);

/// How many bytes travel alone.
const SINGLE_BYTES: (u64, u64) = (8, 4_096);

/// What becomes of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Reset before a byte has passed.
    pub(super) refused: bool,
    /// From the client to the server.
    pub(super) up: Course,
    /// From the server to the client.
    pub(super) down: Course,
}

/// What becomes of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// How many bytes travel alone at first.
    pub(super) single_bytes: u64,
    /// How long each chunk is under way.
    pub(super) delay: Duration,
    /// What passes in a second at most.
    pub(super) bytes_per_second: Option<u64>,
    /// What happens to it once.
    pub(super) wound: Option<Wound>,
}

/// What happens to a direction, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wound {
    /// After so many bytes,
    pub(super) bytes: u64,
    /// or after so long, whichever is earlier.
    pub(super) after: Duration,
    /// What it is.
    pub(super) kind: WoundKind,
}

/// What can happen to a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WoundKind {
    /// It ends with a FIN; the other direction goes on.
    Fin,
    /// The connection is reset.
    Reset,
    /// Nothing passes for a while.
    Stall(Duration),
    /// Nothing passes any more, and nobody is told.
    StallForever,
    /// One bit is another.
    Flip,
}

impl Script {
    /// The script of the connection `at` through the proxy of client `client`.
    pub(super) fn draw(seed: u64, client: u64, at: u64) -> Self {
        let mut rng = stream(seed, "connection", client << 32 | at);
        let (mut up, mut down) = (shape(&mut rng), shape(&mut rng));
        let wounded = if rng.bool() { &mut up } else { &mut down };
        wounded.wound = wound(&mut rng);
        Self { refused: rng.u8(..100) < 5, up, down }
    }
}

fn shape(rng: &mut Rng) -> Course {
    let mut course = Course::default();
    match rng.u8(..100) {
        0..15 => course.delay = Duration::from_millis(spread(rng, DELAY_MS)),
        15..30 => course.bytes_per_second = Some(spread(rng, BYTES_PER_SECOND)),
        30..45 => course.single_bytes = spread(rng, SINGLE_BYTES),
        _ => {}
    }
    course
}

fn wound(rng: &mut Rng) -> Option<Wound> {
    let bytes = spread(rng, WOUND_BYTES);
    let after = Duration::from_millis(spread(rng, WOUND_MS));
    let stall = Duration::from_millis(spread(rng, STALL_MS));
    let kind = match rng.u8(..100) {
        0..20 => WoundKind::Fin,
        20..45 => WoundKind::Reset,
        45..60 => WoundKind::Stall(stall),
        60..70 => WoundKind::StallForever,
        70..90 => WoundKind::Flip,
        _ => return None,
    };
    Some(Wound { bytes, after, kind })
}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn a_connection_has_the_same_script_in_every_run_of_a_seed() {
        assert_eq!(Script::draw(7, 1, 3), Script::draw(7, 1, 3));
        let scripts: Vec<_> = (0..10).map(|at| Script::draw(7, 1, at)).collect();
        assert!(scripts.iter().any(|script| *script != scripts[0]));
    }
}
