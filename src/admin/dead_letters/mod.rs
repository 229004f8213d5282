//! Dead letters over HTTP: list, show, replay, discard; those of the server, and of the client whose
//! server can never take them. A process with both parts gives those of its server first, and each
//! says whose it is.
//!
//! What is asked is bounded: a page at a time, and a replay or a discard of many goes page by page
//! through the store. To mean all of them one has to say so.

mod client;
mod server;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use paquebot_actors::clock;
use paquebot_actors::handler::Line;
use paquebot_actors::source::Problem;
use paquebot_protocol::{ClientId, Packet, PacketId, TargetId};
use paquebot_store::DeadLetterFilter;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) use client::find as find_of_client;

use super::answers::{DeadLetterFacts, DeadLetters};
use super::{ClientView, ServerView};
use crate::config::parse_duration;
use client::ClientDesk;
use server::ServerDesk;

/// A page, if nothing else is asked for, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// Where the pages of a client's letters begin: far beyond any letter of a server, and still a number
/// that every JSON has exactly.
const CLIENT_FROM: u64 = 1 << 52;

/// Packets that a replay has stored anew and that are named in its answer, at most.
const STORED_NAMED_MAX: usize = 10;

/// Who is asked.
struct Desks {
    server: Option<ServerDesk>,
    client: Option<ClientDesk>,
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

/// The routes of a process with these parts.
pub(super) fn routes(client: Option<&ClientView>, server: Option<&ServerView>) -> axum::Router {
    let desks = Desks { server: server.map(ServerDesk::of), client: client.map(ClientDesk::of) };
    axum::Router::new()
        .route("/v1/dead-letters", get(list))
        .route("/v1/dead-letters/replay", post(replay))
        .route("/v1/dead-letters/discard", post(discard))
        .route("/v1/dead-letters/{id}", get(show).delete(discard_one))
        .route("/v1/dead-letters/{id}/replay", post(replay_one))
        .with_state(Arc::new(desks))
}

async fn list(
    State(desks): State<Arc<Desks>>,
    meant: Result<Query<Meant>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(meant) = meant.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = meant.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        let detail = format!("limit: expected 1 to {PAGE_MAX}, found {limit}");
        return Err(Problem::bad_request(detail));
    }
    let filter = meant.filter()?;
    let (mut letters, mut next) = (Vec::new(), filter.after);
    if let Some(server) = &desks.server
        && next.is_none_or(|after| after < CLIENT_FROM)
    {
        (letters, next) = server.page(DeadLetterFilter { limit, ..filter.clone() }).await?;
        if next.is_none() && desks.client.is_some() {
            next = Some(CLIENT_FROM);
        }
    }
    if let Some(client) = &desks.client
        && next.is_none_or(|after| after >= CLIENT_FROM)
    {
        let after = next.map_or(0, |after| after - CLIENT_FROM);
        let (of_client, more) = client.page(&filter, after, limit - letters.len()).await?;
        letters.extend(of_client);
        next = more.map(|place| CLIENT_FROM + place);
    }
    Ok(Json(DeadLetters { dead_letters: letters, next }).into_response())
}

async fn show(
    State(desks): State<Arc<Desks>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    if let Some(client) = &desks.client
        && let Some(full) = client.one(id).await?
    {
        return Ok(Json(full).into_response());
    }
    match &desks.server {
        Some(server) => Ok(Json(server.one(id).await?).into_response()),
        None => Err(not_found(id)),
    }
}

async fn discard_one(
    State(desks): State<Arc<Desks>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    let mut count = 0;
    if let Some(client) = &desks.client {
        count += client.discard_one(id).await?;
    }
    if let Some(server) = &desks.server {
        count += server.discard_one(id).await?;
    }
    if count == 0 {
        return Err(not_found(id));
    }
    tracing::info!(%id, "a dead letter was discarded");
    Ok(Json(json!({ "discarded": count })).into_response())
}

