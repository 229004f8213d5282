//! How a command ends: sysexits codes, and the sentence on standard error.

use std::fmt;

/// The exit codes of INTERFACE.md, section 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Wrong usage of the command line.
    Usage = 64,
    /// Bad data, or a damaged store.
    Data = 65,
    /// No running process to talk to.
    Unavailable = 69,
    /// Something that should not happen.
    Internal = 70,
    /// Input or output failed.
    Io = 74,
    /// Full, or timed out: try later.
    TryLater = 75,
    /// The config cannot be used.
    Config = 78,
}

/// Why a command ends with something other than 0.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What to say; may have several lines.
    pub message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A closure that turns an error into a failure: `doing` what failed.
    pub fn of<E: fmt::Display>(code: Code, doing: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::new(code, format!("{doing}: {error}"))
    }
}
