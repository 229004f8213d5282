//! Many packets in one request: lines of JSON in, a line for each out. Not atomic: each line has
//! its own answer. Lines that are blank are passed over, and count when lines are.
//!
//! What goes to one target is stored together, in the order of its lines, or refused together when
//! there is no room: no line overtakes another of its target.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use paquebot_protocol::{Batch, TargetId};
use paquebot_store::{AppendError, Key, Part, Stored};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Sleep;

use super::KEY_HEADER;
use super::desk::{Desk, Receipt, Wait, WaitQuery};
use super::order::Order;
use super::problem::Problem;
use crate::permit::Permit;
use crate::receipts::Outcome;

/// The most that one request may carry.
const LINES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 * 1024 * 1024;

const NDJSON: &str = "application/x-ndjson";

/// One line of the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    target: String,
    data: Option<String>,
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    data_base64: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    ttl: Option<String>,
    idempotency_key: Option<String>,
}

/// The answer to one line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Stored(Receipt),
    Filtered(Receipt),
    Problem(Problem),
}

/// What became of a line.
#[derive(Debug)]
enum Place {
    /// It is in this part of this bundle, at this place.
    Bundle { bundle: usize, part: usize, at: u64 },
    /// It is none of the events that become packets.
    Filtered(TargetId),
    /// Something is wrong with it.
    Refused(Problem),
}

/// What is to be stored, in order: for each target what is stored together.
#[derive(Debug, Default)]
struct Bundles {
    bundles: Vec<(TargetId, Vec<Part>)>,
    of: HashMap<TargetId, usize>,
}

/// What became of a bundle: whom it went to, and of each part where it stands and how it ended.
type Outcomes = (TargetId, Result<Vec<(Stored, Option<Outcome>)>, Problem>);

pub(super) async fn post_batch(
    State(desk): State<Arc<Desk>>,
    query: Result<Query<WaitQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let accepted = async {
        let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
        let wait = desk.wait(&query)?;
        if headers.contains_key(KEY_HEADER) {
            let detail = format!("{KEY_HEADER}: expected a key for each line, found one for all");
            return Err(Problem::bad_request(detail));
        }
        accept(&desk, wait, &headers, body).await
    };
    match accepted.await {
        Ok(response) => response,
        Err(problem) => {
            desk.meters.error();
            problem.into_response()
        }
    }
}

async fn accept(
    desk: &Desk,
    wait: Wait,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let timer = pin!(tokio::time::sleep(wait.timeout));
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.and_then(|text| text.split(';').next()).map(str::trim) != Some(NDJSON) {
        let found = media_type.unwrap_or("none");
        let detail = format!("content-type: expected {NDJSON}, found {found}");
        return Err(Problem::bad_request(detail));
    }
    // The permit is held until every line has its answer.
    let (body, _room) = desk.body(headers, body, BYTES_MAX).await?;
    let lines = (1..).zip(body.split(|byte| *byte == b'\n'));
    let (mut bundles, mut places) = (Bundles::default(), Vec::new());
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        if places.len() == LINES_MAX {
            return Err(Problem::too_large(format!(
                "expected at most {LINES_MAX} lines, found more"
            )));
        }
        places.push((number, gather(desk, line, &mut bundles)));
    }
    let outcomes = store(desk, bundles, wait, timer).await;
    let mut answers = Vec::with_capacity(places.len() * 128);
    for (number, place) in places {
        let answer = answer(number, place, &outcomes);
        match answer {
            Answer::Stored(_) | Answer::Filtered(_) => {}
            Answer::Problem(_) => desk.meters.error(),
        }
        let written = serde_json::to_writer(&mut answers, &answer);
        debug_assert!(written.is_ok(), "a Vec takes every byte and an answer has no other failure");
        answers.push(b'\n');
    }
    Ok((StatusCode::OK, [(CONTENT_TYPE, NDJSON)], answers).into_response())
}

/// Stores all bundles, and waits until each packet has its outcome, if that is wanted.
async fn store(
    desk: &Desk,
    bundles: Bundles,
    wait: Wait,
    mut timer: Pin<&mut Sleep>,
) -> Vec<Outcomes> {
    let (targets, lots): (Vec<_>, Vec<_>) = bundles.bundles.into_iter().unzip();
    // The body's permit is held until every line has its answer.
    let lots = lots.into_iter().map(|parts| (parts, Permit::none())).collect();
    let stored = desk.store(lots, timer.as_mut()).await;
    let mut outcomes = Vec::with_capacity(targets.len());
    // All ask before the first waits.
    let ask = |stored: Stored| {
        let asks = wait.for_handled && !stored.differs;
        (stored, asks.then(|| desk.outlet.outcome_of(&stored)))
    };
    let asked: Vec<Result<Vec<_>, _>> = stored
        .into_iter()
        .map(|stored| stored.map(|parts| parts.into_iter().map(ask).collect()))
        .collect();
    for (target, asked) in targets.into_iter().zip(asked) {
        let outcome = match asked {
            Ok(parts) => {
                let mut ended = Vec::with_capacity(parts.len());
                for (stored, asked) in parts {
                    let outcome = match asked {
                        Some(asked) => desk.outcome(asked, timer.as_mut()).await,
                        None => None,
                    };
                    ended.push((stored, outcome));
                }
                Ok(ended)
            }
            Err(problem) => Err(problem),
        };
        outcomes.push((target, outcome));
    }
    outcomes
}

