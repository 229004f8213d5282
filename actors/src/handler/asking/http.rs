//! One POST: what the destination is told about a packet, and what its answer means.
//!
//! Redirects are not followed: whoever is told "elsewhere" has not handled the packet. An answer
//! counts by its status; its body is read only as far as it is worth.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::parcel::{Answer, Failure, Parcel, REASON_BYTES_MAX, in_plain};
use crate::clock;

/// Connections that lie idle are closed before the servers do that, of which some give 5 s: a POST
/// on a connection that is just being closed would fail.
const IDLE: Duration = Duration::from_secs(4);

/// For how long the start of an answer's body, which becomes a reason, is waited for.
const REASON_WAIT: Duration = Duration::from_secs(1);

/// How much of a body that nobody needs is read, so that its connection can be used again, and for
/// how long.
const DRAINED_BYTES_MAX: usize = 64 * 1024;
const DRAIN_WAIT: Duration = Duration::from_millis(100);

/// Where packets go and how that is asked.
#[derive(Debug)]
pub(super) struct Destination {
    url: Uri,
    headers: HeaderMap,
    rejected: Vec<u16>,
    timeout: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Destination {
    pub(super) fn new(
        url: Uri,
        headers: HeaderMap,
        rejected: Vec<u16>,
        timeout: Duration,
        connections: usize,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(connections)
            .build(connector);
        Self { url, headers, rejected, timeout, client }
    }

    /// Sends a packet and waits for what comes of it, for the time-out at most.
    pub(super) async fn post(&self, parcel: &Parcel<'_>) -> Answer {
        let request = match self.request(parcel) {
            Ok(request) => request,
            // It will be so at every attempt.
            Err(why) => return Answer::Rejected(why),
        };
        let answered = tokio::time::timeout(self.timeout, self.client.request(request));
        match answered.await {
            Ok(Ok(response)) => self.judge(response).await,
            Ok(Err(error)) => Answer::failed(in_full(&error)),
            Err(_elapsed) => {
                Answer::failed(format!("no answer within {} ms", self.timeout.as_millis()))
            }
        }
    }

    async fn judge(&self, response: Response<Incoming>) -> Answer {
        let (Parts { status, headers, .. }, body) = response.into_parts();
        if status.is_success() {
            drain(body).await;
            return Answer::Handled;
        }
        let rejected = self.rejected.contains(&status.as_u16());
        let why = reason(status, &start_of(body).await);
        if rejected {
            return Answer::Rejected(why);
        }
        Answer::Failed(Failure { why, retry_after: retry_after(&headers, clock::wall_ms()) })
    }

    /// # Errors
    /// When something about the packet cannot be said in HTTP.
    fn request(&self, parcel: &Parcel<'_>) -> Result<Request<Full<Bytes>>, String> {
        let Parcel { id, client, target, packet, attempt, .. } = parcel;
        let id_text = id.to_string();
        let mut headers = self.headers.clone();
        let mut say = |name: HeaderName, text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes());
            let value = value.map_err(|_| format!("header {name} cannot be sent over HTTP"))?;
            headers.insert(name, value);
            Ok::<(), String>(())
        };
        if let Some(content_type) = packet.meta.content_type {
            say(header::CONTENT_TYPE, content_type)?;
        }
        if let Some(traceparent) = packet.meta.traceparent {
            say(HeaderName::from_static("traceparent"), traceparent)?;
        }
        say(HeaderName::from_static("idempotency-key"), &id_text)?;
        say(HeaderName::from_static("paquebot-id"), &id_text)?;
        say(HeaderName::from_static("paquebot-client"), client.as_str())?;
        say(HeaderName::from_static("paquebot-target"), target.as_str())?;
        say(HeaderName::from_static("paquebot-number"), &id.number.to_string())?;
        say(HeaderName::from_static("paquebot-created"), &clock::rfc3339(packet.created_ms))?;
        say(HeaderName::from_static("paquebot-attempt"), &attempt.to_string())?;
        for (name, text) in &packet.meta.headers {
            let full = HeaderName::from_bytes(format!("paquebot-header-{name}").as_bytes());
            say(full.map_err(|_| format!("header {name:?} cannot be sent over HTTP"))?, text)?;
        }
        let mut request = Request::new(Full::new(parcel.data.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Reads what is left of a body, as far as a connection is worth it.
async fn drain(mut body: Incoming) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAINED_BYTES_MAX {
                break;
            }
        }
    };
    // What is not read in time ends the connection and nothing else.
    drop(tokio::time::timeout(DRAIN_WAIT, read).await);
}

/// The start of a body, as text.
async fn start_of(mut body: Incoming) -> String {
    let mut start = Vec::new();
    let read = async {
        while start.len() < REASON_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            let data = frame.data_ref().map_or(&[][..], |data| data.as_ref());
            let room = REASON_BYTES_MAX - start.len();
            start.extend_from_slice(data.get(..room).unwrap_or(data));
        }
    };
    if tokio::time::timeout(REASON_WAIT, read).await.is_ok() {
        drain(body).await;
    }
    in_plain(&start)
}

fn reason(status: StatusCode, start: &str) -> String {
    let colon = if start.is_empty() { "" } else { ": " };
    format!("answer {}{colon}{start}", status.as_u16())
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now_ms: u64) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(date).ok()?.saturating_sub(now_ms)))
}

/// An error with what caused it: hyper's own sentences say little.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
