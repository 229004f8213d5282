//! The source `http`: a request is an event, its body the packet's data.
//!
//! The answer comes after the fsync (R1). Requests are served by a thread of the source's own, so
//! that a busy source does not take turns with the connection.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use paquebot_protocol::{Batch, Meta, Packet};
use tokio::sync::{oneshot, watch};

use super::desk::{Desk, Receipt, WaitQuery, check_meta};
use super::http_batch;
use super::http_listen::HttpListener;
use super::outlet::{Handover, Outlet};
use super::problem::Problem;
use crate::clock;
use crate::meters::SourceMeters;
use crate::receipts::Handled;

/// Headers of the request with this prefix become headers of the packet.
const HEADER_PREFIX: &str = "paquebot-header-";

/// Says for how long a packet is worth sending.
const TTL_HEADER: &str = "paquebot-ttl";

/// A header that changes what a packet means and that this version does not know what to do with; it
/// says so rather than ignore it.
const HEADER_TO_COME: &str = "idempotency-key";

/// How the source is configured.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Its name.
    pub name: String,
    /// Web pages that may post, by their origin; usually none.
    pub allow_origins: Vec<String>,
    /// For how long packets are worth sending, unless a request says otherwise.
    pub ttl: Option<Duration>,
    /// Reads a duration such as `5s`; the grammar is the config's.
    pub parse_duration: fn(&str) -> Result<Duration, String>,
}

/// The actor.
#[derive(Debug)]
pub struct HttpSource {
    stop: Option<oneshot::Sender<()>>,
    stopping: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpSource {
    /// Starts to serve `listener`.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub fn start(
        options: HttpOptions,
        listener: HttpListener,
        outlet: Outlet,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let name = format!("source-{}", options.name);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(&name)
            .enable_all()
            .build()?;
        let (stopping, is_stopping) = watch::channel(false);
        let routes = routes(options, outlet, is_stopping);
        let serve = move || {
            if let Err(error) = runtime.block_on(listener.serve(routes, stopped)) {
                tracing::error!(%error, "an http source stopped serving");
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(serve)?;
        Ok(Self { stop: Some(stop), stopping, thread: Some(thread) })
    }
}

impl Actor for HttpSource {
    type Context = Context<Self>;
}

/// Take no more requests, answer those that are here, and end. Answers when that is done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopSource;

impl Handler<StopSource> for HttpSource {
    type Result = ();

    fn handle(&mut self, _: StopSource, _: &mut Self::Context) {
        self.stopping.send_replace(true);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of an http source had panicked");
        }
    }
}

/// `POST /v1/packets/{target}` and `POST /v1/packets`, for the source and for the admin socket. Who
/// waits for "handled" is answered with what is known when `stopping` turns true.
pub fn routes(
    options: HttpOptions,
    outlet: Outlet,
    stopping: watch::Receiver<bool>,
) -> axum::Router {
    let desk = Desk {
        outlet,
        meters: SourceMeters::new(&options.name),
        allow_origins: options.allow_origins,
        ttl: options.ttl,
        parse_duration: options.parse_duration,
        stopping,
    };
    axum::Router::new()
        .route("/v1/packets/{target}", post(post_packet))
        .route("/v1/packets", post(http_batch::post_batch))
        .with_state(Arc::new(desk))
}

async fn post_packet(
    State(desk): State<Arc<Desk>>,
    Path(target): Path<String>,
    Query(query): Query<WaitQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match accept(&desk, &target, &query, &headers, body).await {
        Ok(response) => response,
        Err(problem) => {
            desk.meters.error();
            problem.into_response()
        }
    }
}

async fn accept(
    desk: &Desk,
    target: &str,
    query: &WaitQuery,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    desk.check_origin(headers)?;
    let target = desk.target(target)?;
    let deadline = desk.deadline(query)?;
    let mut meta = meta_of(desk, headers)?;
    meta.ttl_ms = meta.ttl_ms.or_else(|| desk.ttl_of(&target));
    check_meta(&meta)?;
    let (data, permit) = desk.body(headers, body, desk.outlet.packet_bytes_max()).await?;
    let mut batch = Batch::with_capacity(1, data.len() + 64);
    batch.push(&Packet { created_ms: clock::wall_ms(), data: &data, meta });
    let handover = desk.outlet.store(target.clone(), batch, None, permit, deadline.is_some()).await;
    let Handover { stored, handled } = handover.map_err(|error| Problem::from(&error))?;
    desk.meters.sent(1);
    if let (Some(handled), Some(deadline)) = (handled, deadline)
        && let Some(how) = wait(desk, handled, deadline).await
    {
        let receipt = Receipt::new(&stored, 0, &target, "handled");
        if how.dead.is_empty() {
            return Ok((StatusCode::OK, Json(receipt)).into_response());
        }
        return Err(Problem::dead_lettered(format!("packet {} is a dead letter", receipt.id)));
    }
    let receipt = Receipt::new(&stored, 0, &target, "stored");
    Ok((StatusCode::ACCEPTED, Json(receipt)).into_response())
}

/// Waits for "handled" until the deadline, or until the source stops.
async fn wait(
    desk: &Desk,
    handled: oneshot::Receiver<Handled>,
    deadline: Duration,
) -> Option<Handled> {
    let mut stopping = desk.stopping.clone();
    tokio::select! {
        handled = tokio::time::timeout(deadline, handled) => handled.ok()?.ok(),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    }
}

fn meta_of<'h>(desk: &Desk, headers: &'h HeaderMap) -> Result<Meta<'h>, Problem> {
    let mut meta = Meta::default();
    for (name, value) in headers {
        let name: &HeaderName = name;
        if *name == HEADER_TO_COME {
            let detail = format!("header {name} is not available in this version");
            return Err(Problem::bad_request(detail));
        }
        let kept = name.as_str().strip_prefix(HEADER_PREFIX);
        let known = ["content-type", "traceparent", TTL_HEADER];
        if kept.is_none() && !known.contains(&name.as_str()) {
            continue;
        }
        let text = value.to_str().map_err(|_| {
            Problem::bad_request(format!(
                "header {name}: expected visible ASCII, found other bytes"
            ))
        })?;
        match kept {
            Some(kept) => drop(meta.headers.insert(kept, text)),
            None if *name == "traceparent" => meta.traceparent = Some(text),
            None if *name == TTL_HEADER => meta.ttl_ms = Some(desk.ttl(text)?),
            None => meta.content_type = Some(text),
        }
    }
    Ok(meta)
}
