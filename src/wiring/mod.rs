//! The wiring: what is started in which order, who holds whose address, and the ordered stop.
//!
//! Beside `actors` the only place that names actix. A step of the stop that takes too long is
//! logged and left behind; what is stored stays stored.

mod client;
mod handlers;
mod server;

use std::time::Duration;

use actix_rt::time::timeout;
use paquebot_store::OpenError;

pub use client::ClientPart;
pub use server::ServerPart;

use crate::admin::{Admin, Parts};
use crate::config::Config;
use crate::exit::{Code, Failure};
use crate::telemetry;

/// How long one step of the stop may take.
const STEP: Duration = Duration::from_secs(10);

/// The parts that run in this process.
#[derive(Debug)]
pub struct Process {
    client: Option<ClientPart>,
    server: Option<ServerPart>,
    admin: Admin,
}

impl Process {
    /// Starts what the config has: the server first, so that a client beside it finds it.
    ///
    /// # Errors
    /// When a store cannot be opened, a file not be used or an address not be bound.
    pub async fn start(config: Config) -> Result<Self, Failure> {
        let metrics = telemetry::metrics()?;
        let targets_max = config.metrics.max_targets;
        let server = config.server.as_ref().map(|server| ServerPart::start(server, targets_max));
        let server = server.transpose()?;
        let client = config.client.as_ref().map(|client| ClientPart::start(client, targets_max));
        let client = client.transpose()?;
        let parts = Parts {
            metrics,
            client: client.as_ref().map(ClientPart::view),
            server: server.as_ref().map(ServerPart::view),
        };
        let admin = Admin::start(&config, parts)?;
        Ok(Self { client, server, admin })
    }

    /// The client's part.
    #[must_use]
    pub fn client(&self) -> Option<&ClientPart> {
        self.client.as_ref()
    }

    /// Stops in order: no new input, what is here is finished, then the stores are closed.
    ///
    /// # Errors
    /// When a store could not be closed cleanly.
    pub async fn stop(self) -> Result<(), Failure> {
        self.admin.stopping();
        let mut failure = None;
        if let Some(client) = self.client {
            failure = client.stop().await.err();
        }
        if let Some(server) = self.server {
            failure = server.stop().await.err().or(failure);
        }
        self.admin.stop();
        tracing::info!("stopped");
        failure.map_or(Ok(()), Err)
    }
}

/// A store that cannot be opened, with the exit code that fits.
pub(crate) fn store_failure(error: &OpenError) -> Failure {
    let code = match error {
        OpenError::Locked { .. } => Code::TryLater,
        OpenError::Io { .. } => Code::Io,
        _ => Code::Data,
    };
    Failure::new(code, error.to_string())
}

/// Waits for one step of the stop, with its deadline.
async fn step<T>(what: &str, done: impl Future<Output = T>) -> Option<T> {
    let done = timeout(STEP, done).await;
    if done.is_err() {
        tracing::error!(
            step = what,
            seconds = STEP.as_secs(),
            "stopping goes on without this step"
        );
    }
    done.ok()
}
