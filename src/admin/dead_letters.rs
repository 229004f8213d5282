//! Dead letters over HTTP: list, show, replay, discard.
//!
//! What is asked is bounded: a page at a time, and a replay or a discard of many goes page by page
//! through the ledger. To mean all of them one has to say so.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use paquebot_actors::clock;
use paquebot_actors::handler::Line;
use paquebot_actors::replay::{ReplayDesk, ReplayError, Replayed};
use paquebot_actors::source::Problem;
use paquebot_protocol::{Packet, PacketId};
use paquebot_store::{DeadLetter, DeadLetterFilter, DeadLetterPage, Ledger, ListedLetter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ServerView;
use super::answers::{DeadLetterFacts, DeadLetters};
use super::store::{ask_ledger, of_ledger, unavailable};
use crate::config::parse_duration;

/// A page, if nothing else is asked for, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// The ledger looks at so many rows for a page and gives a short one then; so often it is asked to go on.
const SHORT_PAGES_MAX: usize = 100;

/// Whom is asked.
#[derive(Clone)]
struct Desk {
    ledger: Ledger,
    replays: ReplayDesk,
}

/// Which dead letters are meant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meant {
    handler: Option<String>,
    client: Option<String>,
    target: Option<String>,
    since: Option<String>,
    until: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    all: bool,
}

/// The routes of a process with this server.
pub(super) fn routes(server: Option<&ServerView>) -> axum::Router {
    let Some(server) = server else { return axum::Router::new() };
    let desk = Desk { ledger: server.store.clone(), replays: server.replays.clone() };
    axum::Router::new()
        .route("/v1/dead-letters", get(list))
        .route("/v1/dead-letters/replay", post(replay))
        .route("/v1/dead-letters/discard", post(discard))
        .route("/v1/dead-letters/{id}", get(show).delete(discard_one))
        .route("/v1/dead-letters/{id}/replay", post(replay_one))
        .with_state(Arc::new(desk))
}

async fn list(
    State(desk): State<Arc<Desk>>,
    meant: Result<Query<Meant>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(meant) = meant.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = meant.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        let detail = format!("limit: expected 1 to {PAGE_MAX}, found {limit}");
        return Err(Problem::bad_request(detail));
    }
    let mut filter = meant.filter()?;
    let (mut letters, mut next) = (Vec::new(), None);
    for _ in 0..SHORT_PAGES_MAX {
        filter.limit = limit - letters.len();
        let page = desk.page(filter.clone()).await?;
        letters.extend(page.letters.iter().map(in_list));
        next = page.next;
        if next.is_none() || letters.len() >= limit {
            break;
        }
        filter.after = next;
    }
    Ok(Json(DeadLetters { dead_letters: letters, next }).into_response())
}

async fn show(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let listed = desk.one(parse(&id)?).await?;
    Ok(Json(in_full(&listed)).into_response())
}

async fn discard_one(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    match desk.discard(vec![id]).await? {
        0 => Err(not_found(id)),
        count => {
            tracing::info!(%id, "a dead letter was discarded");
            Ok(Json(json!({ "discarded": count })).into_response())
        }
    }
}

