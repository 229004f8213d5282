//! CloudEvents 1.0 over HTTP: events whose envelope others have made, in binary mode (attributes in
//! headers `ce-…`) and in structured mode (one JSON object).
//!
//! Decides what of an event becomes a packet: its data is the packet's data, each attribute a header
//! `ce-<name>`, and what tells it from every other event (its `source` and `id`) its key.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use serde_json::value::RawValue;

use super::order::Order;
use super::problem::Problem;

/// Attributes in headers begin so, and so do those of packets.
pub(super) const PREFIX: &str = "ce-";

/// The content type of an event in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// The version that is understood.
const VERSION: &str = "1.0";

/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Whether the body of a request is an event in structured mode.
pub(super) fn is_structured(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|text| text.split(';').next()).map(str::trim);
    media_type.is_some_and(|found| found.eq_ignore_ascii_case(STRUCTURED))
}

/// Makes an event of an order, if it is one.
pub(super) fn recognise(order: &mut Order<'_>, headers: &HeaderMap) -> Result<(), Problem> {
    let attributes = if is_structured(headers) {
        open(order)?
    } else if headers.contains_key("ce-specversion") {
        read_headers(headers)?
    } else {
        return Ok(());
    };
    let missing = |name: &&&str| attributes.get(**name).is_none_or(String::is_empty);
    if let Some(missing) = REQUIRED.iter().find(missing) {
        return Err(wrong(format!("expected the attribute `{missing}`, found none")));
    }
    let of = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
    if of("specversion") != VERSION {
        let found = of("specversion");
        return Err(wrong(format!("expected specversion {VERSION}, found {found:?}")));
    }
    if order.key.is_none() {
        // No header has a line's end in it, so no other key is like this.
        order.key = Some(Cow::Owned(format!("{}\n{}", of("source"), of("id"))));
    }
    for (name, value) in attributes {
        order.headers.insert(Cow::Owned(format!("{PREFIX}{name}")), Cow::Owned(value));
    }
    Ok(())
}

fn wrong(what: impl Display) -> Problem {
    Problem::bad_request(format!("CloudEvent: {what}"))
}

/// The attributes of an event in binary mode.
fn read_headers(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Problem> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        check_name(name)?;
        let value = value.to_str().ok();
        let value = value.and_then(|text| percent_decode_str(text).decode_utf8().ok());
        let value = value.ok_or_else(|| {
            wrong(format!("`{name}`: expected percent-encoded UTF-8, found other bytes"))
        })?;
        attributes.insert(name.to_owned(), value.into_owned());
    }
    Ok(attributes)
}

/// The attributes of an event in structured mode; its data becomes that of the order.
fn open(order: &mut Order<'_>) -> Result<BTreeMap<String, String>, Problem> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&order.data)
        .map_err(|error| wrong(format!("expected a JSON object, found {error}")))?;
    let mut attributes = BTreeMap::new();
    let (mut data, mut base64) = (None, None);
    for (name, value) in members {
        match &*name {
            "data" => data = Some(value),
            "data_base64" => base64 = Some(value),
            name => {
                check_name(name)?;
                if let Some(value) = read_attribute(name, value)? {
                    attributes.insert(name.to_owned(), value);
                }
            }
        }
    }
    let content_type = attributes.remove("datacontenttype");
    let is_json = content_type.as_deref().is_none_or(is_json);
    let data = match (data, base64) {
        (None, None) => Vec::new(),
        (Some(data), None) => match serde_json::from_str::<String>(data.get()) {
            Ok(text) if !is_json => text.into_bytes(),
            _ => data.get().as_bytes().to_vec(),
        },
        (None, Some(base64)) => {
            let text: String = serde_json::from_str(base64.get())
                .map_err(|error| wrong(format!("data_base64: expected a text, found {error}")))?;
            let decoded = BASE64_STANDARD.decode(text);
            decoded.map_err(|error| wrong(format!("data_base64: {error}")))?
        }
        (Some(_), Some(_)) => {
            return Err(wrong("expected one of data and data_base64, found both"));
        }
    };
    // An event that does not say otherwise has JSON for its data.
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    order.content_type = (!data.is_empty()).then_some(Cow::Owned(content_type));
    order.data = Cow::Owned(data);
    Ok(attributes)
}

/// An attribute as a text; nothing for null, which is the same as none.
fn read_attribute(name: &str, value: &RawValue) -> Result<Option<String>, Problem> {
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(text)) => Ok(Some(text)),
        Ok(Value::Bool(flag)) => Ok(Some(flag.to_string())),
        Ok(Value::Number(number)) => Ok(Some(number.to_string())),
        _ => {
            let found = value.get();
            let what = format!("`{name}`: expected a text, a number or a boolean, found {found}");
            Err(wrong(what))
        }
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Ok(());
    }
    let what = format!("expected names of attributes of a-z and 0-9, found {name:?}");
    Err(wrong(what))
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}
