//! The figures of one run, and the median of several.

use std::time::Duration;

use serde_json::Value;

use super::usage::Usage;
use crate::exit::{Code, Failure};

/// The latencies of one stage, in microseconds; of several clients those of the slowest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// What one run gave; nought is what it does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) packets: f64,
    pub(super) stored_per_second: f64,
    pub(super) handled_per_second: f64,
    pub(super) stored: Latency,
    pub(super) handled: Latency,
    pub(super) wire_bytes_per_packet: f64,
    pub(super) disk_bytes_per_packet: f64,
    pub(super) cpu_us_per_packet: f64,
    pub(super) spool_file_bytes: f64,
    pub(super) client_rss_peak_bytes: f64,
    pub(super) server_rss_peak_bytes: f64,
    /// Of several clients: the slowest one's rate, as a share of their mean.
    pub(super) slowest_share: f64,
    pub(super) first_tenth_per_second: f64,
    pub(super) last_tenth_per_second: f64,
    pub(super) ready_ms: f64,
    pub(super) given_back_seconds: f64,
}

impl Figures {
    /// Reads what the sending processes printed.
    pub(super) fn read(printed: &[Value]) -> Result<Self, Failure> {
        let needed = |of: &Value, key: &str| {
            of.get(key).and_then(Value::as_f64).ok_or_else(|| {
                Failure::new(Code::Internal, format!("expected the figure {key}, found none"))
            })
        };
        let all = |key: &str| {
            let figures = printed.iter().map(|one| needed(one, key));
            figures.collect::<Result<Vec<_>, _>>()
        };
        let longest = |key: &str| {
            let seconds = printed.iter().filter_map(|one| one.get(key)?.as_f64());
            seconds.fold(0.0, f64::max)
        };
        let latency = |stage: &str| {
            let of = |name: &str| {
                let figures = printed.iter().filter_map(|one| one.get(stage)?.get(name)?.as_f64());
                figures.fold(0.0, f64::max)
            };
            let (p50, p90, p99, p999, max) =
                (of("p50"), of("p90"), of("p99"), of("p999"), of("max"));
            Latency { p50, p90, p99, p999, max }
        };
        let (packets, ends) = (all("packets")?, all("handled_seconds")?);
        let together: f64 = packets.iter().sum();
        let rates: Vec<f64> =
            packets.iter().zip(&ends).map(|(packets, seconds)| rate(*packets, *seconds)).collect();
        let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Self {
            packets: together,
            stored_per_second: rate(together, longest("stored_seconds")),
            handled_per_second: rate(together, longest("handled_seconds")),
            stored: latency("stored_us"),
            handled: latency("handled_us"),
            wire_bytes_per_packet: all("wire_bytes")?.iter().sum::<f64>() / together.max(1.0),
            spool_file_bytes: all("spool_file_bytes")?.iter().sum(),
            slowest_share: if rates.len() > 1 { slowest / mean } else { 0.0 },
            first_tenth_per_second: rate(together / 10.0, longest("stored_first_tenth_seconds")),
            last_tenth_per_second: rate(together / 10.0, longest("stored_last_tenth_seconds")),
            given_back_seconds: longest("given_back_seconds"),
            ..Self::default()
        })
    }

    /// How many packets there were.
    pub(super) fn packets(&self) -> u64 {
        // It was counted in whole numbers.
        self.packets as u64
    }

    /// Adds what the receiving and the sending side used between two looks.
    pub(super) fn set_usage(&mut self, before: (Usage, Usage), after: (Usage, Usage)) {
        let cpu_us = |(receiver, sender): (Usage, Usage)| receiver.cpu_us + sender.cpu_us;
        let packets = self.packets.max(1.0);
        self.cpu_us_per_packet = (cpu_us(after) - cpu_us(before)) as f64 / packets;
        self.disk_bytes_per_packet = (after.1.disk_bytes - before.1.disk_bytes) as f64 / packets;
        self.client_rss_peak_bytes = after.1.rss_peak_bytes as f64;
        self.server_rss_peak_bytes = after.0.rss_peak_bytes as f64;
    }

    /// A backlog that grew, and how it ended; its client was `ready` so long after it was killed.
    pub(super) fn then(self, end: Self, ready: Duration) -> Self {
        Self {
            handled_per_second: end.handled_per_second,
            wire_bytes_per_packet: end.wire_bytes_per_packet,
            cpu_us_per_packet: self.cpu_us_per_packet + end.cpu_us_per_packet,
            client_rss_peak_bytes: self.client_rss_peak_bytes.max(end.client_rss_peak_bytes),
            server_rss_peak_bytes: end.server_rss_peak_bytes,
            slowest_share: end.slowest_share,
            ready_ms: ready.as_secs_f64() * 1_000.0,
            given_back_seconds: end.given_back_seconds,
            ..self
        }
    }

    /// The median of each figure by itself.
    pub(super) fn medians(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        let latency = |stage: fn(&Self) -> Latency| {
            let of = |percentile: fn(Latency) -> f64| {
                median(runs.iter().map(|run| percentile(stage(run))).collect())
            };
            Latency {
                p50: of(|latency| latency.p50),
                p90: of(|latency| latency.p90),
                p99: of(|latency| latency.p99),
                p999: of(|latency| latency.p999),
                max: of(|latency| latency.max),
            }
        };
        Self {
            packets: of(|run| run.packets),
            stored_per_second: of(|run| run.stored_per_second),
            handled_per_second: of(|run| run.handled_per_second),
            stored: latency(|run| run.stored),
            handled: latency(|run| run.handled),
            wire_bytes_per_packet: of(|run| run.wire_bytes_per_packet),
            disk_bytes_per_packet: of(|run| run.disk_bytes_per_packet),
            cpu_us_per_packet: of(|run| run.cpu_us_per_packet),
            spool_file_bytes: of(|run| run.spool_file_bytes),
            client_rss_peak_bytes: of(|run| run.client_rss_peak_bytes),
            server_rss_peak_bytes: of(|run| run.server_rss_peak_bytes),
            slowest_share: of(|run| run.slowest_share),
            first_tenth_per_second: of(|run| run.first_tenth_per_second),
            last_tenth_per_second: of(|run| run.last_tenth_per_second),
            ready_ms: of(|run| run.ready_ms),
            given_back_seconds: of(|run| run.given_back_seconds),
        }
    }
}

fn rate(packets: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { packets / seconds } else { 0.0 }
}

/// The median of `figures`.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = figures.get(middle).copied().unwrap_or_default();
    if figures.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|at| figures.get(at)).copied().unwrap_or(upper);
    f64::midpoint(lower, upper)
}