async fn discard(
    State(desks): State<Arc<Desks>>,
    meant: Result<Json<Meant>, JsonRejection>,
) -> Result<Response, Problem> {
    let mut filter = many(meant)?;
    let mut discarded = 0;
    if let Some(server) = &desks.server {
        discarded += server.discard(filter.clone()).await?;
        filter.limit -= usize::try_from(discarded).unwrap_or(usize::MAX).min(filter.limit);
    }
    if let Some(client) = &desks.client {
        discarded += client.discard(&filter).await?;
    }
    tracing::info!(discarded, "dead letters were discarded");
    Ok(Json(json!({ "discarded": discarded })).into_response())
}

async fn replay_one(
    State(desks): State<Arc<Desks>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    let mut answer = Answer::default();
    if let Some(client) = &desks.client {
        answer.of_client = client.replay_one(id).await?;
    }
    if let Some(server) = &desks.server {
        let filter = DeadLetterFilter { id: Some(id), limit: 1, ..DeadLetterFilter::default() };
        answer.of_server = server.replay(filter).await?;
    }
    if answer.is_empty() { Err(not_found(id)) } else { Ok(Json(answer.whole()).into_response()) }
}

async fn replay(
    State(desks): State<Arc<Desks>>,
    meant: Result<Json<Meant>, JsonRejection>,
) -> Result<Response, Problem> {
    let mut filter = many(meant)?;
    let mut answer = Answer::default();
    // Those of the client first: what it sends again is not in its server's way for long.
    if let Some(client) = &desks.client {
        answer.of_client = client.replay(&filter).await?;
        filter.limit -= answer.of_client.tried().min(filter.limit);
    }
    if let Some(server) = &desks.server
        && filter.limit > 0
    {
        answer.of_server = server.replay(filter).await?;
    }
    Ok(Json(answer.whole()).into_response())
}

/// What came of a replay.
#[derive(Debug, Default)]
struct Answer {
    of_server: paquebot_actors::replay::Replayed,
    of_client: Resent,
}

/// What came of it at the client: its letters are packets again.
#[derive(Debug, Default)]
struct Resent {
    stored: u64,
    left: u64,
    /// Some of them: what they were, and what they are.
    named: Vec<(PacketId, PacketId)>,
    /// Why the rest was left.
    problems: Vec<(Option<PacketId>, String)>,
}

impl Resent {
    fn tried(&self) -> usize {
        usize::try_from(self.stored + self.left).unwrap_or(usize::MAX)
    }
}

impl Answer {
    fn is_empty(&self) -> bool {
        let of_server = &self.of_server;
        of_server.replayed() + of_server.left == 0 && self.of_client.tried() == 0
    }

    fn whole(&self) -> Value {
        let (replayed, resent) = (&self.of_server, &self.of_client);
        let named = |(id, now): &(PacketId, PacketId)| json!({ "id": id.to_string(), "now": now.to_string() });
        let mut problems: Vec<Value> =
            replayed.problems.iter().map(|problem| json!(problem)).collect();
        problems.extend(
            resent
                .problems
                .iter()
                .map(|(id, reason)| json!({ "id": id.map(|id| id.to_string()), "reason": reason })),
        );
        json!({
            "replayed": replayed.replayed() + resent.stored,
            "handled": replayed.handled,
            "stored": resent.stored,
            "stored_as": resent.named.iter().map(named).collect::<Vec<_>>(),
            "still_dead": replayed.still_dead() + resent.left,
            "rejected": replayed.rejected,
            "failed": replayed.failed,
            "left": replayed.left + resent.left,
            "problems": problems,
        })
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

/// A letter with its packet, as far as that can be read.
fn in_full(
    facts: &DeadLetterFacts,
    whose: (PacketId, &ClientId, &TargetId),
    record: &[u8],
) -> Value {
    let (id, client, target) = whose;
    let packet = Packet::decode(record);
    let line = packet.as_ref().map(|packet| {
        let line = Line::new(id, Some(client), target, packet);
        serde_json::to_value(line).unwrap_or_default()
    });
    let mut full = serde_json::to_value(facts).unwrap_or_default();
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

fn not_found(id: PacketId) -> Problem {
    let detail = format!("expected a dead letter of packet {id}, found none");
    Problem::new("not-found", "there is no such thing", StatusCode::NOT_FOUND, detail)
}
