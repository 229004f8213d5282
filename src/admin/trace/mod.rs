//! `GET /v1/packets/{id}`: where is this packet? Each side tells what its own store knows.

mod client;
mod server;

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paquebot_protocol::PacketId;
use paquebot_store::Reply;
use tokio::sync::oneshot;

use super::answers::{ClientTrace, ServerTrace, Trace};
use super::{ClientView, ServerView, failed};

/// A store that lives answers far sooner.
const PATIENCE: Duration = Duration::from_secs(10);

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

async fn trace(State(parts): State<Parts>, Path(id): Path<String>) -> Response {
    let id: PacketId = match id.parse() {
        Ok(id) => id,
        Err(error) => return failed(StatusCode::BAD_REQUEST, &format!("packet id: {error}")),
    };
    let client = match &parts.client {
        Some(client) => client::trace(client, id).await.map(Some),
        None => Ok(None),
    };
    let server = match &parts.server {
        Some(server) => server::trace(server, id).await.map(Some),
        None => Ok(None),
    };
    let (client, server) = match (client, server) {
        (Ok(client), Ok(server)) => (client, server),
        (Err(why), _) | (_, Err(why)) => return failed(StatusCode::SERVICE_UNAVAILABLE, &why),
    };
    let state = summary(client.as_ref(), server.as_ref());
    let status = if state == UNKNOWN { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let found = Trace { id: id.to_string(), state, client, server };
    (status, Json(found)).into_response()
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