impl Bundles {
    /// Adds an order behind all others for its target.
    fn add(&mut self, order: &Order<'_>, key: Option<Key>) -> Place {
        let of = self.of.get(&order.target).copied();
        let bundle = of.unwrap_or_else(|| {
            self.of.insert(order.target.clone(), self.bundles.len());
            self.bundles.push((order.target.clone(), Vec::new()));
            self.bundles.len() - 1
        });
        let Some((target, parts)) = self.bundles.get_mut(bundle) else {
            unreachable!("a bundle was found or added")
        };
        // What has a key is a part of its own.
        if key.is_some() || parts.last().is_none_or(|last| last.key.is_some()) {
            parts.push(Part { target: target.clone(), batch: Batch::default(), key });
        }
        let part = parts.len() - 1;
        let Some(Part { batch, .. }) = parts.last_mut() else {
            unreachable!("a part was found or added")
        };
        let at = batch.count() as u64;
        order.push_to(batch);
        Place::Bundle { bundle, part, at }
    }
}

fn gather(desk: &Desk, line: &[u8], bundles: &mut Bundles) -> Place {
    let order = read(desk, line).and_then(|order| {
        let target = order.target.clone();
        Ok(desk.judge(order)?.ok_or(target))
    });
    match order {
        Ok(Ok(order)) => {
            let key = order.key(&desk.source);
            bundles.add(&order, key)
        }
        Ok(Err(target)) => Place::Filtered(target),
        Err(problem) => Place::Refused(problem),
    }
}

/// What a line orders.
fn read<'l>(desk: &Desk, line: &'l [u8]) -> Result<Order<'l>, Problem> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        Problem::bad_request(format!("expected a packet as JSON, found {error}"))
    })?;
    let target = desk.target(&line.target)?;
    let data = match (line.data, line.json, line.data_base64) {
        (Some(text), None, None) => Cow::Owned(text.into_bytes()),
        (None, Some(json), None) => Cow::Borrowed(json.get().as_bytes()),
        (None, None, Some(text)) => Cow::Owned(
            BASE64_STANDARD
                .decode(text)
                .map_err(|error| Problem::bad_request(format!("data_base64: {error}")))?,
        ),
        _ => {
            let detail = "expected exactly one of data, json, data_base64";
            return Err(Problem::bad_request(detail.into()));
        }
    };
    let headers = line.headers.into_iter().map(|(name, value)| {
        // As HTTP has it, and with lower-case letters, so that it is one header whichever way it came.
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let detail = format!("headers: expected names as in HTTP, found {name:?}");
            Problem::bad_request(detail)
        })?;
        Ok((Cow::Owned(name.as_str().to_owned()), Cow::Owned(value)))
    });
    Ok(Order {
        content_type: line.content_type.map(Cow::Owned),
        headers: headers.collect::<Result<_, Problem>>()?,
        ttl_ms: line.ttl.as_deref().map(|text| desk.ttl(text)).transpose()?,
        key: line.idempotency_key.map(Cow::Owned),
        ..Order::new(target, data)
    })
}

fn answer(number: usize, place: Place, outcomes: &[Outcomes]) -> Answer {
    let (bundle, part, at) = match place {
        Place::Bundle { bundle, part, at } => (bundle, part, at),
        Place::Filtered(target) => return Answer::Filtered(Receipt::filtered(&target)),
        Place::Refused(problem) => return Answer::Problem(problem.at_line(number)),
    };
    let closed = || Problem::from(&AppendError::Closed);
    let receipt = match outcomes.get(bundle) {
        Some((target, Ok(parts))) => {
            parts.get(part).ok_or_else(closed).and_then(|(stored, outcome)| {
                let stored = stored.checked().map_err(|error| Problem::from(&error))?;
                Receipt::new(&stored, at, target, outcome.as_ref())
            })
        }
        Some((_, Err(problem))) => Err(problem.clone()),
        None => Err(closed()),
    };
    receipt.map_or_else(|problem| Answer::Problem(problem.at_line(number)), Answer::Stored)
}
