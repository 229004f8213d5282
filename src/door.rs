//! The door to a running process: one HTTP request over its Unix socket or TCP.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use paquebot_actors::clock;
use paquebot_protocol::Millis;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::cli::ConfigArgs;
use crate::config::{ADMIN_SOCKET, Config, duration_in_words};
use crate::exit::{Code, Failure};
use crate::run;

/// The variable that names another process than the config's.
const ADMIN_VARIABLE: &str = "PAQUEBOT_ADMIN";

/// How long a process on this machine may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a process may take to start, and how often it is asked meanwhile.
const STARTING: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Where a process can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, whole.
    pub body: Bytes,
}

impl Door {
    /// Reads `unix:/path` or `http://host:port`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        match text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) {
            Some(address) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            _ => {
                let message = format!("expected unix:/path or http://host:port, found {text:?}");
                Err(Failure::new(Code::Usage, message))
            }
        }
    }

    /// The door of the running process that is meant: the one that `PAQUEBOT_ADMIN` names, or else
    /// what `of_config` finds.
    ///
    /// # Errors
    /// When neither names one.
    pub fn meant(
        args: &ConfigArgs,
        of_config: impl FnOnce(&Config) -> Result<Self, Failure>,
    ) -> Result<Self, Failure> {
        match std::env::var(ADMIN_VARIABLE) {
            Ok(address) if !address.is_empty() => Self::parse(&address),
            _ => of_config(&run::load(args)?.config),
        }
    }

    /// The door of the client that `config` describes.
    ///
    /// # Errors
    /// When it describes none.
    pub fn of_client(config: &Config) -> Result<Self, Failure> {
        let missing = || {
            let message =
                format!("{}: expected a [client] part, found none", config.path.display());
            Failure::new(Code::Config, message)
        };
        let client = config.client.as_ref().ok_or_else(missing)?;
        Ok(Self::in_dir(&client.data_dir))
    }

    /// The door of the server that `config` describes.
    ///
    /// # Errors
    /// When it describes none.
    pub fn of_server(config: &Config) -> Result<Self, Failure> {
        let missing = || {
            let message =
                format!("{}: expected a [server] part, found none", config.path.display());
            Failure::new(Code::Config, message)
        };
        let server = config.server.as_ref().ok_or_else(missing)?;
        Ok(Self::in_dir(&server.data_dir))
    }

    /// The door of whatever process `config` describes.
    #[must_use]
    pub fn of_process(config: &Config) -> Option<Self> {
        let client = config.client.as_ref().map(|client| &client.data_dir);
        let server = config.server.as_ref().map(|server| &server.data_dir);
        client.or(server).map(|dir| Self::in_dir(dir))
    }

    fn in_dir(dir: &Path) -> Self {
        Self::Unix(dir.join(ADMIN_SOCKET))
    }

    /// Waits until a process that is being started is ready.
    ///
    /// # Errors
    /// When it is not within a while.
    pub fn wait(&self) -> Result<(), Failure> {
        let deadline = clock::now().after(Millis::from(STARTING));
        loop {
            match self.get("/readyz", CONNECT) {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Err(failure) if clock::now() > deadline => return Err(failure),
                Ok(answer) if clock::now() > deadline => {
                    let message = format!("{self} answered {}", answer.status);
                    return Err(Failure::new(Code::Unavailable, message));
                }
                Ok(_) | Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// Asks for what is at `path`, and reads the whole answer.
    ///
    /// # Errors
    /// When no process is there, or it does not answer within `timeout`.
    pub fn get(&self, path: &str, timeout: Duration) -> Result<Answer, Failure> {
        let request = Request::builder().uri(path).header("host", "paquebot");
        let request = request.body(Full::new(Bytes::new()));
        self.ask(request.map_err(Failure::of(Code::Internal, "asking failed"))?, timeout)
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When no process is there, or it does not answer within `timeout`.
    pub fn ask(&self, request: Request<Full<Bytes>>, timeout: Duration) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::of(Code::Internal, "starting failed"))?;
        runtime.block_on(async {
            let asked = tokio::time::timeout(timeout, self.exchange(request)).await;
            asked.unwrap_or_else(|_| {
                let message = format!(
                    "no answer from {self} within {}: whether it was done is not known",
                    duration_in_words(timeout)
                );
                Err(Failure::new(Code::TryLater, message))
            })
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let absent = |error: std::io::Error| {
            let why = match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    "nothing listens there; `paquebot run` starts one".to_owned()
                }
                _ => error.to_string(),
            };
            let message = format!("no running process at {self}: {why}");
            Failure::new(Code::Unavailable, message)
        };
        let slow = || std::io::Error::from(ErrorKind::TimedOut);
        let response = match self {
            Self::Unix(path) => {
                let connected = tokio::time::timeout(CONNECT, UnixStream::connect(path)).await;
                let stream = connected.unwrap_or_else(|_| Err(slow())).map_err(absent)?;
                talk(stream, request).await?
            }
            Self::Tcp(address) => {
                let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
                let stream = connected.unwrap_or_else(|_| Err(slow())).map_err(absent)?;
                talk(stream, request).await?
            }
        };
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(Failure::of(Code::Io, "reading the answer failed"))?.to_bytes();
        Ok(Answer { status, body })
    }
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, Failure> {
    let failed = || Failure::of::<hyper::Error>(Code::Io, "talking to the process failed");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed())?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed())
}
