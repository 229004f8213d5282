//! Handlers over HTTP: list, pause, resume.
//!
//! A pause is in the ledger before it holds, and a resume before it does, so that a restart finds what
//! whoever asked was told.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use paquebot_actors::clock;
use paquebot_actors::source::Problem;
use paquebot_store::{Ledger, PausedHandler};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answers::Handlers;
use super::store::ask_ledger;
use super::{HandlerView, ServerView};

/// Who it was, at most, in characters.
const BY_MAX: usize = 200;

/// Whom is asked.
struct Desk {
    ledger: Ledger,
    handlers: Vec<HandlerView>,
    /// One after another, so that the ledger and the boards say the same.
    turn: Mutex<()>,
}

/// Who asks; may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asker {
    by: Option<String>,
}

/// The routes of a process with this server.
pub(super) fn routes(server: Option<&ServerView>) -> axum::Router {
    let Some(server) = server else { return axum::Router::new() };
    let (ledger, handlers) = (server.store.clone(), server.handlers.clone());
    let desk = Desk { ledger, handlers, turn: Mutex::default() };
    axum::Router::new()
        .route("/v1/handlers", get(list))
        .route("/v1/handlers/{name}/pause", post(pause))
        .route("/v1/handlers/{name}/resume", post(resume))
        .with_state(Arc::new(desk))
}

async fn list(State(desk): State<Arc<Desk>>) -> Response {
    let handlers = desk.handlers.iter().map(HandlerView::status).collect();
    Json(Handlers { handlers }).into_response()
}

async fn pause(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let by = asker(&body)?.unwrap_or_else(|| "POST /v1/handlers/…/pause".to_owned());
    let handler = desk.handler(&name)?;
    let _turn = desk.turn.lock().await;
    if !handler.board.is_paused() {
        let since_ms = clock::wall_ms();
        let paused = PausedHandler { handler: name.clone(), since_ms, by: by.clone() };
        ask_ledger(|reply| desk.ledger.pause_handler(paused, reply)).await?;
        handler.board.pause(since_ms, &by);
        tracing::warn!(
            handler = name,
            by,
            since = clock::rfc3339(since_ms),
            "the handler is paused by hand: it begins no packet until it is resumed, and they wait at \
             their clients"
        );
    }
    Ok(Json(handler.status()).into_response())
}

async fn resume(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let by = asker(&body)?.unwrap_or_else(|| "POST /v1/handlers/…/resume".to_owned());
    let handler = desk.handler(&name)?;
    let _turn = desk.turn.lock().await;
    if handler.board.is_paused() {
        let since = handler.board.read().since;
        ask_ledger(|reply| desk.ledger.resume_handler(name.clone(), reply)).await?;
        handler.board.resume();
        tracing::info!(
            handler = name,
            by,
            since,
            "the handler is resumed: it was paused since then"
        );
    }
    Ok(Json(handler.status()).into_response())
}

impl Desk {
    fn handler(&self, name: &str) -> Result<&HandlerView, Problem> {
        self.handlers.iter().find(|handler| handler.name == name).ok_or_else(|| {
            let names: Vec<_> = self.handlers.iter().map(|known| known.name.as_str()).collect();
            let detail = format!("expected one of the handlers {}, found {name}", names.join(", "));
            Problem::new("not-found", "there is no such thing", StatusCode::NOT_FOUND, detail)
        })
    }
}

fn asker(body: &[u8]) -> Result<Option<String>, Problem> {
    if body.is_empty() {
        return Ok(None);
    }
    let asker: Asker =
        serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Ok(asker.by.map(|by| by.chars().take(BY_MAX).map(plain).collect()))
}
