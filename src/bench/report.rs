//! What a measurement gave: medians over runs, as a table or as JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::args::{BenchArgs, BenchSource, name};
use super::figures::{Figures, Latency, median};

/// The median over runs.
#[derive(Debug)]
pub(super) struct Report {
    args: BenchArgs,
    ours: Figures,
    ideal: Option<Figures>,
    /// The median over runs of ours divided by the ideal beside it.
    ratio: Option<f64>,
}

/// A row of the table: its name and its figure, if there is one.
type Row = (&'static str, fn(&Figures) -> Option<String>);

const ROWS: [Row; 15] = [
    ("stored, packets/s", |run| rate(run.stored_per_second)),
    ("stored, packets/s, the first tenth", |run| rate(run.first_tenth_per_second)),
    ("stored, packets/s, the last tenth", |run| rate(run.last_tenth_per_second)),
    ("handled, packets/s", |run| rate(run.handled_per_second)),
    ("slowest client, as a share of their mean", |run| share(run.slowest_share)),
    ("stored after µs, p50 / p99 / p99.9 / max", |run| words(run.stored)),
    ("handled after µs, p50 / p99 / p99.9 / max", |run| words(run.handled)),
    ("CPU µs per packet, both sides", |run| share(run.cpu_us_per_packet)),
    ("client memory, peak", |run| mebibytes(run.client_rss_peak_bytes)),
    ("server memory, peak", |run| mebibytes(run.server_rss_peak_bytes)),
    ("disk bytes per packet, client", |run| tenths(run.disk_bytes_per_packet)),
    ("wire bytes per packet", |run| tenths(run.wire_bytes_per_packet)),
    ("spool files at the end", |run| mebibytes(run.spool_file_bytes)),
    ("ms from SIGKILL to ready", |run| tenths(run.ready_ms)),
    ("s from empty to the disk's space given back", |run| share(run.given_back_seconds)),
];

impl Report {
    /// The medians of `ours`, and of `ideals`, if they were measured.
    pub(super) fn new(args: &BenchArgs, ours: &[Figures], ideals: &[Figures]) -> Self {
        // An HTTP server that keeps nothing handles nothing.
        let of = |run: &Figures| match args.source {
            BenchSource::Http => run.stored_per_second,
            BenchSource::Library | BenchSource::Tail => run.handled_per_second,
        };
        let ratios = ours.iter().zip(ideals).map(|(ours, ideal)| of(ours) / of(ideal)).collect();
        let ideal = (!ideals.is_empty()).then(|| Figures::medians(ideals));
        let ratio = ideal.is_some().then(|| median(ratios));
        Self { args: args.clone(), ours: Figures::medians(ours), ideal, ratio }
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let mut report = json!({
            "size": self.args.size,
            "in_flight": self.args.in_flight(),
            "targets": self.args.targets,
            "clients": self.args.clients,
            "source": name(&self.args.source),
            "handler": name(&self.args.handler),
            "backlog": self.args.backlog,
            "runs": self.args.runs,
        });
        if let (Value::Object(report), Value::Object(figures)) = (&mut report, json_of(&self.ours))
        {
            report.extend(figures);
            if let (Some(ideal), Some(ratio)) = (&self.ideal, self.ratio) {
                report.insert("ideal".into(), json_of(ideal));
                report.insert("ratio_to_ideal".into(), json!(hundredths(ratio)));
            }
        }
        report
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let args = &self.args;
        let http = args.source == BenchSource::Http;
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let mut header = vec![String::new(), "paquebot".to_owned()];
        let ideal_name = if http { "empty HTTP handler" } else { "ideal pipe" };
        header.extend(self.ideal.map(|_| ideal_name.to_owned()));
        table.set_header(header);
        for (name, figure) in ROWS {
            let Some(ours) = figure(&self.ours) else { continue };
            let mut row = vec![name.to_owned(), ours];
            row.extend(self.ideal.as_ref().map(|ideal| figure(ideal).unwrap_or("-".into())));
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let counted = |count: u64, one: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {one}s"),
        };
        let mut out = format!(
            "{:.0} packets of {} B, {} in flight, {}, {}, source {}, handler {}, median of {}\n",
            self.ours.packets,
            args.size,
            args.in_flight(),
            counted(args.targets, "target"),
            counted(args.clients, "client"),
            name(&args.source),
            name(&args.handler),
            counted(args.runs, "run"),
        );
        out.push_str(&table.trim_fmt());
        if let Some(ratio) = self.ratio {
            let what = if http { "stored" } else { "handled" };
            out.push_str(&format!("\n{what}, as a share of the {ideal_name}: {ratio:.2}"));
        }
        out.push('\n');
        out
    }
}

/// A run's figures, without those that it does not have.
fn json_of(run: &Figures) -> Value {
    let latency = |Latency { p50, p90, p99, p999, max }: Latency| {
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(whole);
        json!({ "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": max })
    };
    let mut figures = json!({
        "packets": whole(run.packets),
        "stored_per_second": whole(run.stored_per_second),
        "handled_per_second": whole(run.handled_per_second),
        "latency_us": { "stored": latency(run.stored), "handled": latency(run.handled) },
        "cpu_us_per_packet": hundredths(run.cpu_us_per_packet),
        "client_rss_peak_bytes": whole(run.client_rss_peak_bytes),
        "server_rss_peak_bytes": whole(run.server_rss_peak_bytes),
        "disk_bytes_per_packet": hundredths(run.disk_bytes_per_packet),
        "wire_bytes_per_packet": hundredths(run.wire_bytes_per_packet),
        "spool_file_bytes": whole(run.spool_file_bytes),
        "slowest_client_share": hundredths(run.slowest_share),
        "stored_first_tenth_per_second": whole(run.first_tenth_per_second),
        "stored_last_tenth_per_second": whole(run.last_tenth_per_second),
        "sigkill_to_ready_ms": hundredths(run.ready_ms),
        "given_back_seconds": hundredths(run.given_back_seconds),
    });
    if let Value::Object(figures) = &mut figures {
        figures.retain(|_, figure| figure.as_f64() != Some(0.0));
    }
    figures
}

/// A figure that the run has.
fn there(figure: f64) -> Option<f64> {
    (figure > 0.0).then_some(figure)
}

fn rate(figure: f64) -> Option<String> {
    there(figure).map(|figure| format!("{figure:.0}"))
}

fn share(figure: f64) -> Option<String> {
    there(figure).map(|figure| format!("{figure:.2}"))
}

fn tenths(figure: f64) -> Option<String> {
    there(figure).map(|figure| format!("{figure:.1}"))
}

fn mebibytes(bytes: f64) -> Option<String> {
    there(bytes).map(|bytes| format!("{:.1} MiB", bytes / 1_048_576.0))
}

fn words(Latency { p50, p99, p999, max, .. }: Latency) -> Option<String> {
    there(max).map(|max| format!("{p50:.0} / {p99:.0} / {p999:.0} / {max:.0}"))
}

/// A figure as a whole number; none of ours is negative or beyond 64 bits.
fn whole(figure: f64) -> u64 {
    figure.round() as u64
}

fn hundredths(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
