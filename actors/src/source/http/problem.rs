//! What is wrong with a request, as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use paquebot_protocol::PacketId;
use paquebot_protocol::frame::SkipReason;
use paquebot_store::AppendError;
use serde::Serialize;
use serde_json::{Map, Value};

/// Seconds after which a full spool or a failing disk is worth another try.
const RETRY_AFTER_SECONDS: &str = "5";

/// A problem; its code is the last part of `type`.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    urn: String,
    title: &'static str,
    status: u16,
    detail: String,
    /// What else is known.
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Problem {
    /// What is wrong, in a sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A problem with its code and its sentences.
    #[must_use]
    pub fn new(code: &str, title: &'static str, status: StatusCode, detail: String) -> Self {
        let urn = format!("urn:paquebot:problem:{code}");
        Self { urn, title, status: status.as_u16(), detail, more: Map::new() }
    }

    /// The same with more to say.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.detail.push_str("; ");
        self.detail.push_str(more);
        self
    }

    /// The same about one line of a request, from 1.
    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.more.insert("line".to_owned(), line.into());
        self
    }

    /// The same with what else is known, when that is an object.
    #[must_use]
    pub fn with(mut self, more: &impl Serialize) -> Self {
        if let Ok(Value::Object(more)) = serde_json::to_value(more) {
            self.more.extend(more);
        }
        self
    }

    pub(crate) fn bad_target(detail: String) -> Self {
        let title = "the target is not a target id";
        Self::new("bad-target", title, StatusCode::BAD_REQUEST, detail)
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn bad_request(detail: String) -> Self {
        let title = "the request cannot be understood";
        Self::new("bad-request", title, StatusCode::BAD_REQUEST, detail)
    }

    /// The request is not allowed.
    #[must_use]
    pub fn forbidden(detail: String) -> Self {
        Self::new("forbidden", "the request is not allowed", StatusCode::FORBIDDEN, detail)
    }

    pub(crate) fn too_large(detail: String) -> Self {
        let title = "the packet is too large";
        Self::new("too-large", title, StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    pub(super) fn dead_lettered(id: PacketId) -> Self {
        let detail = format!("packet {id} is a dead letter");
        let title = "the packet became a dead letter";
        Self::new("dead-lettered", title, StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn skipped(id: PacketId, reason: SkipReason) -> Self {
        let why = match reason {
            SkipReason::Expired => "its time to live was over",
            SkipReason::Evicted => "it made way for later packets",
            SkipReason::Purged => "it was purged by hand",
            SkipReason::Damaged => "its bytes were damaged",
            SkipReason::Refused | SkipReason::Unknown => "it was given up",
        };
        let detail = format!("packet {id} will not be handled: {why}");
        let title = "the packet will not be handled";
        Self::new("skipped", title, StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn idempotency_mismatch(detail: String) -> Self {
        let title = "the key was used for something else";
        Self::new("idempotency-mismatch", title, StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// There is nothing at this path.
    fn no_path(path: &str) -> Self {
        let detail = format!("expected a path that is served here, found {path}");
        let title = "there is nothing at this path";
        let mut problem = Self::new("not-found", title, StatusCode::NOT_FOUND, detail);
        problem.more.insert("path".to_owned(), path.into());
        problem
    }

    /// The path does not take this method; the header `Allow` says which it takes.
    fn no_method(method: &Method, path: &str) -> Self {
        let detail = format!("expected a method that {path} takes, found {method}");
        let title = "the path does not take this method";
        Self::new("method-not-allowed", title, StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    fn wants_retry(&self) -> bool {
        matches!(self.status, 429 | 503)
    }
}

/// The same routes, and an answer to every other request: there is nothing at its path, or the path
/// does not take its method.
pub fn with_the_rest(routes: axum::Router) -> axum::Router {
    let routes = routes.method_not_allowed_fallback(async |request: Request| {
        Problem::no_method(request.method(), request.uri().path())
    });
    routes.fallback(async |request: Request| Problem::no_path(request.uri().path()))
}

impl From<&AppendError> for Problem {
    fn from(error: &AppendError) -> Self {
        let detail = error.to_string();
        let busy = StatusCode::TOO_MANY_REQUESTS;
        let broken = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            AppendError::Full { .. }
            | AppendError::LaneFull { .. }
            | AppendError::LanesFull { .. } => {
                Self::new("spool-full", "the spool is full", busy, detail)
            }
            AppendError::DiskFull => {
                Self::new("disk-full", "the client's disk is full", broken, detail)
            }
            AppendError::KeyReused { .. } => Self::idempotency_mismatch(detail),
            AppendError::Closed => Self::new("stopping", "the client is stopping", broken, detail),
            _ => Self::new("store-failed", "the client's store failed", broken, detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let wants_retry = self.wants_retry();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if wants_retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}
