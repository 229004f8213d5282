//! The client's parts: connection, flow and spool; and its busiest lanes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Row, Sparkline, Table};

use super::super::figures::Rate;
use super::super::words::{count, counted, rate, size};
use super::{Scene, fitting, rows};

/// The columns of the labels.
const LABEL: u16 = 13;

/// The columns of the totals, where there are so many.
const TOTAL: u16 = 34;

/// Where a spool's fill is worth a look, and where it is urgent, in percent.
const FULL_NOTICE: f64 = 60.0;
const FULL_BAD: f64 = 85.0;

pub(super) fn client_rows(scene: Scene<'_>) -> (u16, u16) {
    let Some(client) = &scene.figures.status.client else { return (0, 0) };
    let troubles = [&client.connection.last_error, &client.failed].into_iter().flatten().count();
    let troubles = troubles + usize::from(client.full.is_some());
    (2 + 6 + rows(troubles), 0)
}

pub(super) fn client(scene: Scene<'_>, frame: &mut Frame<'_>, area: Rect) {
    let Some(client) = &scene.figures.status.client else { return };
    let view = scene.view;
    let block = scene.frame_of("client", &client.id);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut lines = inner.rows();
    let mut put = |label: &'static str, draw: &mut dyn FnMut(&mut Frame<'_>, Rect)| {
        let Some(line) = lines.next() else { return };
        let [label_at, rest] =
            Layout::horizontal([Constraint::Length(LABEL), Constraint::Fill(1)]).areas(line);
        frame.render_widget(Line::styled(label, view.faint()), label_at);
        draw(frame, rest);
    };

    let link = &client.connection;
    let state = format!("● {}", link.state);
    let place = format!("  {}  for {}", link.server, scene.since(&link.since));
    put("connection", &mut |frame, at| {
        let state = Span::styled(state.as_str(), view.of_state(&link.state));
        frame.render_widget(Line::from_iter([state, Span::raw(place.as_str())]), at);
    });
    if let Some(error) = &link.last_error {
        put("last error", &mut |frame, at| {
            frame.render_widget(Line::styled(error.as_str(), view.notice()), at);
        });
    }
    let figures = scene.figures;
    let peak = [&figures.accepted, &figures.sent, &figures.handled]
        .into_iter()
        .flat_map(|rate| rate.history.iter().copied())
        .max();
    let again = match figures.resent {
        0 => String::new(),
        again => format!(", {} again", count(again)),
    };
    let again = format!("{:>11} in all{again}", count(figures.sent.total));
    let in_all = |rate: &Rate| format!("{:>11} in all", count(rate.total));
    let flows = [
        ("accepted", &figures.accepted, in_all(&figures.accepted)),
        ("sent", &figures.sent, again),
        ("handled", &figures.handled, in_all(&figures.handled)),
    ];
    for (label, of, total) in flows {
        put(label, &mut |frame, at| flow(scene, frame, at, of, peak.unwrap_or(0), &total));
    }
    let waiting = counted(client.pending_packets, "packet", "packets");
    let waiting = format!("{waiting}, {}", size(client.pending_bytes));
    put("waiting", &mut |frame, at| frame.render_widget(Line::raw(waiting.as_str()), at));
    put("spool", &mut |frame, at| {
        fill(scene, frame, at, client.spool_file_bytes, client.spool_max_bytes);
    });
    if let Some(full) = &client.full {
        put("full", &mut |frame, at| {
            frame.render_widget(Line::styled(full.means.as_str(), view.bad()), at);
        });
    }
    if let Some(failed) = &client.failed {
        put("failed", &mut |frame, at| {
            frame.render_widget(Line::styled(failed.as_str(), view.bad()), at);
        });
    }
}

