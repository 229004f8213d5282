//! A question to a running server by a command: one request through its door, and JSON back.
//!
//! It decides what an answer that is no success means for the exit code; what is asked is the
//! command's.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use paquebot_actors::handler::DeadLetterUnknown;
use serde_json::Value;

use crate::cli::ConfigArgs;
use crate::door::Door;
use crate::exit::{Code, Failure};

/// The door of the server that is meant: `PAQUEBOT_ADMIN`, or that of the config.
///
/// # Errors
/// When neither names one.
pub fn door(args: &ConfigArgs) -> Result<Door, Failure> {
    Door::meant(args, Door::of_server)
}

/// Asks, and gives the answer.
///
/// # Errors
/// When no process is there, it has no server, or it says no.
pub fn ask(
    door: &Door,
    method: Method,
    path: &str,
    body: Option<&Value>,
    timeout: Duration,
) -> Result<Value, Failure> {
    let text = body.map(Value::to_string).unwrap_or_default();
    let mut request = Request::builder().method(method).uri(path).header("host", "paquebot");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(Bytes::from(text)));
    let request = request.map_err(Failure::of(Code::Internal, "asking failed"))?;
    let answer = door.ask(request, timeout)?;
    let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if answer.status.is_success() {
        let unread = || Failure::new(Code::Internal, format!("{door}: the answer is not JSON"));
        return found.ok_or_else(unread);
    }
    Err(refused(door, answer.status, found.as_ref()))
}

/// What an answer means that is no success.
#[must_use]
pub fn refused(door: &Door, status: StatusCode, problem: Option<&Value>) -> Failure {
    let text = |key: &str| problem.and_then(|problem| problem.get(key)?.as_str());
    // A process without a server does not know the path, which it says, or not the method.
    let is_foreign = text("path").is_some() || status == StatusCode::METHOD_NOT_ALLOWED;
    let Some(detail) = text("detail").filter(|_| !is_foreign) else {
        let message = format!(
            "{door}: expected a process with the part that is asked, found one that answers {status} \
             (a client where a server is meant?)"
        );
        return Failure::new(Code::Unavailable, message);
    };
    let code = match status.as_u16() {
        400 => Code::Usage,
        429 | 503 => Code::TryLater,
        500.. => Code::Internal,
        _ => Code::Data,
    };
    Failure::new(code, detail)
}

/// The names of the server's handlers, when `name` is none of them.
///
/// # Errors
/// When no process is there, or it has no server.
pub fn unknown_handler(
    door: &Door,
    name: &str,
    timeout: Duration,
) -> Result<Option<String>, Failure> {
    let found = ask(door, Method::GET, "/v1/handlers", None, timeout)?;
    let handlers = found.get("handlers").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<_> = handlers.filter_map(|one| one.get("name")?.as_str()).collect();
    // What no handler takes is kept under a name of its own.
    let is_known = name == DeadLetterUnknown::NAME || names.contains(&name);
    Ok((!is_known).then(|| names.join(", ")))
}
