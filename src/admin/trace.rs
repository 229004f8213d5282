//! `GET /v1/packets/{id}`: where is this packet? Each side tells what its own store knows.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paquebot_actors::clock;
use paquebot_actors::connection::LaneStanding;
use paquebot_actors::source::Problem;
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Packet, PacketId, SpoolId};
use paquebot_store::{LaneState, Passage, Stretch, Traced};

use super::answers::{ClientTrace, LinkFacts, PauseFacts, ServerTrace, Trace};
use super::store::read;
use super::{ClientView, ServerView};

/// A packet that was never seen.
const UNKNOWN: &str = "unknown";

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

async fn trace(State(parts): State<Parts>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: PacketId =
        id.parse().map_err(|error| Problem::bad_request(format!("packet id: {error}")))?;
    let client = match &parts.client {
        Some(client) => Some(of_client(client, id).await?),
        None => None,
    };
    let server = match &parts.server {
        Some(server) => Some(of_server(server, id).await?),
        None => None,
    };
    let state = summary(client.as_ref(), server.as_ref());
    let found = Trace { id: id.to_string(), state, client, server };
    if state == UNKNOWN {
        let detail = format!("expected a packet that was seen here, found none with the id {id}");
        let (title, status) = ("there is no such thing", StatusCode::NOT_FOUND);
        return Err(Problem::new("not-found", title, status, detail).with(&found));
    }
    Ok(Json(found).into_response())
}

/// What both sides say together: an outcome counts before what is still on its way, and what the
/// server has on record before what the client knows of it.
fn summary(client: Option<&ClientTrace>, server: Option<&ServerTrace>) -> &'static str {
    match (client.map(|client| client.state), server.map(|server| server.state)) {
        (_, Some(outcome)) if ![UNKNOWN, "waiting"].contains(&outcome) => outcome,
        (Some(of_client), _) if of_client != UNKNOWN => of_client,
        (_, Some(of_server)) => of_server,
        (of_client, None) => of_client.unwrap_or(UNKNOWN),
    }
}

async fn of_client(client: &ClientView, id: PacketId) -> Result<ClientTrace, Problem> {
    let status = client.spool.status();
    let identity = status.identity.unwrap_or(client.identity);
    let is_ours = |spool: SpoolId| spool == identity.spool || Some(spool) == identity.replaces;
    let lanes = client.spool.lane_states();
    let newest = lanes.last().map(|state| state.lane);
    let lane = lanes.into_iter().find(|state| state.lane == id.lane);
    match lane {
        Some(lane) if id.number >= lane.next => {
            Ok(at_client(UNKNOWN, "no such packet was stored here yet"))
        }
        Some(lane) if id.number > lane.acked_through => of_pending(client, id, lane).await,
        Some(lane) if is_ours(id.spool) => Ok(ClientTrace {
            target: Some(lane.target.to_string()),
            ..at_client("done", "it has come to its end: the server knows how")
        }),
        None if is_ours(id.spool) && newest.is_some_and(|newest| id.lane < newest) => {
            let means = "all packets of its lane have come to their end, and the lane has ended: the \
                         server knows how";
            Ok(at_client("done", means))
        }
        _ if is_ours(id.spool) => Ok(at_client(UNKNOWN, "no such packet was stored here")),
        _ => Ok(at_client(UNKNOWN, "it was not stored in this spool")),
    }
}

fn at_client(state: &'static str, means: &'static str) -> ClientTrace {
    ClientTrace { state, means: Some(means), ..ClientTrace::default() }
}

async fn of_pending(
    client: &ClientView,
    id: PacketId,
    lane: LaneState,
) -> Result<ClientTrace, Problem> {
    let stretches = read(|reply| client.spool.read(id.lane, id.number, 1, reply)).await?;
    let target = Some(lane.target.to_string());
    let run = match stretches.into_iter().next() {
        Some(Stretch::Run { run, .. }) if (run.first()..=run.last()).contains(&id.number) => run,
        Some(Stretch::Tombstone(gone)) if (gone.first..=gone.last).contains(&id.number) => {
            let reason = Some(skipped_in_words(gone.reason));
            return Ok(ClientTrace { state: "skipped", target, reason, ..ClientTrace::default() });
        }
        // It has come to its end in this very moment.
        _ => return Ok(ClientTrace { state: "done", target, ..ClientTrace::default() }),
    };
    if run.packet_id(id.lane, id.number) != id {
        return Ok(at_client(UNKNOWN, "it was not stored in this spool"));
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
    let link = client.board.read();
    Ok(ClientTrace {
        state,
        target,
        created: packet.as_ref().map(|packet| clock::rfc3339(packet.created_ms)),
        size: packet.as_ref().map(|packet| packet.data.len() as u64),
        packets_before: Some(id.number.since(lane.acked_through).saturating_sub(1)),
        pause: pause.map(PauseFacts::of),
        connection: Some(LinkFacts {
            state: link.state,
            server: link.server,
            last_error: link.last_error,
        }),
        ..ClientTrace::default()
    })
}

async fn of_server(server: &ServerView, id: PacketId) -> Result<ServerTrace, Problem> {
    let Traced { client, spool, retired, cursor, passed, letter, tried } =
        read(|reply| server.store.trace(id, reply)).await?;
    let Some(client) = client else {
        let means = Some("nothing came from its spool");
        return Ok(ServerTrace { state: UNKNOWN, means, ..ServerTrace::default() });
    };
    let found = ServerTrace {
        client: Some(client.to_string()),
        spool_now: spool.map(|spool| spool.to_string()),
        ..ServerTrace::default()
    };
    if let Some(letter) = letter {
        return Ok(ServerTrace {
            state: "dead-letter",
            target: Some(letter.target.to_string()),
            handler: Some(letter.handler),
            reason: Some(letter.reason),
            attempts: Some(letter.attempts),
            first_attempt: Some(clock::rfc3339(letter.first_attempt_ms)),
            last_attempt: Some(clock::rfc3339(letter.last_attempt_ms)),
            ..found
        });
    }
    if let Some(passed) = passed {
        let (state, means) = in_words(passed.how);
        return Ok(ServerTrace {
            state,
            means: Some(means),
            at: Some(clock::rfc3339(passed.at.saturating_mul(1_000))),
            handler: Some(passed.handler).filter(|handler| !handler.is_empty()),
            ..found
        });
    }
    if retired || id.number <= cursor {
        let means = Some("it has come to its end, longer ago than the history goes back");
        return Ok(ServerTrace { state: "done", means, ..found });
    }
    let means = if id.number == cursor.next() {
        "it is the next of its lane, and has no outcome yet"
    } else {
        "its lane has not come to it yet"
    };
    let tried = tried.as_ref();
    Ok(ServerTrace {
        state: "waiting",
        means: Some(means),
        attempts: tried.map(|tried| tried.attempts),
        first_attempt: tried.map(|tried| clock::rfc3339(tried.first_attempt_ms)),
        last_attempt: tried.map(|tried| clock::rfc3339(tried.last_attempt_ms)),
        handled_through: Some(cursor.0),
        ..found
    })
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
