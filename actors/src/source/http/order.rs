//! Orders: what one sender wants stored, however it was written, and what becomes of it.
//!
//! Decides whether an order is the predetermined event, what stands beside its data, and under which
//! key it is stored, so that a sender who did not hear the answer may repeat it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use paquebot_protocol::{Batch, Meta, Packet, TargetId};
use paquebot_store::Key;
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use super::desk::Desk;
use super::problem::Problem;
use crate::clock;
use crate::source::event::{self, Event};
use crate::source::recipe::META_BYTES_MAX;

/// What orders offer to `when` and to templates.
pub const HTTP_FIELDS: [&str; 6] = ["target", "headers", "content_type", "json", "text", "size"];

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// What one sender wants stored.
#[derive(Debug)]
pub(super) struct Order<'r> {
    /// Whom it is addressed to.
    pub(super) target: TargetId,
    /// The data of the packet.
    pub(super) data: Cow<'r, [u8]>,
    /// What kind of data it is.
    pub(super) content_type: Option<Cow<'r, str>>,
    /// Headers for the packet.
    pub(super) headers: BTreeMap<Cow<'r, str>, Cow<'r, str>>,
    /// The W3C trace context.
    pub(super) traceparent: Option<Cow<'r, str>>,
    /// For how long it is worth sending, in milliseconds, as the sender says.
    pub(super) ttl_ms: Option<u64>,
    /// What tells it from every other order, as the sender says.
    pub(super) key: Option<Cow<'r, str>>,
}

impl<'r> Order<'r> {
    /// An order of bare data.
    pub(super) fn new(target: TargetId, data: Cow<'r, [u8]>) -> Self {
        let (content_type, traceparent, ttl_ms, key) = (None, None, None, None);
        Self { target, data, content_type, headers: BTreeMap::new(), traceparent, ttl_ms, key }
    }

    /// Adds it to a batch for its target.
    pub(super) fn push_to(&self, batch: &mut Batch) {
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        let meta = Meta {
            content_type: self.content_type.as_deref(),
            headers: headers.collect(),
            traceparent: self.traceparent.as_deref(),
            ttl_ms: self.ttl_ms,
        };
        batch.push(&Packet { created_ms: clock::wall_ms(), data: &self.data, meta });
    }

    /// The key under which the source `source` stores it: what is handed over again under one key
    /// has to be for the same target, and the same data.
    pub(super) fn key(&self, source: &str) -> Option<Key> {
        let key = self.key.as_ref()?;
        let mut content = Xxh3::new();
        // No target id has a byte of 0.
        content.update(self.target.as_str().as_bytes());
        content.update(&[0]);
        content.update(&self.data);
        Some(Key {
            source: xxh3_64(source.as_bytes()),
            key: xxh3_128(key.as_bytes()),
            content: content.digest(),
        })
    }

    /// Refuses what does not fit the room that a frame has, beside the data and for it.
    fn check(&self, data_bytes_max: usize) -> Result<(), Problem> {
        let found = self.data.len();
        if found > data_bytes_max {
            let detail = format!("expected at most {data_bytes_max} bytes of data, found {found}");
            return Err(Problem::too_large(detail));
        }
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let others = [&self.content_type, &self.traceparent].into_iter().flatten();
        let found = headers.chain(others.map(|text| text.len())).sum::<usize>();
        if found > META_BYTES_MAX {
            let detail =
                format!("expected at most {META_BYTES_MAX} bytes of headers, found {found}");
            return Err(Problem::too_large(detail));
        }
        match self.key.as_ref().map_or(1, |key| key.len()) {
            1..=KEY_BYTES_MAX => Ok(()),
            found => Err(Problem::bad_request(format!(
                "idempotency key: expected 1 to {KEY_BYTES_MAX} bytes, found {found}"
            ))),
        }
    }
}

impl Event for Order<'_> {
    fn field(&self, name: &str) -> Value {
        match name {
            "target" => Value::from(self.target.as_str()),
            "headers" => {
                let headers = self.headers.iter();
                headers.map(|(name, value)| (name.to_string(), Value::from(&**value))).collect()
            }
            "content_type" => self.content_type.as_deref().map_or(Value::Null, Value::from),
            "json" => event::json(&self.data),
            "text" => event::text(&self.data),
            "size" => event::size(&self.data),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        format!("{} bytes for {}", self.data.len(), self.target)
    }
}

impl Desk {
    /// What becomes of an order: nothing when it is none of the events that become packets.
    pub(super) fn judge<'r>(&self, mut order: Order<'r>) -> Result<Option<Order<'r>>, Problem> {
        // The sender's own order counts for its key, so that a change of the config does not turn
        // what is repeated into something else.
        order.check(self.outlet.packet_bytes_max())?;
        if let Some(kitchen) = &self.kitchen {
            let Some(draft) = kitchen.make(&order) else { return Ok(None) };
            order.target = draft.target;
            let headers = draft.headers.into_iter();
            order.headers.extend(headers.map(|(name, value)| (name.into(), value.into())));
            order.content_type = draft.content_type.map(Cow::Owned).or(order.content_type);
            order.check(self.outlet.packet_bytes_max())?;
        }
        order.ttl_ms = order.ttl_ms.or_else(|| self.ttl_of(&order.target));
        Ok(Some(order))
    }
}
