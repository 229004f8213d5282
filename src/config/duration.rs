//! Durations: a number and `ms`, `s`, `min`, `h` or `day`.
//!
//! The one grammar for the config file, HTTP headers and queries. humantime is not used, because it
//! also takes `M` for a month, sums such as `1h 5min` and bare zeros. Never decides which duration
//! is sensible where.

use std::time::Duration;

use super::quantity::{self, QuantityError, Unit};

/// What a duration looks like, for people.
pub(super) const A_DURATION: &str =
    "a duration: a number and ms, s, min, h or day, such as \"10 s\"";

/// 100 years, in milliseconds: longer ones could overflow a sum with the clock, which panics.
const MILLIS_MAX: u64 = 100 * 365 * DAY;
const DAY: u64 = 24 * 60 * 60 * 1_000;

const UNITS: [Unit; 5] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 60 * 60 * 1_000), ("day", DAY)];

/// Reads a duration of whole milliseconds, at most 100 years.
///
/// # Errors
///
/// The text is not a number and a unit, has parts of a millisecond, or is longer than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let millis = quantity::parse(text, &UNITS, MILLIS_MAX);
    millis.map(Duration::from_millis).map_err(|reason| QuantityError {
        expected: A_DURATION,
        found: text.to_owned(),
        reason,
    })
}

/// Writes a duration in the same grammar, in the largest unit that keeps it exact.
///
/// Parts of a millisecond are left out.
#[must_use]
pub fn duration_in_words(duration: Duration) -> String {
    quantity::words(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &UNITS)
}
