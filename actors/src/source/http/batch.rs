//! Many packets in one request: lines of JSON in, a line for each out. Not atomic: each line has
//! its own answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::future::join_all;
use paquebot_protocol::{Batch, TargetId};
use paquebot_store::{AppendError, Key, Stored};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::KEY_HEADER;
use super::desk::{Desk, Receipt, WaitQuery};
use super::order::Order;
use super::problem::Problem;
use crate::permit::Permit;

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
    /// It is in this bundle, at this place.
    Bundle(usize, u64),
    /// It is none of the events that become packets.
    Filtered(TargetId),
    /// Something is wrong with it.
    Refused(Problem),
}

/// Packets that are stored together.
#[derive(Debug)]
struct Bundle {
    target: TargetId,
    batch: Batch,
    key: Option<Key>,
}

/// What is to be stored, in order.
#[derive(Debug, Default)]
struct Bundles {
    bundles: Vec<Bundle>,
    /// Where further packets for a target may go.
    open: HashMap<TargetId, usize>,
}

/// What became of a bundle, and to whom it went.
type Outcome = (TargetId, Result<Stored, AppendError>);

pub(super) async fn post_batch(
    State(desk): State<Arc<Desk>>,
    query: Result<Query<WaitQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let accepted = async {
        let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
        if desk.deadline(&query)?.is_some() {
            let detail = "wait: expected stored, for a batch is answered when it is stored";
            return Err(Problem::bad_request(detail.into()));
        }
        if headers.contains_key(KEY_HEADER) {
            let detail = format!("{KEY_HEADER}: expected a key for each line, found one for all");
            return Err(Problem::bad_request(detail));
        }
        accept(&desk, &headers, body).await
    };
    match accepted.await {
        Ok(response) => response,
        Err(problem) => {
            desk.meters.error();
            problem.into_response()
        }
    }
}

async fn accept(desk: &Desk, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    desk.check_origin(headers)?;
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.and_then(|text| text.split(';').next()).map(str::trim) != Some(NDJSON) {
        let found = media_type.unwrap_or("none");
        let detail = format!("content-type: expected {NDJSON}, found {found}");
        return Err(Problem::bad_request(detail));
    }
    // The permit is held until every line has its answer.
    let (body, _room) = desk.body(headers, body, BYTES_MAX).await?;
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let (mut bundles, mut places) = (Bundles::default(), Vec::new());
    for line in lines {
        if places.len() == LINES_MAX {
            return Err(Problem::too_large(format!(
                "expected at most {LINES_MAX} lines, found more"
            )));
        }
        places.push(gather(desk, line, &mut bundles));
    }
    // All at once, so that they share a commit; each is on its way before the next.
    let waiting: Vec<_> = bundles
        .bundles
        .into_iter()
        .map(|Bundle { target, batch, key }| {
            let count = (&desk.meters, false);
            let stored = desk.outlet.store(target.clone(), batch, key, Permit::none(), count);
            async { (target, stored.await.map(|handover| handover.stored)) }
        })
        .collect();
    let outcomes: Vec<Outcome> = join_all(waiting).await;
    let mut answers = Vec::with_capacity(places.len() * 128);
    for place in places {
        let answer = answer(place, &outcomes);
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

impl Bundles {
    /// Adds an order behind all others for its target.
    fn add(&mut self, order: &Order<'_>, key: Option<Key>) -> Place {
        let open = self.open.get(&order.target).copied().filter(|_| key.is_none());
        let at = open.unwrap_or_else(|| {
            self.bundles.push(Bundle {
                target: order.target.clone(),
                batch: Batch::default(),
                key,
            });
            self.bundles.len() - 1
        });
        match key {
            // What has a key is stored alone, and what follows it comes after it.
            Some(_) => drop(self.open.remove(&order.target)),
            None => drop(self.open.insert(order.target.clone(), at)),
        }
        let Some(bundle) = self.bundles.get_mut(at) else {
            unreachable!("a bundle was found or added")
        };
        let place = bundle.batch.count() as u64;
        order.push_to(&mut bundle.batch);
        Place::Bundle(at, place)
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
    let headers = line.headers.into_iter();
    Ok(Order {
        content_type: line.content_type.map(Cow::Owned),
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        ttl_ms: line.ttl.as_deref().map(|text| desk.ttl(text)).transpose()?,
        key: line.idempotency_key.map(Cow::Owned),
        ..Order::new(target, data)
    })
}

fn answer(place: Place, outcomes: &[Outcome]) -> Answer {
    let (bundle, at) = match place {
        Place::Bundle(bundle, at) => (bundle, at),
        Place::Filtered(target) => return Answer::Filtered(Receipt::filtered(&target)),
        Place::Refused(problem) => return Answer::Problem(problem),
    };
    match outcomes.get(bundle) {
        Some((target, Ok(stored))) => Answer::Stored(Receipt::new(stored, at, target, "stored")),
        Some((_, Err(error))) => Answer::Problem(error.into()),
        None => Answer::Problem((&AppendError::Closed).into()),
    }
}
