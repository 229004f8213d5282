//! A kept-alive connection to a client's HTTP source, over TCP or a Unix socket.
//!
//! It tells apart what cannot have arrived, what was answered, and what may or may not be there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long an answer is waited for; a frozen client gives none.
const ANSWER: Duration = Duration::from_secs(8);

/// Where a client's source is.
#[derive(Debug, Clone)]
pub(super) enum Entrance {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What came back.
#[derive(Debug)]
pub(super) enum Reply {
    /// Nobody was there, so nothing was sent.
    Unsent,
    /// It was sent, and the answer is missing, or its end is.
    Broken(Vec<u8>),
    /// A whole answer.
    Whole(u16, Vec<u8>),
}

/// The connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Post {
    entrance: Entrance,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Post {
    /// No connection yet.
    pub(super) fn new(entrance: Entrance) -> Self {
        Self { entrance, sender: None }
    }

    /// Posts one body and reads its answer.
    pub(super) async fn post(&mut self, path: &str, content_type: &str, body: Bytes) -> Reply {
        let request = Request::post(path).header("host", "torture");
        let request = request.header("content-type", content_type).body(Full::new(body));
        let Ok(request) = request else { return Reply::Unsent };
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            self.sender = self.connect().await;
        }
        let Some(mut sender) = self.sender.take() else { return Reply::Unsent };
        let mut body = Vec::new();
        let whole = async {
            let response = sender.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            read(response, &mut body).await.then_some(status)
        };
        match timeout(ANSWER, whole).await {
            Ok(Some(status)) => {
                self.sender = Some(sender);
                Reply::Whole(status, body)
            }
            Ok(None) | Err(_) => Reply::Broken(body),
        }
    }

    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        match &self.entrance {
            Entrance::Tcp(address) => {
                let stream = timeout(ANSWER, TcpStream::connect(address)).await.ok()?.ok()?;
                stream.set_nodelay(true).ok()?;
                shake(stream).await
            }
            Entrance::Unix(path) => {
                shake(timeout(ANSWER, UnixStream::connect(path)).await.ok()?.ok()?).await
            }
        }
    }
}

async fn shake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Option<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// Reads as much as comes; whether that was all.
async fn read(response: Response<hyper::body::Incoming>, body: &mut Vec<u8>) -> bool {
    let mut incoming = response.into_body();
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else { return false };
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(data);
        }
    }
    true
}
