//! What a source guarantees, in words.

use paquebot_actors::source::{
    DirectoryOptions, ExecOptions, HostOptions, LineOptions, LongLine, Metric, Output, Runs, Side,
    StartAt, Then, Ticks,
};

use super::Report;
use crate::config::{OnError, Reach, Recipe, Source, SourceKind, duration_in_words, size_in_words};

/// Tells of a source.
pub(super) fn tell(report: &mut Report, source: &Source) {
    let name = &source.name;
    match &source.kind {
        SourceKind::Http { listen, max_connections, allow_origins, recipe } => {
            report.line(1, &format!("source {name}: http on {listen}"));
            report.line(2, "\"stored\" is said after the fsync that covers the packet");
            let who = match listen.reach() {
                Reach::Machine => "from this machine only",
                Reach::Network => "FROM ANYONE on the network: no token, no TLS",
            };
            report.line(2, &format!("requests: {who}; at most {max_connections} connections"));
            if !allow_origins.is_empty() {
                report.line(2, &format!("web pages that may send: {}", allow_origins.join(", ")));
            }
            report.line(
                2,
                "what is repeated under one Idempotency-Key is stored once: for a day, and the last \
                 100,000 keys (fewer when they would take a sixteenth of the spool)",
            );
            if let Some(recipe) = recipe {
                tell_recipe(report, recipe);
            }
        }
        SourceKind::Tail { paths, start_at, lines, recipe } => {
            report.line(1, &format!("source {name}: lines of {}", paths.join(", ")));
            report.line(
                2,
                "each line once, through crashes and rotation: how far a file was read is",
            );
            report.line(2, "stored with the packets; while the spool is full the files wait");
            let begun = match start_at {
                StartAt::End => "a file that is there at the very first start: from its end on",
                StartAt::Beginning => "every file: from its beginning on",
            };
            report.line(2, begun);
            tell_lines(report, *lines);
            tell_recipe(report, recipe);
        }
        SourceKind::Directory { options, recipe } => {
            tell_directory(report, name, options);
            tell_recipe(report, recipe);
        }
        SourceKind::Exec { options, recipe } => {
            tell_exec(report, name, options);
            tell_recipe(report, recipe);
        }
        SourceKind::Timer { ticks, data: _, recipe } => {
            tell_timer(report, name, ticks);
            tell_recipe(report, recipe);
        }
        SourceKind::Host { options, recipe } => {
            tell_host(report, name, options);
            tell_recipe(report, recipe);
        }
        SourceKind::Stdin { lines, recipe } => {
            report.line(1, &format!("source {name}: lines of the standard input"));
            report.line(2, "what was read and is not stored yet is lost with the process");
            tell_lines(report, *lines);
            tell_recipe(report, recipe);
        }
    }
    if let Some(ttl) = source.ttl {
        report.line(2, &format!("packets live for {}", duration_in_words(ttl)));
    }
}

fn tell_directory(report: &mut Report, name: &str, options: &DirectoryOptions) {
    let DirectoryOptions { path, names, settled, then } = options;
    report.line(1, &format!("source {name}: files {names} in {}", path.display()));
    report.line(2, "each file once, through crashes: that it is stored is known until it is gone");
    let settled = duration_in_words(*settled);
    report.line(2, &format!("a file is taken when it has not changed for {settled}"));
    let then = match then {
        Then::Delete => "deleted".to_owned(),
        Then::Move(done) => format!("moved to {}", done.display()),
    };
    report.line(2, &format!("what is stored is {then}; while the spool is full files wait"));
}

fn tell_exec(report: &mut Report, name: &str, options: &ExecOptions) {
    let ExecOptions { command, runs, output } = options;
    let what = match output {
        Output::Line(_) => "lines",
        Output::Whole => "the output",
    };
    report.line(1, &format!("source {name}: {what} of {}", command.join(" ")));
    let runs = match runs {
        Runs::Every(every) => format!("run every {}, one at a time", duration_in_words(*every)),
        Runs::Restart(after) => {
            format!("kept running; when it ends, again after {}", duration_in_words(*after))
        }
    };
    report.line(2, &runs);
    report.line(2, "what it wrote and is not stored yet is lost with the process");
    match output {
        Output::Line(lines) => tell_lines(report, *lines),
        Output::Whole => report.line(2, "an output longer than a packet: counted, and not sent"),
    }
}

fn tell_timer(report: &mut Report, name: &str, ticks: &Ticks) {
    let ticks = match ticks {
        Ticks::Every(every) => format!("every {}", duration_in_words(*every)),
        Ticks::Cron(cron) => format!("at the times {cron}, in this machine's time zone"),
    };
    report.line(1, &format!("source {name}: a packet {ticks}"));
    report.line(2, "each event is stored once, with its count, while the process lives");
    report.line(2, "what comes while it is down, or the spool is full, is not made up for");
}

fn tell_host(report: &mut Report, name: &str, options: &HostOptions) {
    let HostOptions { metric, path, side, threshold, clear, lasting } = options;
    let (side, back) = match side {
        Side::Above => ("above", "or less"),
        Side::Below => ("below", "or more"),
    };
    let place = match metric {
        Metric::DiskPercent => format!(" of {}", path.display()),
        _ => String::new(),
    };
    let (metric, threshold, clear) = (metric.name(), threshold.figure(), clear.figure());
    let lasting = if lasting.is_zero() {
        String::new()
    } else {
        format!(" for {}", duration_in_words(*lasting))
    };
    report.line(1, &format!("source {name}: {metric}{place} {side} {threshold}{lasting}"));
    report.line(2, &format!("raised then, and cleared at {clear} {back}: each is one event"));
    report.line(2, "the state outlives a restart; figures are looked at every second");
}

fn tell_lines(report: &mut Report, lines: LineOptions) {
    let longest = size_in_words(lines.bytes_max as u64);
    let longer = match lines.long {
        LongLine::Split => "becomes several packets",
        LongLine::Truncate => "loses what is beyond that",
    };
    report.line(2, &format!("a line longer than {longest}: {longer}"));
}

fn tell_recipe(report: &mut Report, recipe: &Recipe) {
    let Recipe { when, target, on_error, target_on_error, .. } = recipe;
    if let Some(when) = when {
        let failing = match on_error {
            OnError::Send => "sent all the same",
            OnError::Drop => "dropped",
        };
        report.line(2, &format!("only when {when}; when that fails: {failing}"));
    }
    let is_template = target.contains("{{") || target.contains("{%");
    let failing =
        if is_template { format!("; when that fails, {target_on_error}") } else { String::new() };
    report.line(2, &format!("addressed to {target}{failing}"));
}
