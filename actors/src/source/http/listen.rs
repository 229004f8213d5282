//! Where HTTP is served: TCP or a Unix socket, with a limit on connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A bound socket and how many may come in at once.
#[derive(Debug)]
pub enum HttpListener {
    /// TCP.
    Tcp(std::net::TcpListener, usize),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener, usize),
}

impl HttpListener {
    /// Serves `routes` until `stop` is dropped or sent; then answers what is here, and ends.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn serve(self, routes: axum::Router, stop: oneshot::Receiver<()>) -> io::Result<()> {
        // Either way the sender is gone, which is all that the signal says.
        let stopped = async { drop(stop.await) };
        match self {
            Self::Tcp(socket, connections_max) => {
                socket.set_nonblocking(true)?;
                let socket = TcpListener::from_std(socket)?;
                let listener = Limited::new(NoDelay(socket), connections_max);
                axum::serve(listener, routes).with_graceful_shutdown(stopped).await
            }
            Self::Unix(socket, connections_max) => {
                socket.set_nonblocking(true)?;
                let listener = Limited::new(UnixListener::from_std(socket)?, connections_max);
                axum::serve(listener, routes).with_graceful_shutdown(stopped).await
            }
        }
    }
}

/// TCP without Nagle's delay: an answer is one small packet.
#[derive(Debug)]
struct NoDelay(TcpListener);

impl Listener for NoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY failed; answers are slower");
        }
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A listener that accepts no more than so many connections at once.
#[derive(Debug)]
pub struct Limited<L> {
    listener: L,
    places: Arc<Semaphore>,
}

impl<L> Limited<L> {
    /// Limits `listener`.
    #[must_use]
    pub fn new(listener: L, connections_max: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections_max)) }
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Placed<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; without a place the connection would not be limited.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        (Placed { io, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that holds its place.
#[derive(Debug)]
pub struct Placed<I> {
    io: I,
    _place: Option<OwnedSemaphorePermit>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Placed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Placed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
