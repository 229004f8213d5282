//! What is wrong with a config.
//!
//! Decides the words: what was expected and what was found. Never decides how they are drawn.

use std::fmt;

use paquebot_protocol::target::TargetError;

use super::document::Place;
use super::expand::ExpandError;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The config can't be used.
    Error,
    /// The config can be used, and its owner should know something.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub place: Place,
    /// The key it is about, such as `client.spool.max_bytes`; empty when it is about none.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
    /// What might be meant or done, when that can be guessed.
    pub help: Option<String>,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file can't be read.
    #[error("expected a readable file, found: {reason}")]
    Unreadable {
        /// Why not.
        reason: String,
    },
    /// The file is not text.
    #[error("expected a file in UTF-8, found other bytes")]
    NotUtf8,
    /// The file is not TOML.
    #[error("expected TOML, found: {message}")]
    NotToml {
        /// What the parser says.
        message: String,
    },
    /// Nothing reads this key.
    #[error("unknown key, expected {expected}")]
    UnknownKey {
        /// The keys that are read there.
        expected: String,
    },
    /// A later version will read this key.
    #[error("this key is not available in this version")]
    KeyNotAvailable,
    /// A later version will take this value.
    #[error("expected {expected}, found {found}, which is not available in this version")]
    ValueNotAvailable {
        /// What this version takes.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The key is known elsewhere and does nothing here.
    #[error("expected no such key, found one without effect: {reason}")]
    NoEffect {
        /// Why it does nothing.
        reason: &'static str,
    },
    /// A key that must be there is not.
    #[error("expected {expected}, found no such key")]
    Missing {
        /// What it should hold.
        expected: String,
    },
    /// A value of the wrong type, unit or range, or one that contradicts another.
    #[error("expected {expected}, found {found}")]
    Value {
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A text that is read as something, and does not make sense as that.
    #[error("expected {expected}, found {found}: {reason}")]
    Senseless {
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text that is no target pattern.
    #[error("{0}")]
    Pattern(#[from] TargetError),
    /// A reference in a string stands for nothing.
    #[error("{0}")]
    Reference(#[from] ExpandError),
    /// A name, address, pattern or path that only one may have.
    #[error("expected {expected}, found {found}, which `{by}` has already")]
    Taken {
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
        /// The key that has it already.
        by: String,
        /// Where that key stands.
        first: Place,
    },
    /// A variable for a key that can't be set by one.
    #[error("expected a variable for a key with a single value, found one for {found}")]
    NotOverridable {
        /// What the key holds instead.
        found: &'static str,
    },
    /// Anyone on the network may put packets into a source.
    #[error("found {listen}, beyond this machine, where every request is taken from anyone")]
    OpenSource {
        /// Where it listens.
        listen: String,
    },
    /// The longest wait between two tries never comes.
    #[error("found {found}, which ends the tries before their longest wait, {max}, has come")]
    EarlyEnd {
        /// When they end, in words.
        found: String,
        /// The longest wait, in words.
        max: String,
    },
    /// An expression that can be evaluated, and hardly says what is meant.
    #[error("found what can never be true or never false: {doubt}")]
    Doubtful {
        /// What it says.
        doubt: String,
    },
    /// A server without handlers.
    #[error("found no handler, so no packet is ever handled")]
    NoHandler,
    /// A spool that a few packets fill.
    #[error("found {found}, in which fewer than {packets} packets of the largest size may fit")]
    TightSpool {
        /// The size of the spool, in words.
        found: String,
        /// How many should fit.
        packets: u64,
    },
}

impl Problem {
    /// A problem that makes the config unusable.
    pub(super) fn error(place: Place, key: impl Into<String>, fault: Fault) -> Self {
        Self { severity: Severity::Error, place, key: key.into(), fault, help: None }
    }

    /// A problem that its owner should know of.
    pub(super) fn warning(place: Place, key: impl Into<String>, fault: Fault) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, key, fault) }
    }

    /// The same with a hint.
    pub(super) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Whether it is about a single value, whatever other keys there are.
    pub(super) fn is_of_a_value(&self) -> bool {
        let of_a_value =
            matches!(self.fault, Fault::Value { .. } | Fault::Pattern(_) | Fault::Reference(_));
        of_a_value && self.place != Place::Whole
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => self.fault.fmt(f),
            key => write!(f, "{key}: {}", self.fault),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}