fn flow(scene: Scene<'_>, frame: &mut Frame<'_>, at: Rect, of: &Rate, peak: u64, total: &str) {
    let [number, _, line, _, all] = Layout::horizontal([
        Constraint::Length(11),
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(2),
        Constraint::Length(TOTAL.min(at.width / 2 + 2)),
    ])
    .areas(at);
    let number_line = Line::from_iter([
        Span::styled(rate(of.per_second), scene.view.strong()),
        Span::styled(" /s", scene.view.faint()),
    ]);
    frame.render_widget(number_line.right_aligned(), number);
    let history: Vec<u64> = of.history.iter().copied().take(usize::from(line.width)).collect();
    let spark = Sparkline::default()
        .data(&history)
        .max(peak.max(1))
        .direction(RenderDirection::RightToLeft)
        .style(scene.view.accent());
    frame.render_widget(spark, line);
    frame.render_widget(Line::styled(total, scene.view.faint()), all);
}

fn fill(scene: Scene<'_>, frame: &mut Frame<'_>, at: Rect, used: u64, most: u64) {
    let share = if most == 0 { 0.0 } else { (used as f64 / most as f64).clamp(0.0, 1.0) };
    let percent = share * 100.0;
    let style = match percent {
        _ if percent >= FULL_BAD => scene.view.bad(),
        _ if percent >= FULL_NOTICE => scene.view.notice(),
        _ => scene.view.good(),
    };
    let [bar, _, text] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Length(2),
        Constraint::Length(TOTAL.min(at.width / 2 + 2)),
    ])
    .areas(at);
    let width = usize::from(bar.width);
    let mut full = (share * width as f64).round() as usize;
    if used > 0 {
        full = full.clamp(1, width.max(1));
    }
    let line = Line::from_iter([
        Span::styled("█".repeat(full), style),
        Span::styled("░".repeat(width.saturating_sub(full)), scene.view.faint()),
    ]);
    frame.render_widget(line, bar);
    let percent = if used > 0 && percent < 1.0 { "<1".to_owned() } else { format!("{percent:.0}") };
    let line = Line::from_iter([
        Span::styled(format!("{percent:>9} %"), style),
        Span::styled(format!("  {} of {}", size(used), size(most)), scene.view.faint()),
    ]);
    frame.render_widget(line, text);
}

pub(super) fn lane_rows(scene: Scene<'_>) -> (u16, u16) {
    let Some(client) = &scene.figures.status.client else { return (0, 0) };
    let others = usize::from(client.lanes_total > client.lanes.len());
    (2 + 1, rows((client.lanes.len() + others).max(1)))
}

pub(super) fn lanes(scene: Scene<'_>, frame: &mut Frame<'_>, area: Rect) {
    let Some(client) = &scene.figures.status.client else { return };
    let total = client.lanes_total.max(client.lanes.len());
    let block = scene.frame_of("busiest lanes", &format!("of {}", count(total as u64)));
    let inner = block.inner(area);
    let (fit, others) = fitting(client.lanes.len(), total, inner.height.saturating_sub(1));
    let view = scene.view;
    let number = |text: String| Line::raw(text).right_aligned();
    let mut table: Vec<Row<'_>> = client
        .lanes
        .iter()
        .take(fit)
        .map(|lane| {
            let dead = number(count(lane.dead_lettered));
            let dead = if lane.dead_lettered > 0 { dead.style(view.notice()) } else { dead };
            let packets = number(count(lane.pending_packets));
            let idle = lane.pending_packets == 0;
            let packets = if idle { packets } else { packets.style(view.strong()) };
            let target = Line::raw(lane.target.as_str());
            Row::new([target, packets, number(size(lane.pending_bytes)), dead])
        })
        .collect();
    let nothing = client.lanes.is_empty().then(|| "nothing was sent yet".to_owned());
    for text in others.into_iter().chain(nothing) {
        table.push(Row::new([Line::styled(text, view.faint())]));
    }
    let head = [Line::raw("target"), number("waiting".into()), number("bytes".into())];
    let head = head.into_iter().chain([number("dead-lettered".into())]);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(11),
        Constraint::Length(11),
        Constraint::Length(14),
    ];
    let table = Table::new(table, widths).header(Row::new(head).style(view.faint())).block(block);
    frame.render_widget(table, area);
}
