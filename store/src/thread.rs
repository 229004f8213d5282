//! The threads of a store: each has a name, and ends when it is told to.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::error::OpenError;

/// Starts a thread of the store.
pub(crate) fn start<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, OpenError> {
    let thread = Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| OpenError::System { expected: "a thread", found: error.to_string() })
}

/// How a store's writing thread ended.
pub(crate) type Ended = Result<(), String>;

/// The writing thread of a store, shared by its handles; the first to close the store joins it.
#[derive(Clone)]
pub(crate) struct Thread(Arc<Mutex<Option<JoinHandle<Ended>>>>);

impl Thread {
    /// Starts it.
    pub(crate) fn start(
        name: &'static str,
        run: impl FnOnce() -> Ended + Send + 'static,
    ) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Mutex::new(Some(start(name, run)?)))))
    }

    /// Tells it to end by `tell`, and waits until it has; does nothing when somebody else did.
    pub(crate) fn end(&self, tell: impl FnOnce()) -> Ended {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else { return Ok(()) };
        tell();
        thread.join().map_err(|_| "the store's thread panicked".to_owned())?
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thread")
    }
}
