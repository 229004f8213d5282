//! The guard: no web page may ask the admin side for anything but what is public.
//!
//! A browser that was lured to a page sends that page's requests from this machine, too; it says so by
//! an `Origin` header, which no command and no script sends.

use axum::extract::Request;
use axum::http::header::ORIGIN;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use paquebot_actors::source::Problem;

/// The same routes, closed to web pages.
pub(super) fn no_web_page(routes: axum::Router) -> axum::Router {
    routes.layer(from_fn(async |request: Request, next: Next| -> Response {
        if request.headers().contains_key(ORIGIN) {
            let detail = "expected no web page, found an Origin header".to_owned();
            return Problem::forbidden(detail).into_response();
        }
        next.run(request).await
    }))
}
