//! The text of the config file, and where in it something stands.
//!
//! Decides lines and columns. Never decides what the text means.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::problem::{Fault, Problem};

/// A config is typed by people; more is another file, or a device that never ends.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where a problem stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The config as a whole.
    Whole,
    /// These bytes of the file.
    Span(Range<usize>),
    /// The environment variable of this name.
    Variable(String),
}

/// A line and a column, both counted from 1; a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A config file's path and text.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// One line of a document, for a picture of the place.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) number: usize,
    /// The bytes of the line that are meant.
    pub(super) span: Range<usize>,
}

impl Document {
    /// Reads the file at `path`. What comes back beside a problem still serves to show it.
    pub(super) fn read(path: &Path) -> (Self, Option<Problem>) {
        let mut document = Self { path: path.to_owned(), text: String::new() };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        let reason = match read {
            Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
                Some(format!("more than {FILE_BYTES_MAX} bytes"))
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason {
            return (
                document,
                Some(Problem::error(Place::Whole, "", Fault::Unreadable { reason })),
            );
        }
        let problem = std::str::from_utf8(&bytes).err().map(|error| {
            let at = error.valid_up_to();
            Problem::error(Place::Span(at..at), "", Fault::NotUtf8)
        });
        let text = String::from_utf8_lossy(&bytes);
        // Some editors begin a file with this mark; it would put the first line's columns out.
        document.text = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(text) if problem.is_none() => text.to_owned(),
            _ => text.into_owned(),
        };
        (document, problem)
    }

    /// The line and column of a byte.
    pub(super) fn position(&self, at: usize) -> Position {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Position { line, column }
    }

    /// The line in which `span` begins; what goes beyond the line is left out.
    pub(super) fn line(&self, span: &Range<usize>) -> Line<'_> {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        let text = rest.split('\n').next().unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let within = |at: usize| at.saturating_sub(start).min(text.len());
        let from = within(span.start.min(before.len()));
        let span = from..within(span.end).max(from);
        Line { text, number: before.matches('\n').count() + 1, span }
    }
}
