//! The JSON Schema of the config, made by reading one.
//!
//! Specimens of every kind of source and handler are read by the very code that reads a user's file;
//! whatever it asks for is taken down, and becomes the schema. So a key that `check` knows is in the
//! schema, with the same words about what is expected, and no other is. What is missing here when a new
//! kind comes is its specimen; a test counts them.
//!
//! Never decides what a key means, and says less than `check` does: that two values must fit
//! together, or a name may be used once only, is beyond a schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use toml::de::DeTable;

use super::environment::Environment;
use super::loading::{Loading, Question, Shape};

/// Whether a text refers to the environment or a file; what comes of it is not known here.
const REFERENCE: &str = "\\$\\{";

/// Each kind of source, with the keys on which it depends which others are asked for.
const SOURCES: [(&str, &str); 10] = [
    ("http", ""),
    ("tail", ""),
    ("directory", "then = 'delete'"),
    ("directory", "then = 'move'"),
    ("exec", "packet = 'line'"),
    ("exec", "packet = 'output'\nevery = '1 min'"),
    ("timer", ""),
    ("host", "metric = 'disk_percent'"),
    ("host", "metric = 'load1'"),
    ("stdin", ""),
];
/// Each kind of handler, in the same way.
const HANDLERS: [(&str, &str); 6] = [
    ("file", "rotate = {}"),
    ("http", ""),
    ("exec", "mode = 'packet'"),
    ("exec", "mode = 'lines'"),
    ("log", ""),
    ("discard", ""),
];

/// The JSON Schema of a config file.
#[must_use]
pub fn schema() -> Value {
    let mut text = "[client]\n[server]\n[admin]\n[metrics]\n[[client.policy]]\n".to_owned();
    for (table, specimens) in [("client.source", &SOURCES[..]), ("server.handler", &HANDLERS)] {
        for (kind, keys) in specimens {
            text.push_str(&format!("[[{table}]]\nkind = '{kind}'\n{keys}\n"));
        }
    }
    let environment = Environment::of([]).with_host_name("host");
    let (table, _) = DeTable::parse_recoverable(&text);
    let loading = Loading::describing(&environment, PathBuf::from("/"));
    // What is wrong with the specimens is beside the point: they are asked about, not used.
    drop(super::read_root(&table, PathBuf::from("/config.toml"), &loading));
    let asked = Asked { questions: loading.into_questions() };
    let mut schema = asked.table("");
    let told = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("title", json!("The config of Paquebot")),
        (
            "description",
            json!(
                "What `paquebot check` also looks at, such as names that are used twice, is not here. \
                 A key that is required and not in an array of tables may come from the environment \
                 instead."
            ),
        ),
        ("anyOf", json!([{ "required": ["client"] }, { "required": ["server"] }])),
    ];
    if let Value::Object(schema) = &mut schema {
        schema.extend(told.map(|(key, value)| (key.to_owned(), value)));
    }
    schema
}

/// A text, in any of whose places a reference may stand.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// A text of a certain look.
pub(super) fn text_like(pattern: &str) -> Value {
    json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": REFERENCE }] })
}

/// A text that is one of some words.
pub(super) fn text_of(words: &[&str]) -> Value {
    json!({ "type": "string", "anyOf": [{ "enum": words }, { "pattern": REFERENCE }] })
}

/// What was asked for while the specimens were read.
struct Asked {
    questions: Vec<Question>,
}

impl Asked {
    /// The schema of the table at `path`.
    fn table(&self, path: &str) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for question in self.questions.iter().filter(|question| question.table == path) {
            let key = question.key;
            let below = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let mut form = question.form.clone();
            match question.shape {
                Shape::Tables => merge(&mut form, json!({ "items": self.items(&below) })),
                Shape::Table if form.get("additionalProperties").is_none() => {
                    merge(&mut form, self.table(&below));
                }
                _ => {}
            }
            properties.insert(key.to_owned(), form);
            if question.required {
                required.push(key);
            }
        }
        required.dedup();
        let mut table = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            merge(&mut table, json!({ "required": required }));
        }
        table
    }

    /// The schema of the tables of the array at `path`: one, or one for each kind.
    fn items(&self, path: &str) -> Value {
        let kinds: &[(&str, &str)] = match path {
            "client.source" => &SOURCES,
            "server.handler" => &HANDLERS,
            _ => return self.table(&format!("{path}[0]")),
        };
        let mut variants: BTreeMap<&str, Value> = BTreeMap::new();
        for (at, (kind, _)) in kinds.iter().enumerate() {
            let mut table = self.table(&format!("{path}[{at}]"));
            if let Some(word) = table.pointer_mut("/properties/kind") {
                *word = json!({ "const": kind });
            }
            match variants.get_mut(kind) {
                Some(variant) => unite(variant, &table),
                None => drop(variants.insert(kind, table)),
            }
        }
        json!({ "oneOf": variants.into_values().collect::<Vec<_>>() })
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// Two tables of one kind: the keys of either, of which those are required that both require.
fn unite(variant: &mut Value, other: &Value) {
    let required = other.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Array(keys)) = variant.get_mut("required") {
        keys.retain(|key| required.contains(key));
    }
    let properties = other.get("properties").cloned().unwrap_or_default();
    if let (Some(Value::Object(into)), Value::Object(more)) =
        (variant.get_mut("properties"), properties)
    {
        for (key, form) in more {
            into.entry(key).or_insert(form);
        }
    }
}
