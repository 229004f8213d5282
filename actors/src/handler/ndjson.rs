//! One packet as one line of newline-delimited JSON: what the `file` handler writes, and what is
//! exported from a spool.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use paquebot_protocol::{ClientId, Lane, Packet, PacketId, SpoolId, TargetId};
use serde::Serialize;

use crate::clock;

/// A packet as INTERFACE.md spells it; what is empty is absent, and so is a client that is not known.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    target: &'a str,
    lane: u64,
    number: u64,
    created: Cow<'a, str>,
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
        let created = clock::rfc3339(packet.created_ms).into();
        Self::with(id, id.to_string().into(), created, client, target, packet)
    }

    fn with(
        id: PacketId,
        id_text: Cow<'a, str>,
        created: Cow<'a, str>,
        client: Option<&'a ClientId>,
        target: &'a TargetId,
        packet: &'a Packet<'a>,
    ) -> Self {
        let text = str::from_utf8(packet.data).ok();
        Self {
            id: id_text,
            client: client.map(ClientId::as_str),
            target: target.as_str(),
            lane: id.lane.0,
            number: id.number.0,
            created,
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

/// What lines of packets that follow each other have in common, written once: most of an id is that of
/// its lane, and most packets are made in the same millisecond as the one before.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lane: Option<(SpoolId, Lane)>,
    id: String,
    id_head_bytes: usize,
    created_ms: Option<u64>,
    created: String,
}

impl Lines {
    /// The line of the next packet.
    pub(super) fn next<'a>(
        &'a mut self,
        id: PacketId,
        client: &'a ClientId,
        target: &'a TargetId,
        packet: &'a Packet<'a>,
    ) -> Line<'a> {
        if self.lane != Some((id.spool, id.lane)) {
            self.lane = Some((id.spool, id.lane));
            self.id = id.to_string();
            self.id_head_bytes = self.id.rfind('-').map_or(0, |at| at + 1);
        }
        self.id.truncate(self.id_head_bytes);
        let written = write!(self.id, "{}", id.number);
        debug_assert!(written.is_ok(), "a String takes everything");
        if self.created_ms != Some(packet.created_ms) {
            self.created_ms = Some(packet.created_ms);
            self.created = clock::rfc3339(packet.created_ms);
        }
        let (id_text, created) = (self.id.as_str().into(), self.created.as_str().into());
        Line::with(id, id_text, created, Some(client), target, packet)
    }
}

#[cfg(test)]
mod tests {
    use paquebot_protocol::Number;

    use super::*;

    #[test]
    fn what_is_written_once_for_many_is_what_each_would_have_been() {
        let (client, mut lines) = ("till-17".parse().unwrap(), Lines::default());
        let ids = [(1, 1, 9), (1, 1, 10), (1, 2, 11), (2, 2, 12), (2, 2, 13), (1, 1, 9)];
        for (at, (spool, lane, number)) in ids.into_iter().enumerate() {
            let (lane, number) = (Lane(lane), Number(number));
            let id = PacketId { spool: SpoolId([spool; 16]), lane, number };
            let target: TargetId = format!("orders.\"{at}\"").parse().unwrap();
            let created_ms = 1_700_000_000_000 + at as u64 / 2;
            let packet = Packet { created_ms, data: b"{\"a\": 1}\n", ..Packet::default() };
            let (mut of_many, mut by_itself) = (Vec::new(), Vec::new());
            lines.next(id, &client, &target, &packet).write(&mut of_many);
            Line::new(id, Some(&client), &target, &packet).write(&mut by_itself);
            assert_eq!(String::from_utf8(of_many), String::from_utf8(by_itself));
        }
    }
}
