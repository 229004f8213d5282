//! Workers: sources that nobody asks, each on a thread of its own.

use std::future::Future;
use std::thread::JoinHandle;

use actix::{Actor, Context, Handler};
use tokio::sync::watch;

use super::http::StopSource;
use super::load::Stopping;

/// The actor of such a source.
#[derive(Debug)]
pub struct Worker {
    stopping: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts to work. What `work` gives ends soon after it is to stop.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub(super) fn start<F>(
        name: &str,
        work: impl FnOnce(Stopping) -> F + Send + 'static,
    ) -> std::io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopping, is_stopping) = watch::channel(false);
        let work = move || {
            runtime.block_on(work(Stopping(is_stopping)));
            // Who reads the standard input may be held up in it for ever.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(format!("source-{name}")).spawn(work)?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<StopSource> for Worker {
    type Result = ();

    fn handle(&mut self, _: StopSource, _: &mut Self::Context) {
        self.stopping.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a source had panicked");
        }
    }
}
