//! Conditions: the predetermined event of a source, as an expression in CEL.
//!
//! An expression is compiled once. It sees the fields of its source's events and nothing else; what can
//! never work in it is refused when the config is read, not when the first event comes.

mod foresight;
mod oracle;

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use serde_json::Value as Json;

use self::foresight::Foresight;
use super::event::Event;

/// A longer expression is a program, and belongs into one.
const SOURCE_BYTES_MAX: usize = 4 * 1024;

/// A condition of events.
pub struct Condition {
    source: String,
    program: Program,
    /// The fields that it looks at.
    fields: Vec<String>,
    doubts: Vec<String>,
}

impl Condition {
    /// Compiles `source`, which may look at `fields`.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(source: &str, fields: &[&str]) -> Result<Self, String> {
        if source.len() > SOURCE_BYTES_MAX {
            let found = source.len();
            return Err(format!("expected at most {SOURCE_BYTES_MAX} bytes, found {found}"));
        }
        let program = Program::compile(source).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.clone());
            first.unwrap_or_else(|| errors.to_string()).replace('\n', " ")
        })?;
        let Foresight { fields, doubts } = foresight::look(&program, fields)?;
        Ok(Self { source: source.to_owned(), program, fields, doubts })
    }

    /// What its author should look at again, in words.
    #[must_use]
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// Whether the event is one.
    ///
    /// # Errors
    /// When the expression fails, or says neither true nor false.
    pub(super) fn holds(&self, event: &impl Event) -> Result<bool, String> {
        let mut context = Context::default();
        for field in &self.fields {
            context.add_variable_from_value(field.as_str(), to_cel(event.field(field)));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("expected true or false, found {}", kind_of(&other))),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Condition({:?})", self.source)
    }
}

/// Whole numbers stay whole, so that they compare with those that are written in an expression.
fn to_cel(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text)),
        Json::Array(items) => Value::List(Arc::new(items.into_iter().map(to_cel).collect())),
        Json::Object(items) => {
            let entry = |(name, value)| (Key::String(Arc::new(name)), to_cel(value));
            let map: HashMap<Key, Value> = items.into_iter().map(entry).collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::String(_) => "a text",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        _ => "something else",
    }
}
