//! All problems of one config, and how they are shown.
//!
//! Decides their order and their looks: one line each, or a picture of the place. Never decides
//! whether to use colour: the caller knows about `NO_COLOR` and terminals.

use std::fmt;
use std::path::Path;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::document::{Document, Place, Position};
use super::problem::{Fault, Problem, Severity};

/// Whether a picture is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// With the escape sequences of ANSI.
    Ansi,
    /// None, as for a file, a pipe or `NO_COLOR`.
    None,
}

/// Everything that is wrong with one config file, in the order of its lines.
#[derive(Debug, Clone)]
pub struct Problems {
    document: Document,
    list: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl Problems {
    pub(super) fn new(document: Document, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| match &problem.place {
            Place::Whole => (0, 0),
            Place::Span(span) => (1, span.start),
            Place::Variable(_) => (2, 0),
        });
        Self { document, list }
    }

    /// Each problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether any of them makes the config unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The file they are about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.document.path
    }

    /// Where in the file a problem of this list stands; nowhere if it is about a variable or the
    /// whole.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> Option<Position> {
        match &problem.place {
            Place::Span(span) => Some(self.document.position(span.start)),
            Place::Whole | Place::Variable(_) => None,
        }
    }

    /// Draws each problem with the line it stands in. Ends with a line break unless empty.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Ansi => Renderer::styled(),
            Colour::None => Renderer::plain(),
        };
        let draw = |problem| format!("{}\n\n", renderer.render(&[self.group(problem)]));
        self.list.iter().map(draw).collect()
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(problem.to_string()));
        match &problem.place {
            Place::Whole => group = group.element(Origin::path(self.path().to_string_lossy())),
            Place::Span(_) => group = group.element(self.snippet(&problem.place, None)),
            Place::Variable(name) => {
                let origin = format!("the environment variable {name}");
                group = group.element(Origin::path(origin));
            }
        }
        if let Fault::Taken { first: first @ Place::Span(_), .. } = &problem.fault {
            group = group.element(self.snippet(first, Some("here already")));
        }
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }

    /// The one line that is meant, cut out first, so that drawing costs the same in any file.
    fn snippet(&self, place: &Place, label: Option<&'static str>) -> Snippet<'_, Annotation<'_>> {
        let whole = 0..0;
        let span = if let Place::Span(span) = place { span } else { &whole };
        let line = self.document.line(span);
        let kind = if label.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
        Snippet::source(line.text)
            .line_start(line.number)
            .path(self.path().to_string_lossy())
            .annotation(kind.span(line.span).label(label))
    }
}

/// A line for each problem: `file:line:column: error: key: expected …, found …`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path().display())?;
            if let Some(Position { line, column }) = self.position(problem) {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}: {problem}", problem.severity)?;
            if let Place::Variable(name) = &problem.place {
                write!(f, " (in the environment variable {name})")?;
            }
            if let Some(help) = &problem.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}
