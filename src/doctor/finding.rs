//! What the doctor says of one thing: a level, what was found, and what that means.

use serde::Serialize;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// A promise may break, or the program may come to a halt, under conditions that are named.
    Warning,
    /// A promise is broken, or the program cannot work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a directory, the process, the clock, a server.
    pub subject: String,
    /// What about it.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What that means, and what to do about it.
    pub meaning: String,
}

/// A judgement that does not know yet what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) found: String,
    pub(super) meaning: String,
}

impl Verdict {
    pub(super) fn new(level: Level, found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { level, found: found.into(), meaning: meaning.into() }
    }

    pub(super) fn ok(found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(Level::Ok, found, meaning)
    }

    pub(super) fn note(found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(Level::Note, found, meaning)
    }

    pub(super) fn warning(found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(Level::Warning, found, meaning)
    }

    pub(super) fn problem(found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(Level::Problem, found, meaning)
    }

    /// Says what it is about.
    pub(super) fn on(self, subject: &str, check: &'static str) -> Finding {
        let Self { level, found, meaning } = self;
        Finding { subject: subject.to_owned(), check, level, found, meaning }
    }
}
