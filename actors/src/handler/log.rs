//! The handler `log`: each packet is a line in the server's own log, at least once.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Recipient};
use paquebot_protocol::{Packet, PacketId};
use tracing::Level;

use super::{Handle, HandlerMeters, when_recorded};
use crate::attempt::Attempt;
use crate::ledger::Record;

/// So much of a packet's data is shown, in bytes: a log is for people.
const DATA_BYTES_MAX: usize = 4 * 1024;

/// The actor. It wants an arbiter of its own: whoever reads the log may be slow.
#[derive(Debug)]
pub struct Log {
    name: Arc<str>,
    level: Level,
    ledger: Recipient<Record>,
    meters: HandlerMeters,
}

impl Log {
    /// The handler `name`, which logs at `level`.
    #[must_use]
    pub fn new(name: &str, level: Level, ledger: Recipient<Record>, meters: HandlerMeters) -> Self {
        Self { name: name.into(), level, ledger, meters }
    }

    fn write(&self, attempt: &Attempt, id: PacketId, packet: &Packet<'_>) {
        let shown = packet.data.get(..DATA_BYTES_MAX).unwrap_or(packet.data);
        let data = String::from_utf8_lossy(shown);
        // The level of an event is a constant.
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(Level::$level, handler = %self.name, %id,
                    client = %attempt.origin.client, target = %attempt.target,
                    number = id.number.0, size = packet.data.len(), data = &*data, "packet")
            };
        }
        match self.level {
            Level::TRACE => event!(TRACE),
            Level::DEBUG => event!(DEBUG),
            Level::INFO => event!(INFO),
            Level::WARN => event!(WARN),
            Level::ERROR => event!(ERROR),
        }
    }
}

impl Actor for Log {
    type Context = Context<Self>;
}

impl Handler<Handle> for Log {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let mut attempt = handle.0;
        let mut dead = Vec::new();
        for (id, record) in attempt.records() {
            match Packet::decode(record) {
                Ok(packet) => self.write(&attempt, id, &packet),
                Err(error) => {
                    let why = error.to_string();
                    dead.push(attempt.dead_letter(id, record, &self.name, &why));
                }
            }
        }
        let dead_letters = dead.len() as u64;
        attempt.mark.handled = attempt.count().saturating_sub(dead_letters);
        let newly_dead = attempt.newly_dead(dead_letters);
        let (handled, dead_lettered) = (attempt.mark.handled, self.meters.dead_lettered.clone());
        let tell = when_recorded(self.meters.handled.clone(), handled, self.meters.delivery());
        let reply = tell.map(|tell| -> paquebot_store::Reply<_> {
            Box::new(move |outcome: Result<_, _>| {
                if outcome.is_ok() {
                    dead_lettered.increment(newly_dead);
                }
                tell(outcome);
            })
        });
        let handler = Arc::clone(&self.name);
        self.ledger.do_send(Record { handler, attempts: vec![attempt], file: None, dead, reply });
    }
}
