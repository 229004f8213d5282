//! How the figures are looked at: which part is selected, whether they stand still, in which colours.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::{Color, Modifier, Style};

/// A part of the screen, in the order of a packet's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The client: its connection, its flow, its spool.
    Client,
    /// The client's busiest lanes.
    Lanes,
    /// The server's handlers and dead letters.
    Handlers,
    /// The clients that are connected to the server.
    Sessions,
}

impl Part {
    /// What it is called where one is chosen.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Lanes => "lanes",
            Self::Handlers => "handlers",
            Self::Sessions => "connected",
        }
    }
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// End.
    Quit,
    /// Stand still, or go on.
    Pause,
    /// Show what the keys do, or no longer.
    Help,
    /// The next part.
    Next,
    /// The part before.
    Previous,
}

impl Key {
    /// What a key that was pressed asks for.
    #[must_use]
    pub(super) fn of(event: KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        if event.modifiers.contains(KeyModifiers::CONTROL) {
            return (event.code == KeyCode::Char('c')).then_some(Self::Quit);
        }
        match event.code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Self::Quit),
            KeyCode::Char('p') => Some(Self::Pause),
            KeyCode::Char('?') => Some(Self::Help),
            KeyCode::Tab | KeyCode::Down | KeyCode::Right => Some(Self::Next),
            KeyCode::BackTab | KeyCode::Up | KeyCode::Left => Some(Self::Previous),
            _ => None,
        }
    }
}

/// How it is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Which of the parts that there are comes first when not all have room.
    pub selected: usize,
    /// Whether the figures stand still.
    pub paused: bool,
    /// Whether the keys are explained.
    pub help: bool,
    /// Whether there are colours.
    pub colour: bool,
}

impl View {
    /// As it begins.
    #[must_use]
    pub(super) fn new(colour: bool) -> Self {
        Self { selected: 0, paused: false, help: false, colour }
    }

    /// A key came, and there are so many parts.
    pub(super) fn turn(&mut self, key: Key, parts: usize) {
        let parts = parts.max(1);
        match key {
            Key::Quit => {}
            Key::Pause => self.paused = !self.paused,
            Key::Help => self.help = !self.help,
            Key::Next => self.selected = (self.selected + 1) % parts,
            Key::Previous => self.selected = (self.selected + parts - 1) % parts,
        }
    }

    pub(super) fn good(&self) -> Style {
        self.in_colour(Color::Green)
    }

    pub(super) fn bad(&self) -> Style {
        self.in_colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn notice(&self) -> Style {
        self.in_colour(Color::Yellow)
    }

    pub(super) fn accent(&self) -> Style {
        self.in_colour(Color::Cyan)
    }

    pub(super) fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn reversed(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The colour of a state.
    pub(super) fn of_state(&self, state: &str) -> Style {
        match state {
            "ok" | "connected" => self.good(),
            "paused" | "connecting" => self.notice(),
            _ => self.bad(),
        }
    }

    fn in_colour(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}
