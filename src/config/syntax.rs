//! What the TOML parser could not read.
//!
//! Decides which other problems are still worth showing beside that. Never repairs anything.

use std::collections::BTreeSet;

use toml::de::Error;

use super::document::{Document, Place};
use super::entry::quoted;
use super::problem::{Fault, Problem};

/// The problems of a file that is not quite TOML: all that the parser found, and those values that
/// are wrong whatever was meant. After a mistake keys may be missing or seem to stand in another
/// table, so nothing is said of that, nor of other values in the same line.
pub(super) fn merge(document: &Document, problems: Vec<Problem>, errors: &[Error]) -> Vec<Problem> {
    if errors.is_empty() {
        return problems;
    }
    let line = |place: &Place| match place {
        Place::Span(span) => Some(document.position(span.start).line),
        Place::Whole | Place::Variable(_) => None,
    };
    let mut merged: Vec<Problem> = Vec::new();
    for error in errors {
        let at = error.span().and_then(|span| document.text.get(span));
        let at = at.filter(|text| !text.is_empty()).map(|text| format!(" at {}", quoted(text)));
        let message = format!("{}{}", error.message(), at.unwrap_or_default());
        let place = error.span().map_or(Place::Whole, Place::Span);
        let problem = Problem::error(place, "", Fault::NotToml { message });
        // An array that never ends is found once for each level.
        if !merged.contains(&problem) {
            merged.push(problem);
        }
    }
    let broken: BTreeSet<_> = merged.iter().filter_map(|problem| line(&problem.place)).collect();
    let sure = |problem: &Problem| {
        problem.is_of_a_value() && line(&problem.place).is_none_or(|line| !broken.contains(&line))
    };
    merged.extend(problems.into_iter().filter(sure));
    merged
}
