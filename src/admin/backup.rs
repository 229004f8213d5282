//! Backups of the ledger on request: through the Unix socket only, because they write a file.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use paquebot_store::{Ledger, LedgerError};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{ServerView, failed};

/// Longer than any ledger takes.
const PATIENCE: Duration = Duration::from_mins(30);

/// Where the copy goes.
#[derive(Debug, Deserialize)]
struct Backup {
    path: PathBuf,
}

/// The routes of a process with this server.
pub(super) fn routes(server: Option<&ServerView>) -> axum::Router {
    let Some(server) = server else { return axum::Router::new() };
    let route = axum::Router::new().route("/v1/ledger/backup", post(back_up));
    route.with_state(server.store.clone())
}

async fn back_up(State(ledger): State<Ledger>, Json(Backup { path }): Json<Backup>) -> Response {
    if !path.is_absolute() {
        return failed(StatusCode::BAD_REQUEST, "expected an absolute path");
    }
    let (answer, answered) = oneshot::channel::<Result<(), LedgerError>>();
    // When nobody waits any more, the copy is there all the same.
    ledger.back_up(path, Box::new(move |outcome| drop(answer.send(outcome))));
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(Ok(()))) => Json(serde_json::json!({ "state": "written" })).into_response(),
        Ok(Ok(Err(error))) => failed(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Ok(Err(_)) => failed(StatusCode::SERVICE_UNAVAILABLE, "the ledger is closed"),
        Err(_) => failed(StatusCode::SERVICE_UNAVAILABLE, "it takes too long"),
    }
}
