//! The handler of last resort: packets for a target that no handler takes become dead letters.

use actix::{Actor, Context, Handler, Recipient};
use paquebot_protocol::Number;

use super::{Handle, HandlerMeters, when_recorded};
use crate::ledger::Record;

/// The name under which such packets are counted and kept.
pub(super) const NAME: &str = "_unknown";

/// The actor.
#[derive(Debug)]
pub struct DeadLetterUnknown {
    ledger: Recipient<Record>,
    meters: HandlerMeters,
}

impl DeadLetterUnknown {
    /// The name under which such packets are counted and kept.
    pub const NAME: &'static str = NAME;

    /// The handler.
    #[must_use]
    pub fn new(ledger: Recipient<Record>, meters: HandlerMeters) -> Self {
        Self { ledger, meters }
    }
}

impl Actor for DeadLetterUnknown {
    type Context = Context<Self>;
}

impl Handler<Handle> for DeadLetterUnknown {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let mut attempt = handle.0;
        let reason = format!("no handler takes target {}", attempt.target);
        let letter = |(id, record): (_, &[u8])| attempt.dead_letter(id, record, NAME, &reason);
        let dead: Vec<_> = attempt.records().map(letter).collect();
        debug_assert_eq!(attempt.count(), dead.len() as u64);
        tracing::warn!(target = %attempt.target, client = %attempt.origin.client,
            first = %Number(attempt.mark.from.0.saturating_add(1)), through = %attempt.mark.through,
            "no handler takes this target: the packets are dead letters");
        let newly_dead = attempt.newly_dead(attempt.count());
        let reply =
            when_recorded(self.meters.dead_lettered.clone(), newly_dead, self.meters.delivery());
        attempt.mark.handled = 0;
        let attempts = vec![attempt];
        let handler = NAME.into();
        self.ledger.do_send(Record { handler, attempts, file: None, dead, reply });
    }
}
