//! The lookout: looks every two seconds at how full the spool is, how fast it fills, and since when its
//! oldest packets wait. It says so to whoever looks, to the connection, and, when the spool becomes full,
//! to the log.
//!
//! Decides nothing: what is refused is the spool's affair.

mod filling;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Recipient, WrapFuture};
use paquebot_protocol::status::{LaneBacklog, Status};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{FullOf, LaneState, Reply, Spool, SpoolFull, SpoolRoom, SpoolStatus};
use tokio::sync::oneshot;

use crate::clock;
use crate::connection::Condition;
use crate::seldom::Seldom;
use filling::Filling;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);

/// Lanes whose oldest packet is looked up at once: each may cost a read.
const LOOKUPS_MAX: usize = 256;

/// What was found last.
#[derive(Debug, Clone, Default)]
pub struct SpoolFindings {
    /// How full the spool is: from 0, with nothing in it, to 1, when nothing more is taken.
    pub fill_ratio: f64,
    /// When that is at the present rate, in seconds; nothing when it does not fill.
    pub seconds_left: Option<f64>,
    /// What the disk has left.
    pub disk_bytes: Option<u64>,
    /// Since when the oldest packet of each lane waits, by the spool's clock, and now by the same.
    stored_ms: Vec<(Lane, u64)>,
    now_ms: u64,
}

impl SpoolFindings {
    /// For how long the oldest packet of each lane waits, in milliseconds.
    pub fn ages_ms(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.stored_ms.iter().map(|(lane, stored)| (*lane, self.now_ms.saturating_sub(*stored)))
    }

    /// For how long the oldest packet of all waits, in milliseconds; 0 when none waits.
    #[must_use]
    pub fn oldest_age_ms(&self) -> u64 {
        self.ages_ms().map(|(_, age_ms)| age_ms).max().unwrap_or_default()
    }
}

/// Where the lookout writes what it finds, and anyone may read it.
#[derive(Debug, Clone, Default)]
pub struct SpoolBoard(Arc<Mutex<SpoolFindings>>);

impl SpoolBoard {
    /// What stands there, with ages as of now.
    #[must_use]
    pub fn read(&self, spool: &Spool) -> SpoolFindings {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        SpoolFindings { now_ms: spool.now().0, ..found }
    }
}

/// The actor.
#[derive(Debug)]
pub struct Lookout {
    spool: Spool,
    board: SpoolBoard,
    tell: Recipient<Condition>,
    filling: Filling,
    oldest: HashMap<Lane, Oldest>,
    asking: bool,
    said: Seldom,
    full: Option<SpoolFull>,
    /// Whether it stands in the log that the spool is full.
    said_full: bool,
}

/// The oldest packets of a lane.
#[derive(Debug, Clone, Copy)]
struct Oldest {
    /// The last of their run: when it is gone, others are the oldest.
    through: Number,
    stored_ms: u64,
    /// How many of the lane's packets were declared gone then.
    declared: u64,
}

