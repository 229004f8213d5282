//! Choices made by bytes: the small values that matter, and the large ones that overflow.

use arbitrary::Unstructured;
use paquebot_protocol::{Lane, Number};

/// Lanes that a peer speaks of, usually.
pub(crate) const LANES: u64 = 3;

/// One of `0..end`; 0 when the bytes are used up.
pub(crate) fn below(bytes: &mut Unstructured<'_>, end: u64) -> u64 {
    bytes.int_in_range(0..=end.saturating_sub(1)).unwrap_or_default()
}

pub(crate) fn lane(bytes: &mut Unstructured<'_>) -> Lane {
    match below(bytes, 64) {
        0 => Lane(below(bytes, 3) * (u64::MAX / 2)),
        choice => Lane(choice % LANES + 1),
    }
}

/// Mostly a number near the beginning, seldom one at an end of the range.
pub(crate) fn number(bytes: &mut Unstructured<'_>) -> Number {
    match below(bytes, 16) {
        0 => Number(u64::MAX),
        1 => Number(u64::MAX - 1),
        2 => Number(u64::from(u32::MAX)),
        _ => Number(below(bytes, 24)),
    }
}
