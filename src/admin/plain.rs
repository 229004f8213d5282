//! No answer without its reason: what is refused before a route is asked, such as a path that is none or
//! a body that is no JSON, is told as a problem, too.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use paquebot_actors::source::{Problem, with_the_rest};

/// More than any sentence takes.
const DETAIL_BYTES_MAX: usize = 4096;

/// The same routes, with a problem for each failure that has none of its own.
pub(super) fn in_problems(routes: axum::Router) -> axum::Router {
    with_the_rest(routes).layer(from_fn(async |request: Request, next: Next| -> Response {
        let asked = format!("{} {}", request.method(), request.uri().path());
        told(&asked, next.run(request).await).await
    }))
}

async fn told(asked: &str, response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let has_own = kind.is_some_and(|kind| kind.contains("json"));
    if has_own || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (code, title, detail) = if status.is_client_error() {
        ("bad-request", "the request cannot be understood", "it is not what was expected")
    } else {
        ("failed", "it cannot be done", "no reason is known")
    };
    let said = to_bytes(response.into_body(), DETAIL_BYTES_MAX).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let detail = if said.trim().is_empty() { detail } else { said.trim() };
    let problem = Problem::new(code, title, status, format!("{asked}: {detail}"));
    problem.into_response()
}
