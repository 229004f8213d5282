//! Replays: dead letters on their way to the handlers that take their targets now.
//!
//! Letters are read from the ledger page by page, in the order in which they came, and go through the
//! router like packets of a lane. Those of one client and target are tried one after another; several
//! clients and targets at a time. A letter goes in the transaction that records its outcome, and only
//! when that is "handled" (R4). One that is rejected stays and the next has its turn; one that fails
//! stays, and with it, untouched, what follows of its client and target: order is kept among those
//! that are handled, and whoever is down is not asked thousands of times.
//!
//! No lane, cursor or client hears of it. There is one replay at a time, and none is remembered: when
//! the server ends, what has no outcome is a dead letter as before.
//!
//! | file | does |
//! |---|---|
//! | `round.rs` | takes a page's letters to their handlers |
//! | `tally.rs` | what became of them |

mod round;
mod tally;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use paquebot_protocol::route::RouteTable;
use paquebot_store::{
    DeadLetterFilter, DeadLetterPage, Ledger as Store, LedgerError, ListedLetter,
};
use tokio::sync::{Mutex, oneshot};

use crate::router::Route;
use round::Round;
pub use tally::{Problem, Replayed};

/// So many letters are read at once, and so many bytes of their records, or one that is longer.
const PAGE_LETTERS: usize = 1_000;
const PAGE_BYTES: u64 = 2 * 1024 * 1024;

/// How long a replay waits for the one before it.
const TURN: Duration = Duration::from_secs(5);

/// Why nothing was replayed, or not all of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayError {
    /// One at a time.
    #[error("expected no other replay, found one under way")]
    Busy,
    /// The ledger cannot say what there is.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
}

/// Whom the replayer asks.
#[derive(Debug, Clone)]
pub struct ReplayPorts {
    /// For letters.
    pub store: Store,
    /// For their handlers.
    pub route: Recipient<Route>,
    /// Which handler takes a target now, by its place in `names`.
    pub table: RouteTable,
    /// The handlers' names.
    pub names: Vec<String>,
}

/// The actor.
#[derive(Debug)]
pub struct Replayer {
    ports: Rc<ReplayPorts>,
    turn: Rc<Mutex<()>>,
    stopping: Rc<std::cell::Cell<bool>>,
}

impl Replayer {
    /// The replayer, which must be made on the thread that it lives on.
    #[must_use]
    pub fn new(ports: ReplayPorts) -> Self {
        Self { ports: Rc::new(ports), turn: Rc::default(), stopping: Rc::default() }
    }
}

impl Actor for Replayer {
    type Context = Context<Self>;
}

/// Try the dead letters of `filter` again, so many as its limit says.
#[derive(Debug, Message)]
#[rtype(result = "Result<Replayed, ReplayError>")]
struct Replay {
    filter: DeadLetterFilter,
    /// Whether anybody still waits for it.
    wanted: Arc<AtomicBool>,
}

/// The door to the replayer, for whoever is no actor.
#[derive(Debug, Clone)]
pub struct ReplayDesk(Recipient<Replay>);

impl ReplayDesk {
    /// The door to `replayer`.
    #[must_use]
    pub fn new(replayer: actix::Addr<Replayer>) -> Self {
        Self(replayer.recipient())
    }

    /// Tries the dead letters of `filter` again, so many as its limit says. When this is dropped,
    /// nothing more is begun.
    ///
    /// # Errors
    /// When another replay is under way, or the ledger does not answer.
    pub async fn replay(&self, filter: DeadLetterFilter) -> Result<Replayed, ReplayError> {
        struct Wanted(Arc<AtomicBool>);
        impl Drop for Wanted {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        let wanted = Wanted(Arc::new(AtomicBool::new(true)));
        let replay = Replay { filter, wanted: Arc::clone(&wanted.0) };
        self.0.send(replay).await.unwrap_or(Err(ReplayError::Stopping))
    }
}

impl Handler<Replay> for Replayer {
    type Result = ResponseFuture<Result<Replayed, ReplayError>>;

    fn handle(&mut self, replay: Replay, _: &mut Self::Context) -> Self::Result {
        let Replay { filter, wanted } = replay;
        let (ports, turn) = (Rc::clone(&self.ports), Rc::clone(&self.turn));
        let stopping = Rc::clone(&self.stopping);
        let ended = move || stopping.get() || !wanted.load(Ordering::Relaxed);
        Box::pin(async move {
            let turn = tokio::time::timeout(TURN, turn.lock()).await;
            let _turn = turn.map_err(|_elapsed| ReplayError::Busy)?;
            if ended() {
                return Err(ReplayError::Stopping);
            }
            let round = Round::new(ports, Box::new(ended));
            let replayed = all(&round, filter).await?;
            tracing::info!(
                replayed = replayed.replayed(),
                handled = replayed.handled,
                still_dead = replayed.still_dead(),
                "dead letters were replayed"
            );
            Ok(replayed)
        })
    }
}

/// Begin nothing more, and wait until what is under way has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopReplays;

impl Handler<StopReplays> for Replayer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopReplays, _: &mut Self::Context) -> Self::Result {
        self.stopping.set(true);
        let turn = Rc::clone(&self.turn);
        Box::pin(async move { drop(turn.lock().await) })
    }
}

/// Page by page, up to the letter that was the newest at the start: what dies meanwhile is not among
/// them.
async fn all(round: &Round, filter: DeadLetterFilter) -> Result<Replayed, ReplayError> {
    let mut left = filter.limit;
    let mut filter = DeadLetterFilter { record_bytes_max: Some(PAGE_BYTES), ..filter };
    while left > 0 {
        filter.limit = left.min(PAGE_LETTERS);
        let DeadLetterPage { letters, next, newest } = page(round, filter.clone()).await?;
        filter.through.get_or_insert(newest);
        left -= letters.len().min(left);
        round.take(letters).await;
        match next {
            Some(next) if !round.has_ended() => filter.after = Some(next),
            _ => break,
        }
    }
    Ok(round.tally())
}

async fn page(round: &Round, filter: DeadLetterFilter) -> Result<DeadLetterPage, ReplayError> {
    let (answer, answered) = oneshot::channel();
    round.store().list_dead_letters(filter, Box::new(move |page| drop(answer.send(page))));
    Ok(answered.await.unwrap_or(Err(LedgerError::Closed))?)
}

/// The letters of one client to one target, in the order in which they came.
type Letters = std::collections::VecDeque<ListedLetter>;
