//! How long packets take from their event to the record that they are handled.
//!
//! One figure for each packet, at more than a million of them a second: the histograms of the recorder
//! keep every figure until somebody folds them, so these are counted in their buckets at once.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The metric's name.
pub const DELIVERY_SECONDS: &str = "paquebot_delivery_seconds";

const HELP: &str = "from a packet's event, by its client's clock, to the record that it is handled";

/// The upper bounds of the buckets in milliseconds, with what they are called: 1 ms to 30 days.
const BUCKETS: [(u64, &str); 21] = [
    (1, "0.001"),
    (2, "0.002"),
    (5, "0.005"),
    (10, "0.01"),
    (20, "0.02"),
    (50, "0.05"),
    (100, "0.1"),
    (200, "0.2"),
    (500, "0.5"),
    (1_000, "1"),
    (2_000, "2"),
    (5_000, "5"),
    (10_000, "10"),
    (30_000, "30"),
    (60_000, "60"),
    (300_000, "300"),
    (1_800_000, "1800"),
    (21_600_000, "21600"),
    (86_400_000, "86400"),
    (604_800_000, "604800"),
    (2_592_000_000, "2592000"),
];

/// How long deliveries to one handler took, since the process started: cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Delivery(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    /// By bucket; those beyond the last one stand last.
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_ms: AtomicU64,
}

impl Delivery {
    /// Packets that came to be at these times were handled at `now_ms`, all in milliseconds since 1970.
    /// One that comes from the future, by a clock that is ahead, took no time.
    pub fn handled(&self, now_ms: u64, created_ms: impl Iterator<Item = u64>) {
        let (mut counts, mut sum_ms) = ([0_u64; BUCKETS.len() + 1], 0_u64);
        let (mut last_ms, mut bucket) = (u64::MAX, 0);
        for created_ms in created_ms {
            let took_ms = now_ms.saturating_sub(created_ms);
            // Most packets are made in the same millisecond as the one before.
            if took_ms != last_ms {
                last_ms = took_ms;
                bucket = BUCKETS.partition_point(|(bound_ms, _)| *bound_ms < took_ms);
            }
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
            sum_ms = sum_ms.saturating_add(took_ms);
        }
        for (cell, count) in self.0.counts.iter().zip(counts).filter(|(_, count)| *count > 0) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
        self.0.sum_ms.fetch_add(sum_ms, Ordering::Relaxed);
    }

    /// What was counted by handler, in Prometheus' text format.
    #[must_use]
    pub fn render<'a>(of: impl Iterator<Item = (&'a str, Self)>) -> String {
        let mut out =
            format!("# HELP {DELIVERY_SECONDS} {HELP}\n# TYPE {DELIVERY_SECONDS} histogram\n");
        for (handler, delivery) in of {
            // A String takes every byte.
            let _written = delivery.render_one(&escaped(handler), &mut out);
        }
        out
    }

    fn render_one(&self, handler: &str, out: &mut String) -> std::fmt::Result {
        let name = DELIVERY_SECONDS;
        let mut total = 0;
        let bounds = BUCKETS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (cell, bound) in self.0.counts.iter().zip(bounds) {
            total += cell.load(Ordering::Relaxed);
            writeln!(out, "{name}_bucket{{handler=\"{handler}\",le=\"{bound}\"}} {total}")?;
        }
        let sum = self.0.sum_ms.load(Ordering::Relaxed) as f64 / 1_000.0;
        writeln!(out, "{name}_sum{{handler=\"{handler}\"}} {sum}")?;
        writeln!(out, "{name}_count{{handler=\"{handler}\"}} {total}")
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_in_one_bucket_and_none_took_less_than_nothing() {
        let delivery = Delivery::default();
        let (now_ms, day_ms) = (3_000_000_000, 86_400_000);
        let created = [now_ms + 5_000, now_ms, now_ms - 7, now_ms - day_ms, 0];
        delivery.handled(now_ms, created.into_iter());
        let text = Delivery::render([("a\"b", delivery)].into_iter());
        let at = |bound: &str| {
            let series = format!("{DELIVERY_SECONDS}_bucket{{handler=\"a\\\"b\",le=\"{bound}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(series.as_str()));
            line.unwrap().parse::<u64>().unwrap()
        };
        let counts = ["0.001", "0.005", "0.01", "21600", "86400", "2592000", "+Inf"].map(at);
        assert_eq!(counts, [2, 2, 3, 3, 4, 4, 5]);
        assert!(text.contains("_sum{handler=\"a\\\"b\"} 3086400.007\n"), "{text}");
        assert!(text.contains("_count{handler=\"a\\\"b\"} 5\n"), "{text}");
    }
}
