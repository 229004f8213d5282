//! Events, as conditions and templates see them.

use serde_json::Value;

/// Something that happened, and that may become a packet.
pub(super) trait Event {
    /// What is seen under the name of a field; null when there is no such thing.
    fn field(&self, name: &str) -> Value;

    /// Where it happened, for people: a file and a place in it, say.
    fn place(&self) -> String;
}

/// Bytes as text: what is not UTF-8 is replaced.
pub(super) fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}

/// Bytes as JSON: null when they are none.
pub(super) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

/// How many bytes there are.
pub(super) fn size(bytes: &[u8]) -> Value {
    Value::from(bytes.len())
}
