//! What commands print: what was asked for on standard output, what is to be known beside it on
//! standard error.
//!
//! Whoever reads may stop to, as `head` does: that is no failure, and nothing is said of it.

use std::io::{self, ErrorKind, Write};

use crate::exit::{Code, Failure};

/// Prints what was asked for. A line break at its end is added where there is none.
///
/// # Errors
/// When standard output cannot be written, although somebody reads it.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes()));
    unless_unread(written.and_then(|()| out.flush()))
}

/// Prints a line beside it. Nobody can be told that this is not possible.
pub fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What came of writing to standard output.
///
/// # Errors
/// When it failed, although somebody reads it.
pub fn unless_unread(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::of(Code::Io, "writing to standard output failed")),
    }
}
