//! The handler `http`: each packet is POSTed to a URL, at least once, with its id.
//!
//! The packets of a lane go one after another and in order; over all lanes so many at a time as its
//! `concurrency` says, in turn, so that a slow lane takes no more than its own place (R5). Nothing is
//! kept here: whatever fails stays with its client.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient};
use hyper::{HeaderMap, Uri};
use tokio::sync::{Semaphore, watch};

use super::health::Health;
use super::http_post::Destination;
use super::http_round::{Courier, Round};
use super::{Handle, HandlerMeters};
use crate::ledger::{Record, Tried};

/// How many attempts may wait; the sessions' windows bound them long before.
const MAILBOX_MESSAGES: usize = 64 * 1024;

/// How the handler is configured.
#[derive(Debug, Clone)]
pub struct HttpHandlerOptions {
    /// Its name.
    pub name: String,
    /// Where packets are POSTed to.
    pub url: Uri,
    /// Headers that go with each of them.
    pub headers: HeaderMap,
    /// Answers that make a packet a dead letter.
    pub rejected_statuses: Vec<u16>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many packets may be under way at once, each of another lane.
    pub concurrency: usize,
    /// How long a lane waits after a failure, at first.
    pub retry_initial: Duration,
    /// And at most.
    pub retry_max: Duration,
    /// How long after its first failure a packet becomes a dead letter.
    pub give_up_after: Option<Duration>,
}

/// The actor. It wants an arbiter of its own: what it does with many packets should delay nobody.
pub struct HttpHandler {
    courier: Rc<Courier>,
    stop: watch::Sender<bool>,
}

impl HttpHandler {
    /// The handler, which must be made on the thread that it lives on.
    #[must_use]
    pub fn new(
        options: HttpHandlerOptions,
        record: Recipient<Record>,
        tried: Recipient<Tried>,
        meters: HandlerMeters,
    ) -> Self {
        let HttpHandlerOptions { name, url, headers, rejected_statuses, .. } = options;
        let (timeout, concurrency) = (options.timeout, options.concurrency);
        let name: Arc<str> = name.into();
        let (stop, stopping) = watch::channel(false);
        let courier = Courier {
            destination: Destination::new(url, headers, rejected_statuses, timeout, concurrency),
            retry_initial: options.retry_initial.into(),
            retry_max: options.retry_max.into(),
            give_up_after: options.give_up_after.map(Into::into),
            turns: Semaphore::new(concurrency),
            record,
            tried,
            health: RefCell::new(Health::new(Arc::clone(&name), meters.clone())),
            meters,
            stopping,
            name,
        };
        Self { courier: Rc::new(courier), stop }
    }
}

impl Actor for HttpHandler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
    }
}

impl Handler<Handle> for HttpHandler {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let round = Round::new(Rc::clone(&self.courier), handle.0);
        // A task of its own: a context polls all its futures whenever one of them moves.
        actix_rt::spawn(round.run());
    }
}

/// Begin no further POST; those under way have a short time to end. What was not handled by then
/// stays with its client.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FinishHttp;

impl Handler<FinishHttp> for HttpHandler {
    type Result = ();

    fn handle(&mut self, _: FinishHttp, _: &mut Self::Context) {
        self.stop.send_replace(true);
    }
}
