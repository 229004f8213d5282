//! Asking a store for an answer over HTTP: it may be gone, or slow.

use std::time::Duration;

use axum::http::StatusCode;
use paquebot_actors::source::Problem;
use paquebot_store::{LedgerError, Reply};
use tokio::sync::oneshot;

use crate::config::duration_in_words;

/// A store that lives answers far sooner.
const PATIENCE: Duration = Duration::from_secs(50);

/// Asks a store, and waits for a while.
pub(super) async fn ask<T: Send + 'static>(
    question: impl FnOnce(Reply<T>),
    patience: Duration,
) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    question(Box::new(move |found| drop(answer.send(found))));
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err(unavailable("stopping", "the store is closed".to_owned())),
        Err(_) => {
            let patience = duration_in_words(patience);
            let detail = format!("no answer of the store within {patience}: it may come to it yet");
            Err(unavailable("slow", detail))
        }
    }
}

/// Asks the ledger for something that it may refuse.
pub(super) async fn ask_ledger<T: Send + 'static>(
    question: impl FnOnce(Reply<Result<T, LedgerError>>),
) -> Result<T, Problem> {
    ask(question, PATIENCE).await?.map_err(|error| of_ledger(&error))
}

/// Asks a store for something of which each failure is its own.
pub(super) async fn read<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    question: impl FnOnce(Reply<Result<T, E>>),
) -> Result<T, Problem> {
    ask(question, PATIENCE).await?.map_err(|error| unavailable("store-failed", error.to_string()))
}

pub(super) fn of_ledger(error: &LedgerError) -> Problem {
    unavailable("ledger-failed", error.to_string())
}

pub(super) fn unavailable(code: &str, detail: String) -> Problem {
    Problem::new(code, "it cannot be done now", StatusCode::SERVICE_UNAVAILABLE, detail)
}