impl Lookout {
    /// A lookout that tells the connection, too.
    #[must_use]
    pub fn new(spool: Spool, board: SpoolBoard, tell: Recipient<Condition>) -> Self {
        Self {
            spool,
            board,
            tell,
            filling: Filling::default(),
            oldest: HashMap::new(),
            asking: false,
            said: Seldom::default(),
            full: None,
            said_full: false,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.asking {
            return;
        }
        self.asking = true;
        let lanes = self.spool.backlog();
        let unknown = lanes.iter().filter(|lane| !self.is_known(lane));
        let wanted: Vec<Lane> = unknown.map(|lane| lane.lane).take(LOOKUPS_MAX).collect();
        let room = answer(|reply| self.spool.measure(reply));
        let oldest = answer(|reply| self.spool.oldest(wanted, reply));
        let asked = async { (room.await.ok(), oldest.await.ok()) };
        let looked = |(room, oldest): (Option<SpoolRoom>, Option<Vec<_>>),
                      lookout: &mut Self,
                      _: &mut Context<Self>| {
            lookout.asking = false;
            // A spool that is closed has nothing to tell any more.
            if let (Some(room), Some(oldest)) = (room, oldest) {
                lookout.take_in(&lanes, &oldest);
                lookout.tell(lanes, room);
            }
        };
        ctx.spawn(asked.into_actor(self).map(looked));
    }

    fn is_known(&self, lane: &LaneState) -> bool {
        self.oldest.get(&lane.lane).is_some_and(|known| {
            known.through > lane.acked_through && known.declared == lane.declared
        })
    }

    fn take_in(
        &mut self,
        lanes: &[LaneState],
        oldest: &[(Lane, Number, paquebot_protocol::Millis)],
    ) {
        let mut declared: HashMap<Lane, u64> =
            lanes.iter().map(|lane| (lane.lane, lane.declared)).collect();
        self.oldest.retain(|lane, _| declared.contains_key(lane));
        for (lane, through, stored) in oldest {
            if let Some(declared) = declared.remove(lane) {
                let oldest = Oldest { through: *through, stored_ms: stored.0, declared };
                self.oldest.insert(*lane, oldest);
            }
        }
    }

    /// Tells everybody.
    fn tell(&mut self, lanes: Vec<LaneState>, room: SpoolRoom) {
        let status = self.spool.status();
        self.filling.take(clock::instant(), status.pending_bytes);
        let found = SpoolFindings {
            fill_ratio: room.fill_ratio(),
            seconds_left: self.filling.seconds_left(room.left_bytes),
            disk_bytes: room.disk_bytes,
            stored_ms: self.oldest.iter().map(|(lane, known)| (*lane, known.stored_ms)).collect(),
            now_ms: self.spool.now().0,
        };
        let ages: HashMap<Lane, u64> = found.ages_ms().collect();
        let lanes = lanes.into_iter().map(|lane| LaneBacklog {
            lane: lane.lane,
            packets: lane.pending_packets,
            bytes: lane.pending_bytes,
            oldest_age_ms: ages.get(&lane.lane).copied().unwrap_or_default(),
        });
        self.tell.do_send(Condition(Status {
            clock_ms: clock::wall_ms(),
            whole: true,
            backlog_packets: status.pending_packets,
            backlog_bytes: status.pending_bytes,
            oldest_age_ms: found.oldest_age_ms(),
            spool_file_bytes: status.file_bytes,
            spool_max_bytes: status.max_bytes,
            disk_bytes: found.disk_bytes,
            seconds_left: found.seconds_left.map(|seconds| seconds as u64),
            full: status.full.as_ref().map(|full| reason(&full.of).to_owned()),
            last_error: status.failed.clone(),
            lanes: lanes.collect(),
        }));
        *self.board.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.say(&status);
    }

    /// A line when the spool becomes full, and one when that is over; not every few seconds, though, when
    /// it is filled as fast as it drains.
    fn say(&mut self, status: &SpoolStatus) {
        match (&status.full, &self.full) {
            (Some(full), before) => {
                let news = before.as_ref().is_none_or(|before| before.of != full.of);
                if news && self.said.is_due() {
                    let (what, advice) = in_words(&full.of);
                    tracing::warn!(
                        refused = full.refused,
                        pending_packets = status.pending_packets,
                        pending_bytes = status.pending_bytes,
                        file_bytes = status.file_bytes,
                        max_bytes = status.max_bytes,
                        "the spool is full: {what}; {advice}"
                    );
                    self.said_full = true;
                }
            }
            (None, Some(before)) => {
                if std::mem::take(&mut self.said_full) {
                    let since = clock::rfc3339(before.since_ms);
                    tracing::info!(since, refused = before.refused, "the spool has room again");
                }
            }
            (None, None) => {}
        }
        self.full.clone_from(&status.full);
    }
}

impl Actor for Lookout {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(LOOK, Self::look);
    }
}

/// Asks the spool; nothing when it is closed.
fn answer<T: Send + 'static>(ask: impl FnOnce(Reply<T>)) -> oneshot::Receiver<T> {
    let (answer, answered) = oneshot::channel();
    ask(Box::new(move |found| drop(answer.send(found))));
    answered
}

/// Why packets are refused, in a word.
#[must_use]
pub fn reason(of: &FullOf) -> &'static str {
    match of {
        FullOf::Spool | FullOf::Lanes => "spool-full",
        FullOf::Target(_) => "target-full",
        FullOf::Disk => "disk-full",
    }
}

/// The same in a sentence, and what to do.
#[must_use]
pub fn in_words(of: &FullOf) -> (String, &'static str) {
    match of {
        FullOf::Spool => (
            "packets are refused, or wait, until others are handled".to_owned(),
            "look why they are not (connection, handlers at the server), or raise \
             client.spool.max_bytes",
        ),
        FullOf::Target(target) => (
            format!("target {target} has used up its share, packets to other targets are taken"),
            "look why its packets are not handled, or raise client.spool.max_bytes or its policy's",
        ),
        FullOf::Lanes => (
            "there are as many targets as client.spool.max_lanes allows, each with packets"
                .to_owned(),
            "raise that, or use fewer targets",
        ),
        FullOf::Disk => (
            "the disk has no room, whatever the spool's quota says".to_owned(),
            "make room on the disk of client.data_dir",
        ),
    }
}
