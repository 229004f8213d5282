//! Who posts to a source `http`: so many kept-alive connections, each with one packet a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use paquebot_actors::clock;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::args::LoadArgs;
use super::load::{latencies, percentiles};
use crate::exit::{Code, Failure};

/// What all connections share.
#[derive(Debug)]
struct Work {
    begun: AtomicU64,
    packets: u64,
    until: Option<Instant>,
    targets: u64,
    body: Bytes,
}

impl Work {
    /// The next packet's number, if there is one.
    fn next(&self) -> Option<u64> {
        if self.until.is_some_and(|until| clock::instant() >= until) {
            return None;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.packets).then_some(number)
    }
}

/// Posts the load and prints the figures.
pub(super) fn post(to: SocketAddr, load: LoadArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::of(Code::Internal, "starting"))?;
    runtime.block_on(async {
        if load.warm_up > 0 {
            post_all(to, load, load.warm_up, None).await?;
        }
        let time = load.seconds.map(Duration::from_secs);
        let packets = if time.is_some() { u64::MAX } else { load.packets };
        let began = clock::instant();
        let answered_us = post_all(to, load, packets, time).await?;
        let seconds = began.elapsed().as_secs_f64();
        let figures = json!({
            "packets": answered_us.len(),
            "stored_seconds": seconds,
            "handled_seconds": seconds,
            "stored_us": percentiles(&answered_us),
            "wire_bytes": 0,
            "spool_file_bytes": 0,
        });
        println!("{figures}");
        // The figures of this process are read while it lives; then it is stopped from outside.
        std::future::pending().await
    })
}

async fn post_all(
    to: SocketAddr,
    load: LoadArgs,
    packets: u64,
    time: Option<Duration>,
) -> Result<Histogram<u64>, Failure> {
    let work = Arc::new(Work {
        begun: AtomicU64::new(0),
        packets,
        until: time.map(|time| clock::instant() + time),
        targets: load.targets,
        body: vec![b'x'; usize::try_from(load.size).unwrap_or_default()].into(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..load.in_flight {
        connections.spawn(post_some(to, Arc::clone(&work)));
    }
    let mut all = latencies();
    while let Some(ended) = connections.join_next().await {
        let ended = ended.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        let added = all.add(ended.map_err(|why| Failure::new(Code::Io, why))?);
        debug_assert!(added.is_ok(), "it grows by itself");
    }
    Ok(all)
}

/// One connection, until there is nothing more to post.
async fn post_some(to: SocketAddr, work: Arc<Work>) -> Result<Histogram<u64>, String> {
    let mut sender = connect(to).await.map_err(|error| format!("connecting to {to}: {error}"))?;
    let mut latencies = latencies();
    while let Some(number) = work.next() {
        let path = format!("/v1/packets/bench.{}", number % work.targets);
        let request = Request::post(path).header("host", "bench");
        let request = request.header("content-type", "application/octet-stream");
        let request = request.body(Full::new(work.body.clone())).map_err(|e| e.to_string())?;
        let asked = clock::instant();
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        if status != StatusCode::ACCEPTED {
            let body = body.to_bytes();
            let found = String::from_utf8_lossy(&body);
            return Err(format!("expected 202, found {status}: {found}"));
        }
        let us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        let recorded = latencies.record(us.max(1));
        debug_assert!(recorded.is_ok(), "it grows by itself");
    }
    Ok(latencies)
}

async fn connect(to: SocketAddr) -> std::io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let shaken = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
