//! The command `schema`: JSON Schemas of the config, and of what the admin side answers.
//!
//! The first is made by the code that reads a config (`config/describe.rs`), the others from the types
//! that are answered. So both are as true as the code is.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::admin::answers;
use crate::config;
use crate::exit::{Code, Failure};
use crate::print::say;

/// Prints the schema of the config, or an object with those of the answers by method and path.
///
/// # Errors
/// When standard output cannot be written.
pub fn schema(api: bool) -> Result<(), Failure> {
    let schema = if api { Value::Object(api_schemas()) } else { config::schema() };
    let text = serde_json::to_string_pretty(&schema);
    let text = text.map_err(Failure::of(Code::Internal, "the schema cannot be written"))?;
    say(&text)
}

/// The schema of each answer in JSON, by method and path.
fn api_schemas() -> Map<String, Value> {
    let answers = [
        ("GET /v1/status", of::<answers::Status>()),
        ("GET /readyz", of::<answers::Ready>()),
        ("GET /v1/packets/{id}", of::<answers::Trace>()),
        ("GET /v1/dead-letters", of::<answers::DeadLetters>()),
        ("GET /v1/handlers", of::<answers::Handlers>()),
        ("GET /v1/clients", of::<answers::Clients>()),
    ];
    answers.map(|(path, schema)| (path.to_owned(), schema)).into_iter().collect()
}

fn of<T: JsonSchema>() -> Value {
    SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}
