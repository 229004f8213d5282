//! `GET /v1/packets/{id}`: where is this packet? Each side tells what its own store knows.

mod client;
mod server;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paquebot_actors::source::Problem;
use paquebot_protocol::PacketId;

use super::answers::{ClientTrace, ServerTrace, Trace};
use super::{ClientView, ServerView};

/// A packet that was never seen.
const UNKNOWN: &str = "unknown";

/// A packet that its server has yet to handle.
const WAITING: &str = "waiting";

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
        Some(client) => Some(client::trace(client, id).await?),
        None => None,
    };
    let server = match &parts.server {
        Some(server) => Some(server::trace(server, id).await?),
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
/// server has on record before what the client knows of it; but whether a packet was ever stored knows
/// the client whose lane it would be in.
fn summary(client: Option<&ClientTrace>, server: Option<&ServerTrace>) -> &'static str {
    let of_client = client.map(|client| client.state);
    let of_server = server.map(|server| server.state);
    match (of_client, of_server) {
        (_, Some(outcome)) if ![UNKNOWN, WAITING, "skipped"].contains(&outcome) => outcome,
        (Some(_), Some(WAITING)) if client.is_some_and(|client| client.never_stored) => UNKNOWN,
        // Why it was skipped knows the client better.
        (Some("done" | UNKNOWN), Some(of_server)) => of_server,
        (Some(of_client), _) => of_client,
        (None, of_server) => of_server.unwrap_or(UNKNOWN),
    }
}
