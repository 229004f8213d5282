//! `GET /v1/packets/{id}`: where is this packet? Each side tells what its own store knows.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paquebot_actors::clock;
use paquebot_actors::connection::LaneStanding;
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Packet, PacketId, SpoolId};
use paquebot_store::{LaneState, Passage, ReadError, Reply, Stretch, Traced};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{ClientView, ServerView};

/// A store that lives answers far sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is asked.
#[derive(Debug, Clone)]
struct Parts {
    client: Option<ClientView>,
    server: Option<ServerView>,
}

/// The routes of a process with these parts.
pub(super) fn routes(client: Option<ClientView>, server: Option<ServerView>) -> axum::Router {
    // One path has one name for its parameter, and posting a packet to a target has the same path.
    let route = axum::Router::new().route("/v1/packets/{target}", get(trace));
    route.with_state(Parts { client, server })
}

async fn trace(State(parts): State<Parts>, Path(id): Path<String>) -> Response {
    let id: PacketId = match id.parse() {
        Ok(id) => id,
        Err(error) => return failed(StatusCode::BAD_REQUEST, &format!("packet id: {error}")),
    };
    let client = match &parts.client {
        Some(client) => of_client(client, id).await.map(Some),
        None => Ok(None),
    };
    let server = match &parts.server {
        Some(server) => of_server(server, id).await.map(Some),
        None => Ok(None),
    };
    let (client, server) = match (client, server) {
        (Ok(client), Ok(server)) => (client, server),
        (Err(why), _) | (_, Err(why)) => return failed(StatusCode::SERVICE_UNAVAILABLE, &why),
    };
    let state = summary(client.as_ref(), server.as_ref());
    let status = if state == "unknown" { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let found = json!({ "id": id.to_string(), "state": state, "client": client, "server": server });
    (status, Json(found)).into_response()
}

/// What both sides say together: an outcome counts before what is still on its way, and what the
/// server has on record before what the client knows of it.
fn summary<'v>(client: Option<&'v Value>, server: Option<&'v Value>) -> &'v str {
    let state = |of: Option<&'v Value>| of.and_then(|of| of.get("state")).and_then(Value::as_str);
    match (state(client), state(server)) {
        (_, Some(outcome)) if !["unknown", "waiting"].contains(&outcome) => outcome,
        (Some(of_client), _) if of_client != "unknown" => of_client,
        (_, Some(of_server)) => of_server,
        (of_client, None) => of_client.unwrap_or("unknown"),
    }
}

async fn of_client(client: &ClientView, id: PacketId) -> Result<Value, String> {
    let status = client.spool.status();
    let identity = status.identity.unwrap_or(client.identity);
    let is_ours = |spool: SpoolId| spool == identity.spool || Some(spool) == identity.replaces;
    let lanes = client.spool.lane_states();
    let newest = lanes.last().map(|state| state.lane);
    let lane = lanes.into_iter().find(|state| state.lane == id.lane);
    match lane {
        Some(lane) if id.number >= lane.next => Ok(unknown("no such packet was stored here yet")),
        Some(lane) if id.number > lane.acked_through => of_pending(client, id, lane).await,
        Some(lane) if is_ours(id.spool) => Ok(json!({
            "state": "done",
            "target": lane.target.to_string(),
            "means": "it has come to its end: the server knows how",
        })),
        None if is_ours(id.spool) && newest.is_some_and(|newest| id.lane < newest) => Ok(json!({
            "state": "done",
            "means": "all packets of its lane have come to their end, and the lane has ended: the \
                      server knows how",
        })),
        _ if is_ours(id.spool) => Ok(unknown("no such packet was stored here")),
        _ => Ok(unknown("it was not stored in this spool")),
    }
}

async fn of_pending(client: &ClientView, id: PacketId, lane: LaneState) -> Result<Value, String> {
    let stretches: Result<Vec<Stretch>, ReadError> =
        answer(|reply| client.spool.read(id.lane, id.number, 1, reply)).await?;
    let stretches = stretches.map_err(|error| error.to_string())?;
    let target = lane.target.to_string();
    let packets_before = id.number.since(lane.acked_through).saturating_sub(1);
    let run = match stretches.into_iter().next() {
        Some(Stretch::Run { run, .. }) if (run.first()..=run.last()).contains(&id.number) => run,
        Some(Stretch::Tombstone(gone)) if (gone.first..=gone.last).contains(&id.number) => {
            let reason = skipped_in_words(gone.reason);
            return Ok(json!({ "state": "skipped", "target": target, "reason": reason }));
        }
        // It has come to its end in this very moment.
        _ => return Ok(json!({ "state": "done", "target": target })),
    };
    if run.packet_id(id.lane, id.number) != id {
        return Ok(unknown("it was not stored in this spool"));
    }
    let record = run.records().find(|(number, _)| *number == id.number);
    let packet = record.and_then(|(_, record)| Packet::decode(record).ok());
    let standing = client.standings.lane(id.lane).await;
    let sent = standing.as_ref().is_some_and(|standing| id.number <= standing.sent_through);
    let pause = standing.and_then(|LaneStanding { pause, .. }| pause);
    let state = match (&pause, sent) {
        (Some(_), _) => "paused",
        (None, true) => "in-flight",
        (None, false) => "stored",
    };
    let pause = pause.map(|pause| {
        json!({
            "reason": pause.reason,
            "since": clock::rfc3339(pause.since_ms),
            "times": pause.times,
            "next_try": clock::rfc3339(pause.until_ms),
        })
    });
    let link = client.board.read();
    Ok(json!({
        "state": state,
        "target": target,
        "created": packet.as_ref().map(|packet| clock::rfc3339(packet.created_ms)),
        "size": packet.as_ref().map(|packet| packet.data.len()),
        "packets_before": packets_before,
        "pause": pause,
        "connection": { "state": link.state, "server": link.server, "last_error": link.last_error },
    }))
}

async fn of_server(server: &ServerView, id: PacketId) -> Result<Value, String> {
    let traced = answer(|reply| server.store.trace(id, reply)).await?;
    let Traced { client, spool, retired, cursor, passed, letter, tried } =
        traced.map_err(|error| error.to_string())?;
    let Some(client) = client else { return Ok(unknown("nothing came from its spool")) };
    let mut found = json!({ "state": "waiting", "client": client.to_string() });
    let mut tell = |key: &str, value: Value| {
        if let Some(found) = found.as_object_mut() {
            found.insert(key.to_owned(), value);
        }
    };
    if let Some(spool) = spool {
        tell("spool_now", spool.to_string().into());
    }
    if let Some(letter) = letter {
        tell("state", "dead-letter".into());
        tell("target", letter.target.to_string().into());
        tell("handler", letter.handler.into());
        tell("reason", letter.reason.into());
        tell("attempts", letter.attempts.into());
        tell("first_attempt", clock::rfc3339(letter.first_attempt_ms).into());
        tell("last_attempt", clock::rfc3339(letter.last_attempt_ms).into());
    } else if let Some(passed) = passed {
        let (state, means) = in_words(passed.how);
        tell("state", state.into());
        tell("at", clock::rfc3339(passed.at.saturating_mul(1_000)).into());
        if !passed.handler.is_empty() {
            tell("handler", passed.handler.into());
        }
        tell("means", means.into());
    } else if retired || id.number <= cursor {
        tell("state", "done".into());
        tell("means", "it has come to its end, longer ago than the history goes back".into());
    } else {
        tell("handled_through", cursor.0.into());
        let means = if id.number == cursor.next() {
            "it is the next of its lane, and has no outcome yet"
        } else {
            "its lane has not come to it yet"
        };
        tell("means", means.into());
        if let Some(tried) = tried {
            tell("attempts", tried.attempts.into());
            tell("first_attempt", clock::rfc3339(tried.first_attempt_ms).into());
            tell("last_attempt", clock::rfc3339(tried.last_attempt_ms).into());
        }
    }
    Ok(found)
}

fn in_words(how: Passage) -> (&'static str, &'static str) {
    match how {
        Passage::Handled => ("handled", "its handler has taken it"),
        Passage::DeadLettered => (
            "dead-letter-gone",
            "it became a dead letter, which was replayed, discarded or dropped",
        ),
        Passage::Skipped => {
            ("skipped", "its client gave it up: it expired, made way, was purged or damaged")
        }
        Passage::Elsewhere => (
            "elsewhere",
            "its client has the outcome from another ledger, or from before a restore",
        ),
    }
}

fn skipped_in_words(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Expired => "its time to live is over",
        SkipReason::Evicted => "it made way for later packets in a full spool",
        SkipReason::Purged => "it was purged by hand",
        SkipReason::Damaged => "its bytes are damaged",
        SkipReason::Refused => "the server can never take it",
        SkipReason::Unknown => "unknown",
    }
}

fn unknown(means: &str) -> Value {
    json!({ "state": "unknown", "means": means })
}

/// Asks a store, which may be gone.
async fn answer<T: Send + 'static>(ask: impl FnOnce(Reply<T>)) -> Result<T, String> {
    let (answer, answered) = oneshot::channel();
    ask(Box::new(move |found| drop(answer.send(found))));
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err("the store is closed".to_owned()),
        Err(_) => Err(format!("the store does not answer within {PATIENCE:?}")),
    }
}

fn failed(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({ "detail": detail }))).into_response()
}
