//! Backups of the ledger on request: through the Unix socket only, because they write a file.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use paquebot_actors::source::Problem;
use paquebot_store::Ledger;
use serde::Deserialize;

use super::ServerView;
use super::store::{ask, of_ledger};

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

async fn back_up(
    State(ledger): State<Ledger>,
    meant: Result<Json<Backup>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(Backup { path }) = meant.map_err(|error| Problem::bad_request(error.body_text()))?;
    if !path.is_absolute() {
        let detail = format!("path: expected an absolute path, found {}", path.display());
        return Err(Problem::bad_request(detail));
    }
    // When nobody waits any more, the copy is there all the same.
    let copied = ask(|reply| ledger.back_up(path, reply), PATIENCE).await?;
    copied.map_err(|error| of_ledger(&error))?;
    Ok(Json(serde_json::json!({ "state": "written" })).into_response())
}
