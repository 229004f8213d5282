//! One table of a config while it is read.
//!
//! Decides whether a value comes from the file, the environment or the default, and which keys
//! nobody asked for. Never decides what a key means: that is done by the noun that reads it.

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::claim::Claim;
use super::document::Place;
use super::entry::Entry;
use super::environment::is_below;
use super::kind::Kind;
use super::list::{Item, List};
use super::loading::{Loading, Question, Reported, Shape};
use super::problem::{Fault, Problem};
use super::spelling;

/// A table, or the place where one could be.
#[derive(Debug)]
pub(super) struct Section<'a> {
    loading: &'a Loading<'a>,
    /// The keys on the way to this table, such as `client.spool`; empty for the whole file.
    key: String,
    place: Place,
    table: Option<&'a DeTable<'a>>,
    overriding: Overriding,
    /// The keys that were asked for, by which the others are known to be unknown.
    known: Vec<&'static str>,
    /// Keys that are known and must not be hinted at.
    barred: Vec<&'static str>,
}

/// Whether the environment can set the keys of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overriding {
    Allowed,
    /// The table stands in an array, where no variable's name can reach it.
    Barred,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>, loading: &'a Loading<'a>) -> Self {
        Self::new(String::new(), Place::Whole, Some(table), Overriding::Allowed, loading)
    }

    fn new(
        key: String,
        place: Place,
        table: Option<&'a DeTable<'a>>,
        overriding: Overriding,
        loading: &'a Loading<'a>,
    ) -> Self {
        let (known, barred) = (Vec::new(), Vec::new());
        Self { loading, key, place, table, overriding, known, barred }
    }

    /// The value of `key`, or `default` if it is not set.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<'_, T>,
        default: T,
    ) -> Result<T, Reported> {
        self.describe(key, false, || kind.schema());
        match self.entry(key, Shape::Single)? {
            Some(entry) => self.read(&entry, kind),
            None => Ok(default),
        }
    }

    /// The value of `key`, if it is set.
    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<'_, T>,
    ) -> Result<Option<T>, Reported> {
        self.describe(key, false, || kind.schema());
        match self.entry(key, Shape::Single)? {
            Some(entry) => self.read(&entry, kind).map(Some),
            None => Ok(None),
        }
    }

    /// The value of `key`, which must be set.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<'_, T>,
    ) -> Result<T, Reported> {
        self.describe(key, true, || kind.schema());
        match self.entry(key, Shape::Single)? {
            Some(entry) => self.read(&entry, kind),
            None => Err(self.missing(key, kind.expected.clone())),
        }
    }

    /// The values of the list `key`; none if it is not set.
    pub(super) fn list<T>(&mut self, key: &'static str, kind: &Kind<'_, T>) -> List<T> {
        self.describe(key, false, || json!({ "type": "array", "items": kind.schema() }));
        self.values(key, kind)
    }

    fn values<T>(&mut self, key: &'static str, kind: &Kind<'_, T>) -> List<T> {
        let entry = match self.entry(key, Shape::List) {
            Ok(Some(entry)) => entry,
            Ok(None) => return List::default(),
            Err(reported) => return List::missing(reported),
        };
        let Some(values) = entry.list() else {
            return List::missing(self.unexpected(&entry, &list_of(kind)));
        };
        let mut list = List::default();
        for (at, value) in values.iter().enumerate() {
            match self.item(format!("{}[{at}]", entry.key), value, kind) {
                Ok(item) => list.items.push(item),
                Err(reported) => list.missing = Some(reported),
            }
        }
        list
    }

    /// Names and values of the table `key`, in which any name may stand; `read` makes something of
    /// them. None if it is not set.
    pub(super) fn pairs<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&str, &Entry<'_>) -> Result<T, Fault>,
    ) -> List<T> {
        self.describe_as(
            key,
            false,
            Shape::Table,
            || json!({ "description": expected, "additionalProperties": { "type": "string" } }),
        );
        let entry = match self.entry(key, Shape::Table) {
            Ok(Some(entry)) => entry,
            Ok(None) => return List::default(),
            Err(reported) => return List::missing(reported),
        };
        let Some(table) = entry.table() else {
            return List::missing(self.unexpected(&entry, expected));
        };
        let mut list = List::default();
        for (name, value) in table {
            let name: &str = name.get_ref();
            let pair = Entry::of_file(format!("{}.{name}", entry.key), value, self.loading);
            let item = pair.and_then(|entry| {
                let value = read(name, &entry).map_err(|fault| self.report(&entry, fault))?;
                Ok(Item { value, key: entry.key, place: entry.place })
            });
            match item {
                Ok(item) => list.items.push(item),
                Err(reported) => list.missing = Some(reported),
            }
        }
        list
    }

    /// The values of the list `key`, of which there must be one at least.
    pub(super) fn full_list<T>(&mut self, key: &'static str, kind: &Kind<'_, T>) -> List<T> {
        let items = || json!({ "type": "array", "items": kind.schema(), "minItems": 1 });
        self.describe(key, true, items);
        let list = self.values(key, kind);
        if !list.items.is_empty() || list.missing.is_some() {
            return list;
        }
        let expected = format!("{} or more", list_of(kind));
        List::missing(if self.has(key) {
            self.complain(key, Fault::Value { expected, found: "an empty list".to_owned() })
        } else {
            self.missing(key, expected)
        })
    }

    /// The table `key`, perhaps without a key in it.
    pub(super) fn table(&mut self, key: &'static str) -> Result<Section<'a>, Reported> {
        self.describe_as(key, false, Shape::Table, || json!({ "type": "object" }));
        let path = self.path(key);
        let Some(entry) = self.entry(key, Shape::Table)? else {
            let place = self.place.clone();
            return Ok(Section::new(path, place, None, self.overriding, self.loading));
        };
        let Some(table) = entry.table() else {
            self.note(key, Shape::Reported);
            return Err(self.unexpected(&entry, &format!("a table [{path}]")));
        };
        Ok(Section::new(path, entry.place, Some(table), self.overriding, self.loading))
    }

    /// The tables of the array `key`. What is no table is reported and left out.
    pub(super) fn tables(&mut self, key: &'static str) -> Result<Vec<Section<'a>>, Reported> {
        self.describe_as(key, false, Shape::Tables, || json!({ "type": "array" }));
        let Some(entry) = self.entry(key, Shape::Tables)? else { return Ok(Vec::new()) };
        let expected = format!("an array of tables [[{}]]", entry.key);
        let Some(values) = entry.list() else { return Err(self.unexpected(&entry, &expected)) };
        let section = |(at, value): (usize, &'a Spanned<DeValue<'a>>)| {
            let entry = Entry::of_file(format!("{}[{at}]", entry.key), value, self.loading).ok()?;
            let Some(table) = entry.table() else {
                self.unexpected(&entry, &expected);
                return None;
            };
            let (key, place) = (entry.key, entry.place);
            Some(Section::new(key, place, Some(table), Overriding::Barred, self.loading))
        };
        Ok(values.iter().enumerate().filter_map(section).collect())
    }

    /// Reports each of `keys` that is set: only a later version reads them.
    pub(super) fn unavailable(&mut self, keys: &[&'static str]) {
        for &key in keys {
            self.barred.push(key);
            self.note(key, Shape::Reported);
            for place in self.places_below(key) {
                let problem = Problem::error(place, self.path(key), Fault::KeyNotAvailable);
                self.loading.report(problem);
            }
        }
    }

    /// Reports `key` if it is set: other tables have it, and here it would do nothing.
    pub(super) fn without_effect(&mut self, key: &'static str, reason: &'static str) {
        self.barred.push(key);
        if self.has(key) {
            self.complain(key, Fault::NoEffect { reason });
        }
    }

    /// Reports a fault of the value of `key`.
    pub(super) fn complain(&self, key: &str, fault: Fault) -> Reported {
        self.loading.report(Problem::error(self.place_of(key), self.path(key), fault))
    }

    /// Reports something about `key` that its owner should know.
    pub(super) fn warn(&self, key: &str, fault: Fault, help: &str) {
        let problem = Problem::warning(self.place_of(key), self.path(key), fault);
        self.loading.report(problem.with_help(Some(help.to_owned())));
    }

    /// Claims something for `key`.
    pub(super) fn claim(&self, key: &str, claim: Claim) {
        self.loading.claim(claim, &self.path(key), self.place_of(key));
    }

    /// Claims something for an item of a list.
    pub(super) fn claim_item<T>(&self, item: &Item<T>, claim: Claim) {
        self.loading.claim(claim, &item.key, item.place.clone());
    }

    /// Reports every key of the file that was not asked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) || self.barred.contains(&name) {
                continue;
            }
            let known: Vec<_> = self.known.iter().map(|known| format!("`{known}`")).collect();
            let fault = Fault::UnknownKey { expected: spelling::one_of(&known) };
            let problem = Problem::error(Place::Span(key.span()), self.path(name), fault);
            let help = spelling::nearest(name, self.known.iter().copied()).map(spelling::hint);
            self.loading.report(problem.with_help(help));
        }
    }

    /// Whether `key` is set, in the file or below it in the environment.
    pub(super) fn has(&self, key: &str) -> bool {
        !self.places_below(key).is_empty()
    }

    /// What the environment and the folder of the file are.
    pub(super) fn loading(&self) -> &'a Loading<'a> {
        self.loading
    }

    /// The key itself, as it is written in problems.
    fn path(&self, key: &str) -> String {
        if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) }
    }

    /// Where `key` is set, or where it could be.
    fn place_of(&self, key: &str) -> Place {
        self.places_below(key).into_iter().next().unwrap_or_else(|| self.place.clone())
    }

    /// Where `key`, or anything below it, is set; what holds comes first.
    fn places_below(&self, key: &str) -> Vec<Place> {
        let path = self.path(key);
        let mut places = Vec::new();
        if self.overriding == Overriding::Allowed {
            let overrides = self.loading.environment().overrides();
            let below = overrides.filter(|(_, key)| *key == path || is_below(key, &path));
            places.extend(below.map(|(name, _)| Place::Variable(name.to_owned())));
        }
        let value = self.table.and_then(|table| table.get(key));
        places.extend(value.map(|value| Place::Span(value.span())));
        places
    }

    /// Takes down that `key` can be asked for.
    fn note(&self, key: &str, shape: Shape) {
        if self.overriding == Overriding::Allowed {
            self.loading.asked(&self.path(key), shape);
        }
    }

    fn describe(&self, key: &'static str, required: bool, form: impl FnOnce() -> Value) {
        self.describe_as(key, required, Shape::Single, form);
    }

    /// Takes down what the table may hold, when that is what it is read for.
    fn describe_as(
        &self,
        key: &'static str,
        required: bool,
        shape: Shape,
        form: impl FnOnce() -> Value,
    ) {
        let table = || self.key.clone();
        let question = || Question { table: table(), key, required, shape, form: form() };
        self.loading.question(question);
    }

    fn entry(&mut self, key: &'static str, shape: Shape) -> Result<Option<Entry<'a>>, Reported> {
        self.known.push(key);
        self.note(key, shape);
        let path = self.path(key);
        if self.overriding == Overriding::Allowed
            && shape == Shape::Single
            && let Some((name, value)) = self.loading.environment().override_of(&path)
        {
            return Ok(Some(Entry::of_variable(path, name, value)));
        }
        let value = self.table.and_then(|table| table.get(key));
        value.map(|value| Entry::of_file(path, value, self.loading)).transpose()
    }

    fn item<T>(
        &self,
        key: String,
        value: &'a Spanned<DeValue<'a>>,
        kind: &Kind<'_, T>,
    ) -> Result<Item<T>, Reported> {
        let entry = Entry::of_file(key, value, self.loading)?;
        let value = self.read(&entry, kind)?;
        Ok(Item { value, key: entry.key, place: entry.place })
    }

    fn read<T>(&self, entry: &Entry<'_>, kind: &Kind<'_, T>) -> Result<T, Reported> {
        kind.read(entry).map_err(|fault| self.report(entry, fault))
    }

    fn missing(&self, key: &str, expected: String) -> Reported {
        self.complain(key, Fault::Missing { expected })
    }

    fn unexpected(&self, entry: &Entry<'_>, expected: &str) -> Reported {
        self.report(entry, entry.unexpected(expected))
    }

    fn report(&self, entry: &Entry<'_>, fault: Fault) -> Reported {
        self.loading.report(Problem::error(entry.place.clone(), &entry.key, fault))
    }
}

fn list_of<T>(kind: &Kind<'_, T>) -> String {
    format!("a list, each entry {}", kind.expected)
}
