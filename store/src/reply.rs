//! A reply is a promise: made when something is asked, kept when it is durable, and kept with an
//! error when the store fails or closes. It is never forgotten.

use std::fmt;

/// What is called with the answer.
///
/// It is called on a thread of the store, so it must be quick, and it must never wait for the store
/// itself.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// An answer that stands for "the store is closed".
pub(crate) trait Closed {
    /// The error for what was asked too late.
    fn closed() -> Self;
}

/// A reply that is given in any case: whoever drops it unanswered says that the store is closed.
pub(crate) struct Promise<T, E: Closed>(Option<Reply<Result<T, E>>>);

impl<T, E: Closed> Promise<T, E> {
    /// Takes the promise on.
    pub(crate) fn new(reply: Reply<Result<T, E>>) -> Self {
        Self(Some(reply))
    }

    /// Keeps it.
    pub(crate) fn keep(mut self, answer: Result<T, E>) {
        if let Some(reply) = self.0.take() {
            reply(answer);
        }
    }
}

impl<T, E: Closed> Drop for Promise<T, E> {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(E::closed()));
        }
    }
}

impl<T, E: Closed> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}
