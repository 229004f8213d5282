//! The admin side: metrics, health, readiness and status over HTTP, on a thread of its own.
//!
//! Over TCP where the config says so, and always through `admin.sock` in each `data_dir`, which only
//! this user may open, and where alone files can be written. Beyond loopback TCP serves what is
//! public, and nothing else.

pub mod answers;
mod backup;
mod clients;
mod dead_letters;
mod guard;
mod handlers;
mod plain;
mod status;
mod store;
mod trace;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use paquebot_actors::source::{HttpListener, HttpOptions, routes};
use tokio::sync::{oneshot, watch};

pub use status::{ClientView, HandlerView, ServerView};

use crate::cli;
use crate::config::{ADMIN_SOCKET, Config, Reach};
use crate::exit::{Code, Failure};
use crate::telemetry::UPKEEP;
use crate::unix_socket;

/// Connections that the admin side serves at once.
const CONNECTIONS_MAX: usize = 64;

/// The content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The name under which packets that come through the admin socket are counted.
const ADMIN_SOURCE: &str = "_admin";

/// What the admin side shows.
#[derive(Debug)]
pub struct Parts {
    /// What was counted.
    pub metrics: PrometheusHandle,
    /// The client, if there is one.
    pub client: Option<ClientView>,
    /// The server, if there is one.
    pub server: Option<ServerView>,
}

/// The running admin side.
#[derive(Debug)]
pub struct Admin {
    desk: Arc<Desk>,
    sockets: Vec<PathBuf>,
    stop: Vec<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Desk {
    parts: Parts,
    stopping: watch::Sender<bool>,
}

impl Admin {
    /// Serves `parts` where the config says.
    ///
    /// # Errors
    /// When an address or a socket cannot be bound.
    pub fn start(config: &Config, parts: Parts) -> Result<Self, Failure> {
        let sender = parts.client.as_ref().map(|client| client.outlet.clone());
        let desk = Arc::new(Desk { parts, stopping: watch::Sender::new(false) });
        let public = public_routes(&desk);
        let mut private = public.clone().merge(private_routes(&desk));
        private =
            private.merge(trace::routes(desk.parts.client.clone(), desk.parts.server.clone()));
        let mut doors: Vec<(HttpListener, axum::Router)> = Vec::new();
        if let Some(admin) = &config.admin {
            let doing = format!("admin: listening on {} failed", admin.listen);
            let socket = TcpListener::bind((admin.listen.host(), admin.listen.port()))
                .map_err(Failure::of(Code::Io, &doing))?;
            let far = admin.listen.reach() == Reach::Network;
            let routes = plain::in_problems(if far { public } else { private.clone() });
            doors.push((HttpListener::Tcp(socket, CONNECTIONS_MAX), routes));
            tracing::info!(listen = %admin.listen, "admin: metrics, health and status");
        }
        if let Some(outlet) = sender {
            let name = ADMIN_SOURCE.to_owned();
            let options = HttpOptions {
                name,
                allow_origins: Vec::new(),
                recipe: None,
                ttl: None,
                parse_duration: cli::duration,
            };
            private = private.merge(routes(options, outlet, desk.stopping.subscribe()));
        }
        private = plain::in_problems(private.merge(backup::routes(desk.parts.server.as_ref())));
        let mut sockets = Vec::new();
        let dirs = [
            config.client.as_ref().map(|client| &client.data_dir),
            config.server.as_ref().map(|server| &server.data_dir),
        ];
        for dir in dirs.into_iter().flatten() {
            let path = dir.join(ADMIN_SOCKET);
            let doing = format!("admin: listening on {} failed", path.display());
            let bound = unix_socket::bind(&path).and_then(|socket| {
                std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
                Ok(socket)
            });
            let socket = bound.map_err(Failure::of(Code::Io, &doing))?;
            doors.push((HttpListener::Unix(socket, CONNECTIONS_MAX), private.clone()));
            sockets.push(path);
        }
        let (stop, thread) = serve(doors, Arc::clone(&desk))?;
        Ok(Self { desk, sockets, stop, thread: Some(thread) })
    }

    /// From now on the process is not ready.
    pub fn stopping(&self) {
        self.desk.stopping.send_replace(true);
    }

    /// Answers what is asked, and ends.
    pub fn stop(mut self) {
        self.stop.clear();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin side's thread had panicked");
        }
        for socket in self.sockets {
            if let Err(error) = std::fs::remove_file(&socket) {
                tracing::warn!(socket = %socket.display(), %error, "could not be removed");
            }
        }
    }
}

type Serving = (Vec<oneshot::Sender<()>>, JoinHandle<()>);

fn serve(doors: Vec<(HttpListener, axum::Router)>, desk: Arc<Desk>) -> Result<Serving, Failure> {
    let failed =
        || Failure::of::<std::io::Error>(Code::Internal, "admin: no thread can be started");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed())?;
    let mut stops = Vec::new();
    let mut serving = Vec::new();
    for (listener, routes) in doors {
        let (stop, stopped) = oneshot::channel();
        stops.push(stop);
        serving.push(async move {
            if let Err(error) = listener.serve(routes, stopped).await {
                tracing::error!(%error, "the admin side stopped serving");
            }
        });
    }
    let run = move || {
        runtime.block_on(async {
            let upkeep = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(UPKEEP).await;
                    desk.parts.metrics.run_upkeep();
                }
            });
            let doors: Vec<_> = serving.into_iter().map(tokio::spawn).collect();
            for door in doors {
                // A door that panicked has been logged by the panic itself.
                drop(door.await);
            }
            upkeep.abort();
        });
    };
    let thread = std::thread::Builder::new().name("admin".into()).spawn(run).map_err(failed())?;
    Ok((stops, thread))
}

fn public_routes(desk: &Arc<Desk>) -> axum::Router {
    axum::Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(desk))
}

fn private_routes(desk: &Arc<Desk>) -> axum::Router {
    let routes = axum::Router::new().route("/v1/status", get(status)).with_state(Arc::clone(desk));
    let server = desk.parts.server.as_ref();
    let routes = routes
        .merge(dead_letters::routes(desk.parts.client.as_ref(), server))
        .merge(handlers::routes(server))
        .merge(clients::routes(server));
    guard::no_web_page(routes)
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    if let Some(client) = &desk.parts.client {
        client.sample();
    }
    if let Some(server) = &desk.parts.server {
        server.sample();
    }
    let mut text = desk.parts.metrics.render();
    if let Some(server) = &desk.parts.server {
        text.push_str(&server.deliveries());
    }
    ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response()
}

async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    let mut reasons: Vec<&'static str> = Vec::new();
    if *desk.stopping.borrow() {
        reasons.push("stopping");
    }
    reasons.extend(desk.parts.client.as_ref().and_then(ClientView::trouble));
    reasons.extend(desk.parts.server.as_ref().and_then(ServerView::trouble));
    let ready = reasons.is_empty();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(answers::Ready { ready, reasons })).into_response()
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    let client = match &desk.parts.client {
        Some(client) => Some(client.status().await),
        None => None,
    };
    let status = answers::Status {
        version: env!("CARGO_PKG_VERSION"),
        client,
        server: desk.parts.server.as_ref().map(ServerView::status),
    };
    Json(status).into_response()
}
