//! Web pages: which of them may post, and what their browsers are told (CORS, as the Fetch standard has
//! it).
//!
//! A page that someone happens to visit must not store packets: a request that says which page it comes
//! from is refused, unless the config names that page. Whoever is no browser says nothing and is let in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::desk::Desk;
use super::problem::Problem;
use super::{CE_PREFIX, HEADER_PREFIX, KEY_HEADER, TTL_HEADER};

/// Seconds for which a browser need not ask again; some ask after two hours in any case.
const MAX_AGE_SECONDS: &str = "7200";

/// Headers that the source reads, and one that comes with `traceparent`; beside those with a prefix.
const READ: [&str; 5] = ["content-type", KEY_HEADER, TTL_HEADER, "traceparent", "tracestate"];

/// The same routes, open to the web pages that the config names and closed to all others.
pub(super) fn guarded(routes: axum::Router, desk: &Arc<Desk>) -> axum::Router {
    routes.layer(from_fn_with_state(Arc::clone(desk), guard))
}

async fn guard(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let is_allowed = |origin: &&HeaderValue| {
        desk.allow_origins.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes())
    };
    let allowed = origin.as_ref().filter(is_allowed);
    let mut response = match (&origin, allowed) {
        (Some(origin), None) => {
            desk.meters.error();
            let detail = format!("origin {origin:?} is not in allow_origins");
            Problem::forbidden(detail).into_response()
        }
        (Some(_), Some(_)) if asks_first(&request) => preflight(request.headers()),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !desk.allow_origins.is_empty() {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    }
    response
}

/// Whether a browser asks what it may do, before it does it.
fn asks_first(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut names = READ.map(str::to_owned).to_vec();
    let asked = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).into_iter();
    for name in asked.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')) {
        let name = name.trim().to_ascii_lowercase();
        if name.starts_with(HEADER_PREFIX) || name.starts_with(CE_PREFIX) {
            names.push(name);
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    headers.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    // The names came in a header, so that they fit into one.
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    response
}
