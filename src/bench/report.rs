//! The figures of a measurement: medians over runs, as a table or as JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::usage::Usage;
use crate::cli::BenchArgs;
use crate::exit::{Code, Failure};

/// The latencies of one stage, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    stored_per_second: f64,
    handled_per_second: f64,
    stored: Latency,
    handled: Latency,
    wire_bytes_per_packet: f64,
    disk_bytes_per_packet: f64,
    cpu_us_per_packet: f64,
    spool_file_bytes: f64,
    client_rss_peak_bytes: f64,
    server_rss_peak_bytes: f64,
}

impl Figures {
    /// Reads what the sending process printed.
    pub(super) fn read(printed: &Value, packets: u64) -> Result<Self, Failure> {
        let number = |key: &str| {
            printed.get(key).and_then(Value::as_f64).ok_or_else(|| {
                Failure::new(Code::Internal, format!("expected the figure {key}, found none"))
            })
        };
        let latency = |key: &str| {
            let of = |name: &str| printed.get(key)?.get(name)?.as_f64();
            let all = (of("p50"), of("p90"), of("p99"), of("p999"), of("max"));
            let (Some(p50), Some(p90), Some(p99), Some(p999), Some(max)) = all else {
                return Latency::default();
            };
            Latency { p50, p90, p99, p999, max }
        };
        Ok(Self {
            stored_per_second: number("stored_per_second")?,
            handled_per_second: number("handled_per_second")?,
            stored: latency("stored_us"),
            handled: latency("handled_us"),
            wire_bytes_per_packet: number("wire_bytes")? / packets as f64,
            spool_file_bytes: number("spool_file_bytes")?,
            ..Self::default()
        })
    }

    /// Adds what the processes used.
    pub(super) fn set_usage(
        &mut self,
        packets: u64,
        cpu_us: u64,
        disk_bytes: u64,
        client: Usage,
        server: Usage,
    ) {
        self.cpu_us_per_packet = cpu_us as f64 / packets as f64;
        self.disk_bytes_per_packet = disk_bytes as f64 / packets as f64;
        self.client_rss_peak_bytes = client.rss_peak_bytes as f64;
        self.server_rss_peak_bytes = server.rss_peak_bytes as f64;
    }

    /// The median of each figure by itself.
    fn medians(runs: &[Self]) -> Self {
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
        }
    }

    fn json(&self) -> Value {
        json!({
            "stored_per_second": whole(self.stored_per_second),
            "handled_per_second": whole(self.handled_per_second),
            "latency_us": { "stored": self.stored.json(), "handled": self.handled.json() },
            "cpu_us_per_packet": hundredths(self.cpu_us_per_packet),
            "client_rss_peak_bytes": whole(self.client_rss_peak_bytes),
            "server_rss_peak_bytes": whole(self.server_rss_peak_bytes),
            "disk_bytes_per_packet": hundredths(self.disk_bytes_per_packet),
            "wire_bytes_per_packet": hundredths(self.wire_bytes_per_packet),
            "spool_file_bytes": whole(self.spool_file_bytes),
        })
    }
}

impl Latency {
    fn json(self) -> Value {
        let Self { p50, p90, p99, p999, max } = self;
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(whole);
        json!({ "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": max })
    }

    fn words(self) -> String {
        format!("{:.0} / {:.0} / {:.0} / {:.0}", self.p50, self.p99, self.p999, self.max)
    }
}

/// What the measurement gave.
#[derive(Debug)]
pub(super) struct Report {
    args: BenchArgs,
    ours: Figures,
    ideal: Option<Figures>,
    /// The median over runs of ours divided by the ideal beside it.
    ratio: Option<f64>,
}

impl Report {
    pub(super) fn new(args: &BenchArgs, ours: &[Figures], ideals: &[Figures]) -> Self {
        let pairs = ours.iter().zip(ideals);
        let ratios: Vec<f64> =
            pairs.map(|(ours, ideal)| ours.handled_per_second / ideal.handled_per_second).collect();
        let ideal = (!ideals.is_empty()).then(|| Figures::medians(ideals));
        let ratio = ideal.is_some().then(|| median(ratios));
        Self { args: args.clone(), ours: Figures::medians(ours), ideal, ratio }
    }

    pub(super) fn json(&self) -> Value {
        let mut report = json!({
            "packets": self.args.packets,
            "size": self.args.size,
            "in_flight": self.args.in_flight,
            "targets": self.args.targets,
            "clients": self.args.clients,
            "source": format!("{:?}", self.args.source).to_lowercase(),
            "handler": format!("{:?}", self.args.handler).to_lowercase(),
            "runs": self.args.runs,
        });
        if let (Value::Object(report), Value::Object(figures)) = (&mut report, self.ours.json()) {
            report.extend(figures);
            if let (Some(ideal), Some(ratio)) = (self.ideal, self.ratio) {
                report.insert("ideal".into(), ideal.json());
                report.insert("ratio_to_ideal".into(), json!(hundredths(ratio)));
            }
        }
        report
    }

    pub(super) fn table(&self) -> String {
        let args = &self.args;
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let mut header = vec![String::new(), "paquebot".to_owned()];
        header.extend(self.ideal.map(|_| "ideal pipe".to_owned()));
        table.set_header(header);
        type Row = (&'static str, fn(&Figures) -> String);
        let rows: [Row; 10] = [
            ("stored, packets/s", |run| format!("{:.0}", run.stored_per_second)),
            ("handled, packets/s", |run| format!("{:.0}", run.handled_per_second)),
            ("stored after µs, p50 / p99 / p99.9 / max", |run| run.stored.words()),
            ("handled after µs, p50 / p99 / p99.9 / max", |run| run.handled.words()),
            ("CPU µs per packet, both sides", |run| format!("{:.2}", run.cpu_us_per_packet)),
            ("client memory, peak", |run| mebibytes(run.client_rss_peak_bytes)),
            ("server memory, peak", |run| mebibytes(run.server_rss_peak_bytes)),
            ("disk bytes per packet, client", |run| format!("{:.1}", run.disk_bytes_per_packet)),
            ("wire bytes per packet", |run| format!("{:.1}", run.wire_bytes_per_packet)),
            ("spool files at the end", |run| mebibytes(run.spool_file_bytes)),
        ];
        for (name, figure) in rows {
            let mut row = vec![name.to_owned(), figure(&self.ours)];
            row.extend(self.ideal.as_ref().map(figure));
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut out = format!(
            "{} packets of {} B, {} in flight, {} target(s), handler {:?}, median of {} run(s)\n",
            args.packets, args.size, args.in_flight, args.targets, args.handler, args.runs
        );
        out.push_str(&table.trim_fmt());
        if let Some(ratio) = self.ratio {
            out.push_str(&format!("\nhandled, as a share of the ideal pipe: {ratio:.2}"));
        }
        out.push('\n');
        out
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = figures.get(middle).copied().unwrap_or_default();
    if figures.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|at| figures.get(at)).copied().unwrap_or(upper);
    f64::midpoint(lower, upper)
}

/// A figure as a whole number; none of ours is negative or beyond 64 bits.
fn whole(figure: f64) -> u64 {
    figure.round() as u64
}

fn hundredths(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1_048_576.0)
}
