//! Drawing: a function of the figures, the view and the time; it decides what has room.
//!
//! All parts are shown when they have room. On a smaller screen the selected one comes first, then those
//! after it that have room, too.

mod client;
mod server;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Padding};

use super::figures::Figures;
use super::view::{Part, View};
use super::words;

/// The least that the client's part wants, with a line for the program and one for the keys.
const COLUMNS_MIN: u16 = 60;
const ROWS_MIN: u16 = 12;

/// Rows of a list that are shown before any list gets more.
const ROWS_AT_FIRST: u16 = 3;

/// What all parts are drawn from.
#[derive(Clone, Copy)]
struct Scene<'a> {
    figures: &'a Figures,
    view: &'a View,
    now_ms: u64,
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, figures: &Figures, view: &View, now_ms: u64) {
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        too_small(frame, area);
        return;
    }
    let scene = Scene { figures, view, now_ms };
    let news = scene.news();
    let [head, told, foot] = [1, u16::from(news.is_some()), 1].map(Constraint::Length);
    let [head, told, middle, foot] =
        Layout::vertical([head, told, Constraint::Fill(1), foot]).areas(area);
    scene.head(frame, head);
    if let Some(news) = news {
        frame.render_widget(news, told);
    }
    let all = parts(figures);
    let shown = scene.shown(&all, middle.height);
    let mut left = middle;
    for (part, height) in &shown {
        let [here, below] =
            Layout::vertical([Constraint::Length(*height), Constraint::Fill(1)]).areas(left);
        left = below;
        match part {
            Part::Client => client::client(scene, frame, here),
            Part::Lanes => client::lanes(scene, frame, here),
            Part::Handlers => server::handlers(scene, frame, here),
            Part::Sessions => server::sessions(scene, frame, here),
        }
    }
    scene.foot(frame, foot, &all, shown.len());
}

/// The parts that this process has.
pub(super) fn parts(figures: &Figures) -> Vec<Part> {
    let client = figures.status.client.as_ref().map(|_| [Part::Client, Part::Lanes]);
    let server = figures.status.server.as_ref().map(|_| [Part::Handlers, Part::Sessions]);
    client.into_iter().chain(server).flatten().collect()
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let Rect { width, height, .. } = area;
    let lines = [
        "This terminal is too small:".to_owned(),
        format!("{width}×{height}. Expected at least"),
        format!("{COLUMNS_MIN}×{ROWS_MIN}. q quits."),
    ];
    for (line, row) in lines.into_iter().zip(area.rows()) {
        frame.render_widget(Line::raw(line), row);
    }
}

impl Scene<'_> {
    fn head(&self, frame: &mut Frame<'_>, area: Rect) {
        let clock = paquebot_actors::clock::rfc3339(self.now_ms);
        let clock = clock.get(11..19).unwrap_or_default();
        let right = format!("{}  {clock} UTC ", self.figures.status.version);
        let width = right.chars().count().try_into().unwrap_or(u16::MAX);
        let [left, gap, end] = Layout::horizontal([
            Constraint::Fill(1),
            Constraint::Length(2),
            Constraint::Length(width),
        ])
        .areas(area);
        let name = Span::styled(" paquebot top  ", self.view.strong());
        let door = Span::styled(self.figures.door.as_str(), self.view.faint());
        frame.render_widget(Line::from_iter([name, door]), left);
        frame.render_widget(Line::raw(""), gap);
        frame.render_widget(Line::styled(right, self.view.faint()), end);
    }

    /// What must not be overlooked.
    fn news(&self) -> Option<Line<'_>> {
        if let Some(silence) = &self.figures.silent {
            let age = words::age(self.now_ms.saturating_sub(silence.since_ms));
            let text = format!(" no answer for {age}; asking again: {}", silence.why);
            return Some(Line::styled(text, self.view.bad()));
        }
        let text = " the view stands still; p lets it go on";
        self.view.paused.then(|| Line::styled(text, self.view.notice()))
    }

    fn foot(&self, frame: &mut Frame<'_>, area: Rect, all: &[Part], shown: usize) {
        let mut line = if self.view.help {
            Line::raw(" q Esc Ctrl-C quit   p stand still   Tab ↓ → next part   ↑ ← the one before")
        } else {
            Line::raw(" q quit   p pause   ? keys")
        };
        if shown < all.len() && !self.view.help {
            line.push_span("   Tab ");
            let selected = all.get(self.view.selected % all.len().max(1));
            for part in all {
                let chosen = selected == Some(part);
                let style = if chosen { self.view.reversed() } else { self.view.faint() };
                // Seen without any style, too.
                let (open, close) = if chosen { ("[", "]") } else { (" ", " ") };
                line.push_span(Span::styled(format!("{open}{}{close}", part.name()), style));
            }
        }
        frame.render_widget(line, area);
    }

    /// Which parts have room, and how much each gets.
    fn shown(&self, all: &[Part], room: u16) -> Vec<(Part, u16)> {
        let least = |part: &Part| {
            let (fixed, rows) = self.wish(*part);
            (*part, fixed + rows.min(ROWS_AT_FIRST))
        };
        let mut shown: Vec<_> = all.iter().map(least).collect();
        if shown.iter().map(|(_, height)| *height).sum::<u16>() > room {
            let from = self.view.selected % all.len().max(1);
            let mut left = room;
            let mut some = Vec::new();
            for (part, height) in shown.into_iter().skip(from) {
                let (fixed, rows) = self.wish(part);
                // The one that was chosen is there to be seen whole.
                let height = if some.is_empty() { (fixed + rows).min(left) } else { height };
                if height > left {
                    break;
                }
                left -= height;
                some.push((part, height));
            }
            shown = some;
        }
        let used: u16 = shown.iter().map(|(_, height)| *height).sum();
        let mut left = room.saturating_sub(used);
        for (part, height) in &mut shown {
            let (fixed, rows) = self.wish(*part);
            let more = (fixed + rows).saturating_sub(*height).min(left);
            *height += more;
            left -= more;
        }
        shown
    }

    /// The rows that a part needs in any case, and those of its list.
    fn wish(&self, part: Part) -> (u16, u16) {
        match part {
            Part::Client => client::client_rows(*self),
            Part::Lanes => client::lane_rows(*self),
            Part::Handlers => server::handler_rows(*self),
            Part::Sessions => server::session_rows(*self),
        }
    }

    /// The frame of a part.
    fn frame_of(&self, title: &str, subject: &str) -> Block<'static> {
        let title = Span::styled(format!(" {title} "), self.view.strong());
        let mut line = Line::from(title);
        if !subject.is_empty() {
            line.push_span(Span::styled(format!("{subject} "), self.view.accent()));
        }
        Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(self.view.faint())
            .padding(Padding::horizontal(1))
            .title_top(line)
    }

    /// How long something has been so.
    fn since(&self, since: &str) -> String {
        words::ago(since, self.now_ms).unwrap_or_else(|| "–".to_owned())
    }
}

/// How many, as a number of rows.
fn rows(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX / 4)
}

/// How many items of a list fit, and what is said of the others.
fn fitting(items: usize, total: usize, room: u16) -> (usize, Option<String>) {
    let room = usize::from(room);
    if items <= room && total <= items {
        return (items, None);
    }
    let fit = items.min(room.saturating_sub(1));
    (fit, Some(format!("… and {} more", words::count((total - fit) as u64))))
}

#[cfg(test)]
mod tests;
