//! No answer without its reason: what is refused before a route is asked, such as a path that is none or
//! a body that is no JSON, is told as a problem, too.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use paquebot_actors::source::Problem;

/// More than any sentence takes.
const DETAIL_BYTES_MAX: usize = 4096;

/// The same routes, with a problem for each failure that has none of its own.
pub(super) fn in_problems(routes: axum::Router) -> axum::Router {
    routes.fallback(async || StatusCode::NOT_FOUND).layer(from_fn(
        async |request: Request, next: Next| -> Response {
            let asked = format!("{} {}", request.method(), request.uri().path());
            told(&asked, next.run(request).await).await
        },
    ))
}

async fn told(asked: &str, response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let has_own = kind.is_some_and(|kind| kind.contains("json"));
    if has_own || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (code, title, detail) = match status {
        StatusCode::NOT_FOUND => ("no-route", "there is no such path", "nothing is there"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("bad-method", "this cannot be done to it", "another method is needed")
        }
        _ if status.is_client_error() => {
            ("bad-request", "the request cannot be understood", "it is not what was expected")
        }
        _ => ("failed", "it cannot be done", "no reason is known"),
    };
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let detail = if said.trim().is_empty() { detail } else { said.trim() };
    let problem = Problem::new(code, title, status, format!("{asked}: {detail}"));
    let mut told = problem.into_response();
    if let Some(methods) = parts.headers.get(ALLOW) {
        told.headers_mut().insert(ALLOW, methods.clone());
    }
    told
}
