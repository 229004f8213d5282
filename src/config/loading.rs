//! What is gathered while a config is read: problems, claims, and the keys that were asked for.
//!
//! Decides which overrides of the environment meant no key. Never stops at a problem: whoever
//! reports one gets a [`Reported`] to pass on, and the rest is read all the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::claim::{Claim, Claims};
use super::document::Place;
use super::environment::{Environment, is_below, variable_of};
use super::problem::{Fault, Problem};
use super::spelling;

/// Proof that a value is missing because of a problem that was reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported(());

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A single value, which the environment can override.
    Single,
    /// A list of values.
    List,
    /// A table.
    Table,
    /// An array of tables.
    Tables,
    /// Something that has been reported already, with all below it.
    Reported,
}

/// What was asked of a table: what may stand there.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) table: String,
    pub(super) key: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
    /// What it takes, as a JSON Schema.
    pub(super) form: Value,
}

/// One config being read. Its methods take `&self`, so that every table can hold it while it is
/// read; nothing holds a borrow of a cell beyond one method.
#[derive(Debug)]
pub(super) struct Loading<'a> {
    environment: &'a Environment,
    folder: PathBuf,
    problems: RefCell<Vec<Problem>>,
    claims: RefCell<Claims>,
    asked: RefCell<BTreeMap<String, Shape>>,
    /// Taken down only when the config is read for what it could hold.
    questions: Option<RefCell<Vec<Question>>>,
}

impl<'a> Loading<'a> {
    /// Begins with a file whose relative paths are relative to `folder`.
    pub(super) fn new(environment: &'a Environment, folder: PathBuf) -> Self {
        Self {
            environment,
            folder,
            problems: RefCell::default(),
            claims: RefCell::default(),
            asked: RefCell::default(),
            questions: None,
        }
    }

    /// The same, and takes down every question.
    pub(super) fn describing(environment: &'a Environment, folder: PathBuf) -> Self {
        Self { questions: Some(RefCell::default()), ..Self::new(environment, folder) }
    }

    /// Takes down a question, if that is wanted.
    pub(super) fn question(&self, question: impl FnOnce() -> Question) {
        if let Some(questions) = &self.questions {
            questions.borrow_mut().push(question());
        }
    }

    /// Every question that was asked.
    pub(super) fn into_questions(self) -> Vec<Question> {
        self.questions.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(super) fn environment(&self) -> &'a Environment {
        self.environment
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes down a problem.
    pub(super) fn report(&self, problem: Problem) -> Reported {
        self.problems.borrow_mut().push(problem);
        Reported(())
    }

    /// Takes down that `key` is one that can be asked for.
    pub(super) fn asked(&self, key: &str, shape: Shape) {
        self.asked.borrow_mut().insert(key.to_owned(), shape);
    }

    /// Takes down a claim, and a problem if it was made before.
    pub(super) fn claim(&self, claim: Claim, key: &str, place: Place) {
        let taken = self.claims.borrow_mut().make(claim, key, &place);
        if let Some(fault) = taken {
            self.report(Problem::error(place, key, fault));
        }
    }

    /// All problems, with those of the overrides that meant no key.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let stray: Vec<_> =
            self.environment.overrides().filter_map(|(name, key)| self.stray(name, &key)).collect();
        let mut problems = self.problems.into_inner();
        problems.extend(stray);
        problems
    }

    fn stray(&self, name: &str, key: &str) -> Option<Problem> {
        let asked = self.asked.borrow();
        let within = |shape: Shape| {
            asked.iter().any(|(table, &found)| found == shape && is_below(key, table))
        };
        let found = match asked.get(key) {
            Some(Shape::Single) if variable_of(key) == name => return None,
            Some(Shape::Reported) => return None,
            _ if within(Shape::Reported) => return None,
            Some(Shape::List) => Some("a list"),
            Some(Shape::Table) => Some("a table"),
            Some(Shape::Tables) => Some("an array of tables"),
            _ if within(Shape::Tables) => Some("a key in an array of tables"),
            _ => None,
        };
        let place = Place::Variable(name.to_owned());
        if let Some(found) = found {
            return Some(Problem::error(place, key, Fault::NotOverridable { found }));
        }
        let singles = asked.iter().filter(|(_, shape)| **shape == Shape::Single);
        let near = spelling::nearest(key, singles.map(|(key, _)| key.as_str()));
        let help = near.map(|key| spelling::hint(&variable_of(key)));
        let expected = "a variable named after a key with a single value".to_owned();
        let fault = Fault::UnknownKey { expected };
        Some(Problem::error(place, key, fault).with_help(help))
    }
}
