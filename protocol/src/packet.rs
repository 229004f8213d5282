//! One packet: what an event becomes, and its record, the bytes that are stored and sent.
//!
//! A record is a MessagePack array: `[created_ms, data]`, or `[created_ms, data, meta]` with `meta`
//! a map that may gain keys in later versions; unknown keys are ignored.

use std::collections::BTreeMap;

use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::Bytes;

/// An event, addressed to a target that stands with its lane and not with each packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packet<'a> {
    /// When the event happened, in milliseconds since 1970 (UTC), by the client's clock.
    pub created_ms: u64,
    /// What happened, of any length.
    pub data: &'a [u8],
    /// What is known about the data; usually nothing.
    pub meta: Meta<'a>,
}

/// The small metadata of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta<'a> {
    /// The media type of the data.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// Headers of the sender, by name.
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'a str, &'a str>,
    /// The W3C trace context.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<&'a str>,
    /// For how long the packet is worth sending, in milliseconds from when it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

impl Meta<'_> {
    /// Whether nothing is known, so that the record does without.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content_type.is_none()
            && self.headers.is_empty()
            && self.traceparent.is_none()
            && self.ttl_ms.is_none()
    }
}

/// The bytes are not a packet's record.
#[derive(Debug, thiserror::Error)]
#[error("expected a packet's record [created_ms, data, meta], found {found}")]
pub struct RecordError {
    /// What MessagePack says about them.
    found: rmp_serde::decode::Error,
}

impl<'a> Packet<'a> {
    /// Reads a record; the packet borrows from it.
    ///
    /// # Errors
    /// When the bytes do not begin with a record; what follows it is ignored.
    pub fn decode(record: &'a [u8]) -> Result<Self, RecordError> {
        let parts: Parts<'a> =
            rmp_serde::from_slice(record).map_err(|found| RecordError { found })?;
        Ok(Self { created_ms: parts.0, data: parts.1, meta: parts.2 })
    }
}

/// When the event of a record happened, without a look at the rest of it; nothing when it is no record.
#[must_use]
pub fn created_ms(record: &[u8]) -> Option<u64> {
    let mut rest = record;
    let parts = rmp::decode::read_array_len(&mut rest).ok()?;
    rmp::decode::read_int(&mut rest).ok().filter(|_| parts >= 2)
}

#[derive(Deserialize)]
struct Parts<'a>(
    u64,
    #[serde(borrow, with = "serde_bytes")] &'a [u8],
    #[serde(borrow, default)] Meta<'a>,
);

impl Serialize for Packet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bare = self.meta.is_empty();
        let mut parts = serializer.serialize_tuple(if bare { 2 } else { 3 })?;
        parts.serialize_element(&self.created_ms)?;
        parts.serialize_element(Bytes::new(self.data))?;
        if !bare {
            parts.serialize_element(&self.meta)?;
        }
        parts.end()
    }
}
