//! What the admin side answers in JSON, as types: `paquebot schema --api` is made from them.

use schemars::JsonSchema;
use serde::Serialize;

use super::status::{ClientStatus, ServerStatus};

/// The answer of `/v1/status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// The client, if this process has one.
    pub client: Option<ClientStatus>,
    /// The server, if this process has one.
    pub server: Option<ServerStatus>,
}

/// The answer of `/readyz`, with 200 or 503.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// Whether the process does what it is there for; being offline is ready.
    pub ready: bool,
    /// Why it is not, each in a word.
    pub reasons: Vec<&'static str>,
}
