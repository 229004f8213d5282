//! One packet as one line of newline-delimited JSON: what the `file` handler writes, and what is
//! exported from a spool.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine};
use paquebot_protocol::{ClientId, Packet, PacketId, TargetId};
use serde::Serialize;

use crate::clock;

/// A packet as INTERFACE.md spells it; what is empty is absent, and so is a client that is not known.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    target: &'a str,
    lane: u64,
    number: u64,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Line<'a> {
    /// The line of `packet`.
    #[must_use]
    pub fn new(
        id: PacketId,
        client: Option<&'a ClientId>,
        target: &'a TargetId,
        packet: &'a Packet<'a>,
    ) -> Self {
        let text = str::from_utf8(packet.data).ok();
        Self {
            id: id.to_string(),
            client: client.map(ClientId::as_str),
            target: target.as_str(),
            lane: id.lane.0,
            number: id.number.0,
            created: clock::rfc3339(packet.created_ms),
            content_type: packet.meta.content_type,
            headers: &packet.meta.headers,
            data: text,
            data_base64: text.is_none().then(|| BASE64_STANDARD.encode(packet.data)),
        }
    }

    /// Appends the line and its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        let written = serde_json::to_writer(&mut *out, self);
        debug_assert!(written.is_ok(), "a Vec takes every byte and a line has no other failure");
        out.push(b'\n');
    }
}
