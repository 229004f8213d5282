//! The source `http`: a request is an event, its body the packet's data.
//!
//! The answer comes after the fsync (R1). Requests are served by a thread of the source's own, so
//! that a busy source does not take turns with the connection.

mod batch;
mod cloud_event;
mod desk;
mod listen;
mod order;
mod origin;
mod problem;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use paquebot_protocol::{Batch, TargetId};
use paquebot_store::{AppendError, Part};
use tokio::sync::{oneshot, watch};

use self::cloud_event::PREFIX as CE_PREFIX;
use self::desk::{Desk, Receipt, WaitQuery};
pub use self::listen::{HttpListener, Limited};
pub use self::order::HTTP_FIELDS;
use self::order::Order;
pub use self::problem::{Problem, with_the_rest};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};

/// Headers of the request with this prefix become headers of the packet.
const HEADER_PREFIX: &str = "paquebot-header-";

/// Says for how long a packet is worth sending.
const TTL_HEADER: &str = "paquebot-ttl";

/// Tells a request from every other: one that is repeated stores nothing again.
pub(super) const KEY_HEADER: &str = "idempotency-key";

/// What a CloudEvent in structured mode may have beside its data, in bytes.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// How the source is configured.
#[derive(Debug)]
pub struct HttpOptions {
    /// Its name.
    pub name: String,
    /// Web pages that may post, by their origin; usually none.
    pub allow_origins: Vec<String>,
    /// Which requests become packets, and what stands beside their data, where the config says
    /// something of that.
    pub recipe: Option<Recipe>,
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
        let desk = desk(options, outlet, is_stopping);
        let routes = origin::guarded(with_the_rest(packet_routes(&desk)), &desk);
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

/// `POST /v1/packets/{target}` and `POST /v1/packets`, for the admin socket. Who waits is answered with
/// what is known when `stopping` turns true.
pub fn routes(
    options: HttpOptions,
    outlet: Outlet,
    stopping: watch::Receiver<bool>,
) -> axum::Router {
    let desk = desk(options, outlet, stopping);
    origin::guarded(packet_routes(&desk), &desk)
}

fn desk(options: HttpOptions, outlet: Outlet, stopping: watch::Receiver<bool>) -> Arc<Desk> {
    Arc::new(Desk {
        meters: outlet.meters_of(&options.name),
        source: options.name,
        kitchen: options.recipe.map(|recipe| Kitchen::new(recipe, &outlet)),
        outlet,
        allow_origins: options.allow_origins,
        ttl: options.ttl,
        parse_duration: options.parse_duration,
        stopping,
    })
}

fn packet_routes(desk: &Arc<Desk>) -> axum::Router {
    axum::Router::new()
        .route("/v1/packets/{target}", post(post_packet))
        .route("/v1/packets", post(batch::post_batch))
        .with_state(Arc::clone(desk))
}

async fn post_packet(
    State(desk): State<Arc<Desk>>,
    target: Result<Path<String>, PathRejection>,
    query: Result<Query<WaitQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let accepted = async {
        let Path(target) = target.map_err(|error| Problem::bad_target(error.body_text()))?;
        let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
        accept(&desk, &target, &query, &headers, body).await
    };
    match accepted.await {
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
    let target = desk.target(target)?;
    let wait = desk.wait(query)?;
    let mut timer = pin!(tokio::time::sleep(wait.timeout));
    let (mut body_bytes_max, data_bytes_max) =
        (desk.outlet.packet_bytes_max(), desk.outlet.packet_bytes_max());
    if cloud_event::is_structured(headers) {
        // The envelope, and base64 around the data.
        body_bytes_max = data_bytes_max.saturating_mul(2).saturating_add(ENVELOPE_BYTES_MAX);
    }
    let (data, permit) = desk.body(headers, body, body_bytes_max).await?;
    let mut order = order_of(desk, target.clone(), headers, &data)?;
    cloud_event::recognise(&mut order, headers)?;
    let Some(order) = desk.judge(order)? else {
        return Ok((StatusCode::OK, Json(Receipt::filtered(&target))).into_response());
    };
    let mut batch = Batch::with_capacity(1, order.data.len() + 64);
    order.push_to(&mut batch);
    let (target, key) = (order.target.clone(), order.key(&desk.source));
    let part = Part { target: target.clone(), batch, key };
    let stored = desk.store(vec![(vec![part], permit)], timer.as_mut()).await.pop();
    let stored = stored.unwrap_or_else(|| Err(Problem::from(&AppendError::Closed)))?;
    let stored = stored.first().ok_or(AppendError::Closed);
    let stored =
        stored.and_then(|stored| stored.checked()).map_err(|error| Problem::from(&error))?;
    let outcome = match wait.for_handled {
        true => desk.outcome(desk.outlet.outcome_of(&stored), timer).await,
        false => None,
    };
    let receipt = Receipt::new(&stored, 0, &target, outcome.as_ref())?;
    let status = if receipt.state == "handled" { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(receipt)).into_response())
}

/// What a request orders, by its headers.
fn order_of<'r>(
    desk: &Desk,
    target: TargetId,
    headers: &'r HeaderMap,
    data: &'r [u8],
) -> Result<Order<'r>, Problem> {
    let mut order = Order::new(target, Cow::Borrowed(data));
    for (name, value) in headers {
        let name: &HeaderName = name;
        let kept = name.as_str().strip_prefix(HEADER_PREFIX);
        let known = ["content-type", "traceparent", TTL_HEADER, KEY_HEADER];
        if kept.is_none() && !known.contains(&name.as_str()) {
            continue;
        }
        let text = value.to_str().map_err(|_| {
            Problem::bad_request(format!(
                "header {name}: expected visible ASCII, found other bytes"
            ))
        })?;
        match kept {
            Some(kept) => drop(order.headers.insert(kept.into(), text.into())),
            None if *name == "traceparent" => order.traceparent = Some(text.into()),
            None if *name == TTL_HEADER => order.ttl_ms = Some(desk.ttl(text)?),
            None if *name == KEY_HEADER => order.key = Some(text.into()),
            None => order.content_type = Some(text.into()),
        }
    }
    Ok(order)
}
