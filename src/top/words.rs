//! Figures as people read them: thousands set apart, sizes with a unit, ages in words.

use jiff::Timestamp;

pub(super) use crate::words::{count, counted, size};

/// A rate: whole where that says enough, with a decimal where it is small.
pub(super) fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "–".to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => count(rate.round().max(0.0) as u64),
    }
}

/// How long ago an RFC 3339 time was; nothing when it is none.
pub(super) fn ago(since: &str, now_ms: u64) -> Option<String> {
    let since: Timestamp = since.parse().ok()?;
    let since_ms = u64::try_from(since.as_millisecond()).ok()?;
    Some(age(now_ms.saturating_sub(since_ms)))
}

/// A length of time: its two largest units.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: String, small: u64, unit: &str| match small {
        0 => large,
        _ => format!("{large} {small} {unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(format!("{minutes} min"), seconds % 60, "s"),
        3600..86_400 => two(format!("{hours} h"), minutes % 60, "min"),
        _ if days == 1 => two("1 day".to_owned(), hours % 24, "h"),
        _ => two(format!("{} days", count(days)), hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        let counts = [0, 999, 1_000, 12_345, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let rates = [None, Some(0.0), Some(0.34), Some(9.96), Some(12_345.6)].map(rate);
        assert_eq!(rates, ["–", "0", "0.3", "10", "12,346"]);
        let sizes = [0, 1023, 1024, 1_572_864, 1 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1.0 GiB"]);
        let ages = [999, 59_999, 60_000, 192_000, 3_600_000, 93_600_000, 176_400_000].map(age);
        let words = ["0 s", "59 s", "1 min", "3 min 12 s", "1 h", "1 day 2 h", "2 days 1 h"];
        assert_eq!(ages, words);
    }

    #[test]
    fn a_clock_that_is_behind_makes_no_age_of_centuries() {
        assert_eq!(ago("2026-11-23T10:00:05.000Z", 0).unwrap(), "0 s");
        assert_eq!(ago("-", 0), None);
    }
}
