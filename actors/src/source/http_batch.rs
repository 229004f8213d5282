//! Many packets in one request: lines of JSON in, a line for each out. Not atomic: each line has
//! its own answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::future::join_all;
use paquebot_protocol::{Batch, Packet, TargetId};
use paquebot_store::{AppendError, Stored};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::desk::{Desk, Receipt, check_meta, line_meta};
use super::problem::Problem;
use crate::clock;
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
}

/// The answer to one line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Stored(Receipt),
    Problem(Problem),
}

/// Where a line's packet went: the batch of its target, and its place there.
type Place = Result<(TargetId, u64), Problem>;

pub(super) async fn post_batch(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match accept(&desk, &headers, body).await {
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
    let mut batches: BTreeMap<TargetId, Batch> = BTreeMap::new();
    let mut places: Vec<Place> = Vec::new();
    for line in lines {
        if places.len() == LINES_MAX {
            return Err(Problem::too_large(format!(
                "expected at most {LINES_MAX} lines, found more"
            )));
        }
        places.push(gather(desk, line, &mut batches));
    }
    let mut waiting = Vec::with_capacity(batches.len());
    for (target, batch) in batches {
        let stored = async {
            (target.clone(), desk.outlet.store(target, batch, None, Permit::none(), false).await)
        };
        waiting.push(stored);
    }
    let mut outcomes: BTreeMap<TargetId, Result<Stored, AppendError>> = BTreeMap::new();
    // All at once, so that they share a commit.
    for (target, handover) in join_all(waiting).await {
        outcomes.insert(target, handover.map(|handover| handover.stored));
    }
    let mut answers = Vec::with_capacity(places.len() * 128);
    for place in places {
        let answer = answer(place, &outcomes);
        match answer {
            Answer::Stored(_) => desk.meters.sent(1),
            Answer::Problem(_) => desk.meters.error(),
        }
        let written = serde_json::to_writer(&mut answers, &answer);
        debug_assert!(written.is_ok(), "a Vec takes every byte and an answer has no other failure");
        answers.push(b'\n');
    }
    Ok((StatusCode::OK, [(CONTENT_TYPE, NDJSON)], answers).into_response())
}

fn gather(desk: &Desk, line: &[u8], batches: &mut BTreeMap<TargetId, Batch>) -> Place {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        Problem::bad_request(format!("expected a packet as JSON, found {error}"))
    })?;
    let target = desk.target(&line.target)?;
    let data = match (line.data, line.json, line.data_base64) {
        (Some(text), None, None) => text.into_bytes(),
        (None, Some(json), None) => json.get().as_bytes().to_vec(),
        (None, None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| Problem::bad_request(format!("data_base64: {error}")))?,
        _ => {
            let detail = "expected exactly one of data, json, data_base64";
            return Err(Problem::bad_request(detail.into()));
        }
    };
    let (limit, found) = (desk.outlet.packet_bytes_max(), data.len());
    if found > limit {
        let detail = format!("expected at most {limit} bytes of data, found {found}");
        return Err(Problem::too_large(detail));
    }
    let ttl_ms = match &line.ttl {
        Some(text) => Some(desk.ttl(text)?),
        None => desk.ttl_of(&target),
    };
    let meta = line_meta(line.content_type.as_deref(), &line.headers, ttl_ms);
    check_meta(&meta)?;
    let batch = batches.entry(target.clone()).or_default();
    let at = batch.count() as u64;
    batch.push(&Packet { created_ms: clock::wall_ms(), data: &data, meta });
    Ok((target, at))
}

fn answer(place: Place, outcomes: &BTreeMap<TargetId, Result<Stored, AppendError>>) -> Answer {
    let (target, at) = match place {
        Ok(place) => place,
        Err(problem) => return Answer::Problem(problem),
    };
    match outcomes.get(&target) {
        Some(Ok(stored)) => Answer::Stored(Receipt::new(stored, at, &target, "stored")),
        Some(Err(error)) => Answer::Problem(error.into()),
        None => Answer::Problem((&AppendError::Closed).into()),
    }
}
