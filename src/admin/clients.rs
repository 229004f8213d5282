//! `GET /v1/clients`: the clients of a server, those that are away, too.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paquebot_actors::fleet::Fleet;
use paquebot_actors::source::Problem;
use serde::Deserialize;

use super::ServerView;
use super::answers::Clients;

/// A page, if nothing else is asked for, and at most.
const PAGE: usize = 1_000;
const PAGE_MAX: usize = 20_000;

/// Which clients are meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meant {
    client: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// The routes of a process with this server.
pub(super) fn routes(server: Option<&ServerView>) -> axum::Router {
    let Some(server) = server else { return axum::Router::new() };
    let route = axum::Router::new().route("/v1/clients", get(list));
    route.with_state(server.board.fleet().clone())
}

async fn list(
    State(fleet): State<Fleet>,
    meant: Result<Query<Meant>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(meant) = meant.map_err(|error| Problem::bad_request(error.body_text()))?;
    if let Some(client) = &meant.client {
        return Ok(Json(Clients { clients: fleet.one(client), next: None }).into_response());
    }
    let limit = meant.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        let detail = format!("limit: expected 1 to {PAGE_MAX}, found {limit}");
        return Err(Problem::bad_request(detail));
    }
    let mut clients = fleet.read(meant.after.as_deref(), limit.saturating_add(1));
    // A client is not torn apart: with several spools it stands on one page.
    let more = clients.len() > limit;
    let last = clients.last().map(|last| last.id.clone());
    if more && clients.first().is_some_and(|first| Some(&first.id) != last.as_ref()) {
        clients.retain(|client| Some(&client.id) != last.as_ref());
    }
    let next = clients.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(Clients { clients, next }).into_response())
}