async fn discard(
    State(desk): State<Arc<Desk>>,
    meant: Result<Json<Meant>, JsonRejection>,
) -> Result<Response, Problem> {
    let mut filter = many(meant)?;
    let (mut left, mut discarded) = (filter.limit, 0);
    while left > 0 {
        filter.limit = left.min(PAGE_MAX);
        let DeadLetterPage { letters, next, newest } = desk.page(filter.clone()).await?;
        filter.through.get_or_insert(newest);
        left -= letters.len().min(left);
        if !letters.is_empty() {
            discarded += desk.discard(letters.iter().map(|one| one.letter.id).collect()).await?;
        }
        match next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    tracing::info!(discarded, "dead letters were discarded");
    Ok(Json(json!({ "discarded": discarded })).into_response())
}

async fn replay_one(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    let filter = DeadLetterFilter { id: Some(id), limit: 1, ..DeadLetterFilter::default() };
    let replayed = desk.replays.replay(filter).await.map_err(|error| of_replay(&error))?;
    if replayed.replayed() + replayed.left == 0 {
        return Err(not_found(id));
    }
    Ok(Json(of_replayed(&replayed)).into_response())
}

async fn replay(
    State(desk): State<Arc<Desk>>,
    meant: Result<Json<Meant>, JsonRejection>,
) -> Result<Response, Problem> {
    let filter = many(meant)?;
    let replayed = desk.replays.replay(filter).await.map_err(|error| of_replay(&error))?;
    Ok(Json(of_replayed(&replayed)).into_response())
}

impl Desk {
    async fn page(&self, filter: DeadLetterFilter) -> Result<DeadLetterPage, Problem> {
        ask_ledger(|reply| self.ledger.list_dead_letters(filter, reply)).await
    }

    /// The letter of a packet, with its record.
    async fn one(&self, id: PacketId) -> Result<ListedLetter, Problem> {
        let filter = DeadLetterFilter { id: Some(id), limit: 1, ..DeadLetterFilter::default() };
        self.page(filter).await?.letters.into_iter().next().ok_or_else(|| not_found(id))
    }

    async fn discard(&self, ids: Vec<PacketId>) -> Result<u64, Problem> {
        ask_ledger(|reply| self.ledger.discard_dead_letters(ids, reply)).await
    }
}

impl Meant {
    fn filter(self) -> Result<DeadLetterFilter, Problem> {
        let wrong =
            |key: &'static str| move |error| Problem::bad_request(format!("{key}: {error}"));
        let time = |key, text: Option<String>| {
            text.map(|text| moment(&text).map_err(wrong(key))).transpose()
        };
        let client = self.client.map(|text| text.parse().map_err(|e| wrong("client")(text_of(e))));
        let target = self.target.map(|text| text.parse().map_err(|e| wrong("target")(text_of(e))));
        Ok(DeadLetterFilter {
            handler: self.handler,
            client: client.transpose()?,
            target: target.transpose()?,
            since_ms: time("since", self.since)?,
            until_ms: time("until", self.until)?,
            after: self.after,
            limit: self.limit.unwrap_or(usize::MAX),
            ..DeadLetterFilter::default()
        })
    }

    /// Whether it says anything of which are meant.
    fn says_which(&self) -> bool {
        self.all
            || self.handler.is_some()
            || self.client.is_some()
            || self.target.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}

/// Many letters at once, of which somebody has said which.
fn many(meant: Result<Json<Meant>, JsonRejection>) -> Result<DeadLetterFilter, Problem> {
    let Json(meant) = meant.map_err(|error| Problem::bad_request(error.body_text()))?;
    if !meant.says_which() {
        let detail = "expected handler, client, target, since, until or \"all\": true, found none";
        return Err(Problem::bad_request(detail.to_owned()));
    }
    meant.filter()
}

/// A time, in milliseconds since 1970: RFC 3339, or a duration before now.
fn moment(text: &str) -> Result<u64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    let before = parse_duration(text).map_err(|_error| {
        format!("expected a time (2026-11-23T12:00:00Z) or a duration (\"1 h\"), found {text:?}")
    })?;
    let before_ms = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
    Ok(clock::wall_ms().saturating_sub(before_ms))
}

fn parse(id: &str) -> Result<PacketId, Problem> {
    id.parse().map_err(|error| Problem::bad_request(text_of(error)))
}

#[expect(clippy::needless_pass_by_value, reason = "a parser's error, at its end")]
fn text_of(error: impl ToString) -> String {
    error.to_string()
}

fn in_list(listed: &ListedLetter) -> DeadLetterFacts {
    let DeadLetter { id, client, target, handler, reason, attempts, .. } = &listed.letter;
    DeadLetterFacts {
        id: id.to_string(),
        client: client.to_string(),
        target: target.to_string(),
        handler: handler.clone(),
        reason: reason.clone(),
        attempts: *attempts,
        first_attempt: clock::rfc3339(listed.letter.first_attempt_ms),
        last_attempt: clock::rfc3339(listed.letter.last_attempt_ms),
        size: listed.size,
    }
}

/// The letter with its packet, as far as that can be read.
fn in_full(listed: &ListedLetter) -> Value {
    let DeadLetter { id, client, target, record, .. } = &listed.letter;
    let packet = Packet::decode(record);
    let line = packet.as_ref().map(|packet| {
        let line = Line::new(*id, Some(client), target, packet);
        serde_json::to_value(line).unwrap_or_default()
    });
    let mut full = serde_json::to_value(in_list(listed)).unwrap_or_default();
    let more = match line {
        Ok(Value::Object(line)) => line,
        Ok(_) => Map::new(),
        Err(error) => Map::from_iter([("unreadable".to_owned(), error.to_string().into())]),
    };
    if let Value::Object(full) = &mut full {
        full.extend(more);
    }
    full
}

fn of_replayed(replayed: &Replayed) -> Value {
    json!({
        "replayed": replayed.replayed(),
        "handled": replayed.handled,
        "still_dead": replayed.still_dead(),
        "rejected": replayed.rejected,
        "failed": replayed.failed,
        "left": replayed.left,
        "problems": replayed.problems,
    })
}

fn not_found(id: PacketId) -> Problem {
    let detail = format!("expected a dead letter of packet {id}, found none");
    Problem::new("not-found", "there is no such thing", StatusCode::NOT_FOUND, detail)
}

fn of_replay(error: &ReplayError) -> Problem {
    let code = if matches!(error, ReplayError::Busy) { "busy" } else { "stopping" };
    match error {
        ReplayError::Ledger(error) => of_ledger(error),
        _ => unavailable(code, error.to_string()),
    }
}
