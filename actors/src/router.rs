//! The router: target id → handler, exact ids first, then patterns, most specific first.

use actix::{Actor, Context, Handler, Message, Recipient};
use paquebot_protocol::route::RouteTable;

use crate::attempt::Attempt;
use crate::handler::{Handle, HandlerBoard};

/// How many attempts may wait; the sessions' windows bound them long before.
const MAILBOX_MESSAGES: usize = 64 * 1024;

/// How long a target without a handler waits before its client asks again.
const UNKNOWN_TARGET_PAUSE_MS: u64 = 30_000;

/// What becomes of packets for a target that no handler takes.
#[derive(Debug, Clone)]
pub enum UnknownTarget {
    /// They stay with their clients until there is a handler.
    Hold,
    /// This handler takes them.
    HandTo(Recipient<Handle>),
}

/// The actor.
#[derive(Debug)]
pub struct Router {
    table: RouteTable,
    handlers: Vec<(Recipient<Handle>, HandlerBoard)>,
    unknown: UnknownTarget,
}

impl Router {
    /// A router over `handlers`, which `table` names by their place. One that is paused gets nothing.
    #[must_use]
    pub fn new(
        table: RouteTable,
        handlers: Vec<(Recipient<Handle>, HandlerBoard)>,
        unknown: UnknownTarget,
    ) -> Self {
        Self { table, handlers, unknown }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
    }
}

/// Bring this attempt to its handler.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Route(pub Attempt);

impl Handler<Route> for Router {
    type Result = ();

    fn handle(&mut self, route: Route, _: &mut Self::Context) {
        let attempt = route.0;
        let known = self.table.find(&attempt.target).and_then(|at| self.handlers.get(at));
        match (known, &self.unknown) {
            (Some((_, board)), _) if board.is_paused() => {
                let (retry_after_ms, reason) = board.put_off(attempt.key());
                attempt.fail(retry_after_ms, reason);
            }
            (Some((handler, _)), _) | (None, UnknownTarget::HandTo(handler)) => {
                handler.do_send(Handle(attempt));
            }
            (None, UnknownTarget::Hold) => {
                let reason = format!("no handler takes target {}", attempt.target);
                attempt.fail(UNKNOWN_TARGET_PAUSE_MS, reason);
            }
        }
    }
}
