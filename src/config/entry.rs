//! One value of a config, from the file or from the environment.
//!
//! Decides which type a value has and how it is shown in a problem. Never decides whether it is
//! the right one: that is `kind`.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::document::Place;
use super::expand::{Expanded, Origin, expand};
use super::loading::{Loading, Reported};
use super::problem::{Fault, Problem};

/// Characters of a value that a problem shows; the line of the file stands beside it anyway.
const SHOWN_CHARS_MAX: usize = 80;

/// A value with its key and its place.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: String,
    pub(super) place: Place,
    given: Given<'a>,
}

#[derive(Debug)]
enum Given<'a> {
    Text(Expanded),
    Integer(&'a DeInteger<'a>),
    Boolean(bool),
    List(&'a DeArray<'a>),
    Table(&'a DeTable<'a>),
    /// A number that is not whole, as it is written.
    Float(String),
    /// A date, which no key of ours takes, as it is written.
    Other(String),
    /// The text of a variable, which has the type that is asked for.
    Variable(String),
}

impl<'a> Entry<'a> {
    /// A value of the file, with the references in it expanded.
    pub(super) fn of_file(
        key: String,
        value: &'a Spanned<DeValue<'a>>,
        loading: &Loading<'_>,
    ) -> Result<Self, Reported> {
        let place = Place::Span(value.span());
        let given = match value.get_ref() {
            DeValue::String(raw) => match expand(raw, loading.environment(), loading.folder()) {
                Ok(expanded) => Given::Text(expanded),
                Err(errors) => return Err(report_all(errors, &key, &place, loading)),
            },
            DeValue::Integer(integer) => Given::Integer(integer),
            DeValue::Boolean(boolean) => Given::Boolean(*boolean),
            DeValue::Array(array) => Given::List(array),
            DeValue::Table(table) => Given::Table(table),
            DeValue::Float(float) => Given::Float(float.as_str().to_owned()),
            DeValue::Datetime(datetime) => Given::Other(format!("the date {datetime}")),
        };
        Ok(Self { key, place, given })
    }

    /// A value of the environment, taken as it is.
    pub(super) fn of_variable(key: String, name: String, value: &str) -> Self {
        Self { key, place: Place::Variable(name), given: Given::Variable(value.to_owned()) }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.given {
            Given::Text(expanded) => Some(&expanded.text),
            Given::Variable(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one that is not negative.
    pub(super) fn count(&self) -> Option<u64> {
        match &self.given {
            Given::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            Given::Variable(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.given {
            Given::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64)
            }
            Given::Float(text) | Given::Variable(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub(super) fn flag(&self) -> Option<bool> {
        match &self.given {
            Given::Boolean(boolean) => Some(*boolean),
            Given::Variable(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The values of a list.
    pub(super) fn list(&self) -> Option<&'a DeArray<'a>> {
        match self.given {
            Given::List(array) => Some(array),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        match self.given {
            Given::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The fault of not being what was expected.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> Fault {
        Fault::Value { expected: expected.into(), found: self.found() }
    }

    /// The value for people. What came from a file is not shown: it may be a secret.
    pub(super) fn found(&self) -> String {
        match &self.given {
            Given::Text(expanded) if expanded.origin == Origin::File => {
                "the contents of a file".to_owned()
            }
            Given::Text(expanded) => quoted(&expanded.text),
            Given::Variable(text) => quoted(text),
            Given::Integer(integer) => format!("the number {integer}"),
            Given::Float(float) => format!("the number {float}"),
            Given::Boolean(boolean) => format!("the truth value {boolean}"),
            Given::List(_) => "a list".to_owned(),
            Given::Table(_) => "a table".to_owned(),
            Given::Other(shown) => shown.clone(),
        }
    }
}

/// A text between quotation marks, shortened, with nothing in it that a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    let shown: Cow<'_, str> = match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
        None => text.into(),
    };
    format!("{shown:?}")
}

fn report_all(
    errors: Vec<super::expand::ExpandError>,
    key: &str,
    place: &Place,
    loading: &Loading<'_>,
) -> Reported {
    let report = |error| loading.report(Problem::error(place.clone(), key, Fault::from(error)));
    let mut errors = errors.into_iter();
    // `expand` fails with at least one error; the first stands in for none.
    let first = errors.next().unwrap_or(super::expand::ExpandError::Unclosed);
    errors.fold(report(first), |_, error| report(error))
}
