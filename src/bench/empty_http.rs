//! What the HTTP library answers at most: the server of the source `http`, with a handler that reads
//! the body, keeps nothing, and answers as if it had.

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use paquebot_actors::source::HttpListener;
use serde_json::json;
use tokio::sync::oneshot;

use crate::exit::{Code, Failure};

/// More connections than are ever measured.
const CONNECTIONS_MAX: usize = 20_000;

/// Prints its address and serves until it is stopped.
pub(super) fn serve() -> Result<(), Failure> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0");
    let socket = socket.map_err(Failure::of(Code::Io, "listening"))?;
    let address = socket.local_addr().map_err(Failure::of(Code::Io, "listening"))?;
    // As the source has it.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(Failure::of(Code::Internal, "starting"))?;
    println!("{}", json!(address.to_string()));
    let routes = axum::Router::new().route("/v1/packets/{target}", post(answer));
    let (_stop, stopped) = oneshot::channel();
    let served =
        runtime.block_on(HttpListener::Tcp(socket, CONNECTIONS_MAX).serve(routes, stopped));
    served.map_err(Failure::of(Code::Io, "serving"))
}

async fn answer(Path(target): Path<String>, body: Bytes) -> impl IntoResponse {
    let id = format!("{:032x}-1-{}", 0, body.len());
    let receipt = json!({ "id": id, "target": target, "number": body.len(), "state": "stored" });
    (StatusCode::ACCEPTED, axum::Json(receipt))
}
