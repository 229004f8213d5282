//! The server's parts: handlers and dead letters; and the clients that are connected.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};

use super::super::answer::{Handler, Server};
use super::super::words::{count, counted, rate, size};
use super::{Scene, fitting, rows};

pub(super) fn handler_rows(scene: Scene<'_>) -> (u16, u16) {
    let Some(server) = &scene.figures.status.server else { return (0, 0) };
    let lines = server.handlers.iter().map(|handler| 1 + usize::from(remark(handler).is_some()));
    (2 + 1 + foot_rows(server), rows(lines.sum()))
}

/// The dead letters, and a ledger that failed.
fn foot_rows(server: &Server) -> u16 {
    1 + u16::from(server.failed.is_some())
}

/// What there is to say about a handler beside its figures.
fn remark(handler: &Handler) -> Option<String> {
    let by = handler.paused_by.as_ref().map(|by| format!("paused by {by}"));
    let error = handler.last_error.as_ref().map(|error| format!("last error: {error}"));
    let said: Vec<_> = by.into_iter().chain(error).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

pub(super) fn handlers(scene: Scene<'_>, frame: &mut Frame<'_>, area: Rect) {
    let Some(server) = &scene.figures.status.server else { return };
    let view = scene.view;
    let block = scene.frame_of("server", &server.listening);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [list, foot] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(foot_rows(server))]).areas(inner);

    let [head, mut left] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(list);
    let end = |text: &'static str| Line::raw(text).right_aligned();
    let names = [Line::raw("handler"), Line::raw("kind"), Line::raw("state"), Line::raw("for")];
    let figures = [end("handled/s"), end("retried/s"), end("lanes waiting")];
    table_line(frame, head, Row::new(names.into_iter().chain(figures)).style(view.faint()));
    for (at, handler) in server.handlers.iter().enumerate() {
        let remark = remark(handler);
        let height = 1 + u16::from(remark.is_some());
        let last = at + 1 == server.handlers.len();
        if left.height < height + u16::from(!last) {
            let more = server.handlers.len() - at;
            let text = format!("… and {}", counted(more as u64, "more handler", "more handlers"));
            frame.render_widget(Line::styled(text, view.faint()), left);
            break;
        }
        let [here, said, below] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(height - 1),
            Constraint::Fill(1),
        ])
        .areas(left);
        left = below;
        table_line(frame, here, row(scene, handler));
        if let Some(remark) = remark {
            // What went wrong before it worked again is history.
            let style = if handler.state == "ok" { view.faint() } else { view.notice() };
            frame.render_widget(Line::styled(format!("  {remark}"), style), said);
        }
    }

    let mut lines = foot.rows();
    if let Some(at) = lines.next() {
        let style = if server.dead_letters > 0 { view.notice() } else { view.faint() };
        let letters = counted(server.dead_letters, "dead letter", "dead letters");
        let text = format!("{letters}, {}", size(server.dead_letters_bytes));
        frame.render_widget(Line::styled(text, style), at);
    }
    if let Some((failed, at)) = server.failed.as_ref().zip(lines.next()) {
        frame.render_widget(Line::styled(format!("ledger failed: {failed}"), view.bad()), at);
    }
}

fn row<'a>(scene: Scene<'_>, handler: &'a Handler) -> Row<'a> {
    let view = scene.view;
    let rates = scene.figures.handlers.get(&handler.name);
    let handled = rates.and_then(|rates| rates.handled.per_second);
    let retried = rates.and_then(|rates| rates.retried.per_second);
    let number = |text: String| Line::raw(text).right_aligned();
    let retries = number(rate(retried));
    let retries = if retried.is_some_and(|retried| retried > 0.0) {
        retries.style(view.notice())
    } else {
        retries
    };
    let lanes = handler.waiting_lanes.map_or_else(|| "–".to_owned(), count);
    Row::new([
        Line::styled(handler.name.as_str(), view.strong()),
        Line::raw(handler.kind.as_str()),
        Line::styled(format!("● {}", handler.state), view.of_state(&handler.state)),
        Line::raw(scene.since(&handler.since)),
        number(rate(handled)),
        retries,
        number(lanes),
    ])
}

fn table_line(frame: &mut Frame<'_>, at: Rect, row: Row<'_>) {
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(13),
    ];
    frame.render_widget(Table::new([row], widths), at);
}

pub(super) fn session_rows(scene: Scene<'_>) -> (u16, u16) {
    let clients = scene.figures.status.server.as_ref().map_or(0, |server| server.clients.len());
    (2 + 1, rows(clients.max(1)))
}

pub(super) fn sessions(scene: Scene<'_>, frame: &mut Frame<'_>, area: Rect) {
    let Some(server) = &scene.figures.status.server else { return };
    let total = server.clients.len();
    let block = scene.frame_of("connected", &counted(total as u64, "client", "clients"));
    let inner = block.inner(area);
    let view = scene.view;
    let (fit, others) = fitting(total, total, inner.height.saturating_sub(1));
    let mut table: Vec<Row<'_>> = server
        .clients
        .iter()
        .take(fit)
        .map(|client| {
            Row::new([
                Line::raw(client.client.as_str()),
                Line::raw(client.address.as_str()),
                Line::raw(scene.since(&client.since)),
                Line::raw(client.program.as_str()),
            ])
        })
        .collect();
    let nobody = (total == 0).then(|| "nobody".to_owned());
    for text in others.into_iter().chain(nobody) {
        table.push(Row::new([Line::styled(text, view.faint())]));
    }
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(21),
        Constraint::Length(13),
        Constraint::Length(18),
    ];
    let head = Row::new(["client", "address", "for", "program"]).style(view.faint());
    frame.render_widget(Table::new(table, widths).header(head).block(block), area);
}
