//! Handlers that ask somebody else: what is asked of a server (`http`) or a program (`exec`) for each
//! packet, at least once, with its id.
//!
//! The packets of a lane go one after another and in order; over all lanes so many at a time as the
//! handler's `concurrency` says, in turn, so that a slow lane takes no more than its own place (R5).
//! Nothing is kept here: whatever fails stays with its client.
//!
//! | file | does |
//! |---|---|
//! | `round.rs` | takes the packets of one attempt to whoever is asked, and records what comes of it |
//! | `parcel.rs` | what is asked, what can be answered, and who is asked |
//! | `http.rs` | asks a server |
//! | `exec/` | asks a program |
//! | `health.rs` | whether the handler works, while its lanes fail one by one |

mod exec;
mod health;
mod http;
mod parcel;
mod round;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use hyper::{HeaderMap, Uri};
use tokio::sync::{Semaphore, watch};

use super::{Handle, HandlerMeters};
use crate::ledger::{Record, Tried};
use exec::{Process, Program};
use health::Health;
use http::Destination;
use parcel::Asked;
use round::{Courier, Round};

/// How many attempts may wait; the sessions' windows bound them long before.
const MAILBOX_MESSAGES: usize = 64 * 1024;

/// How the handler is configured.
#[derive(Debug, Clone)]
pub struct AskingOptions {
    /// Its name.
    pub name: String,
    /// Who is asked.
    pub whom: Whom,
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

/// Who is asked.
#[derive(Debug, Clone)]
pub enum Whom {
    /// A server, by a POST.
    Url {
        /// Where packets are POSTed to.
        url: Uri,
        /// Headers that go with each of them.
        headers: HeaderMap,
        /// Answers that make a packet a dead letter.
        rejected_statuses: Vec<u16>,
    },
    /// A program that is started for each packet.
    Program(CommandLine),
    /// A program that goes on running, and takes a line for each packet.
    Process(CommandLine),
}

/// What is started.
#[derive(Debug, Clone)]
pub struct CommandLine {
    /// The program: a path, or a name that is looked for in `PATH`.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
}

/// The actor. It wants an arbiter of its own: what it does with many packets should delay nobody.
pub struct AskingHandler {
    courier: Rc<Courier>,
    stop: watch::Sender<bool>,
}

impl AskingHandler {
    /// The handler, which must be made on the thread that it lives on.
    #[must_use]
    pub fn new(
        options: AskingOptions,
        record: Recipient<Record>,
        tried: Recipient<Tried>,
        meters: HandlerMeters,
    ) -> Self {
        let AskingOptions { name, whom, timeout, concurrency, .. } = options;
        let name: Arc<str> = name.into();
        let (stop, stopping) = watch::channel(false);
        let asked = match whom {
            Whom::Url { url, headers, rejected_statuses: rejected } => {
                Asked::Url(Box::new(Destination::new(url, headers, rejected, timeout, concurrency)))
            }
            Whom::Program(line) => Asked::Program(Program::new(Arc::clone(&name), line, timeout)),
            Whom::Process(line) => {
                let waits = (options.retry_initial.into(), options.retry_max.into());
                let name = Arc::clone(&name);
                Asked::Process(Process::new(name, line, timeout, waits, stopping.clone()))
            }
        };
        let courier = Courier {
            asked,
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

impl Actor for AskingHandler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
    }
}

impl Handler<Handle> for AskingHandler {
    type Result = ();

    fn handle(&mut self, handle: Handle, _: &mut Self::Context) {
        let round = Round::new(Rc::clone(&self.courier), handle.0);
        // A task of its own: a context polls all its futures whenever one of them moves.
        actix_rt::spawn(round.run());
    }
}

/// Ask nobody any more; whoever has been asked has a short time to answer. What was not handled by
/// then stays with its client.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FinishAsking;

impl Handler<FinishAsking> for AskingHandler {
    type Result = ();

    fn handle(&mut self, _: FinishAsking, _: &mut Self::Context) {
        self.stop.send_replace(true);
    }
}

/// After [`FinishAsking`]: wait until what the handler has started is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitEnd;

impl Handler<AwaitEnd> for AskingHandler {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: AwaitEnd, _: &mut Self::Context) -> Self::Result {
        let courier = Rc::clone(&self.courier);
        Box::pin(async move {
            if let Asked::Process(process) = &courier.asked {
                process.ended().await;
            }
        })
    }
}
