//! The one place that reads a clock; the law is told what time it is.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use paquebot_protocol::Millis;

static STARTED: LazyLock<Instant> = LazyLock::new(instant);

/// A moment of the monotonic clock, for measuring how long something took.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the file that may read the clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Milliseconds since this process first asked; never goes back.
#[must_use]
pub fn now() -> Millis {
    Millis::from(instant().duration_since(*STARTED))
}

/// Milliseconds since 1970 (UTC) by this machine's wall clock, which may jump.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the file that may read the clock")]
pub fn wall_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// A wall-clock time as RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(wall_ms: u64) -> String {
    let millis = i64::try_from(wall_ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

/// A wall-clock time as it stands in the name of a file: it sorts, and no system minds it.
#[must_use]
pub fn file_stamp(wall_ms: u64) -> String {
    rfc3339(wall_ms).replace(':', "-")
}

/// The wall-clock time that [`file_stamp`] wrote; nothing when it is anything else.
#[must_use]
pub fn read_file_stamp(stamp: &str) -> Option<u64> {
    let (date, time) = stamp.split_once('T')?;
    let time: jiff::Timestamp = format!("{date}T{}", time.replace('-', ":")).parse().ok()?;
    let wall_ms = u64::try_from(time.as_millisecond()).ok()?;
    (file_stamp(wall_ms) == stamp).then_some(wall_ms)
}
