//! The handler `discard`: received is handled, and nothing is kept.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Recipient};

use super::{Handle, HandlerMeters, when_recorded};
use crate::ledger::Record;

/// The actor.
#[derive(Debug)]
pub struct Discard {
    name: Arc<str>,
    ledger: Recipient<Record>,
    meters: HandlerMeters,
}

impl Discard {
    /// The handler `name`.
    #[must_use]
    pub fn new(name: &str, ledger: Recipient<Record>, meters: HandlerMeters) -> Self {
        Self { name: name.into(), ledger, meters }
    }
}

impl Actor for Discard {
    type Context = Context<Self>;
}

impl Handler<Handle> for Discard {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let reply =
            when_recorded(self.meters.handled.clone(), handle.0.count(), self.meters.delivery());
        self.ledger.do_send(Record {
            handler: Arc::clone(&self.name),
            attempts: vec![handle.0],
            file: None,
            dead: Vec::new(),
            reply,
        });
    }
}
