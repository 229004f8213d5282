//! What goes over the connection: facts from the disk and the wire into the outbox, its orders out.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};
use paquebot_protocol::frame::{LaneOpened, OpenLane, RefusedCode, SkipReason};
use paquebot_protocol::outbox::Order;
use paquebot_protocol::{Control, Frame, Lane, Millis, Number};
use paquebot_store::{StoredRun, Tombstone};

use super::{Connection, LaneFacts};
use crate::clock;
use crate::persistence::{DropThrough, Loaded, Prove, Proven, Rekey, Rekeyed};
use crate::seldom::Seldom;

/// No server makes this client wait longer than this (R11).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a lane whose packets could not be read waits.
const READ_FAILED_PAUSE: Millis = Millis(30 * 1000);

/// Lanes that are opened in one frame.
const OPEN_LANES_AT_ONCE: usize = 128;

impl Connection {
    /// Takes one frame in; an error ends the connection.
    fn hear(&mut self, frame: Frame, ctx: &mut Context<Self>) -> Result<(), String> {
        let Frame::Control(control) = frame else {
            return Err("the server sent packets, which only clients do".into());
        };
        match control {
            Control::Welcome(welcome) => {
                self.welcome(&welcome)?;
                self.statuses.welcomed(&welcome.capabilities);
                self.tell_status()?;
            }
            Control::LaneOpened(answers) => {
                self.tell_of_elsewhere(&answers);
                for answer in answers {
                    self.note_dead(answer.lane, &answer.dead);
                    self.outbox.lane_opened(&answer).map_err(|violation| violation.to_string())?;
                }
            }
            Control::Ack(acks) => {
                self.link.progressed();
                for ack in acks {
                    self.forget_pause(ack.lane);
                    let acked = self.outbox.acked(&ack);
                    acked.map_err(|violation| violation.to_string())?;
                }
            }
            Control::Dead(dead) => {
                tracing::warn!(
                    target = self.target_of(dead.lane),
                    packets = dead.numbers.len(),
                    first = dead.numbers.first().map_or(0, |number| number.0),
                    reason = dead.reason,
                    "packets became dead letters at the server"
                );
                self.note_dead(dead.lane, &dead.numbers);
            }
            Control::Pause(pause) => {
                let wait = Millis(pause.retry_after_ms).min(RETRY_AFTER_MAX.into());
                self.note_pause(pause.lane, pause.reason, wait);
                self.pause(pause.lane, pause.generation, wait, ctx);
            }
            Control::RefuseRun(refused) => self.hear_refusal(&refused, ctx)?,
            Control::Ping(number) => self.say(&[Control::Pong(number)])?,
            Control::Pong(number) => self.hear_pong(number),
            Control::Bye(why) => return Err(format!("the server said goodbye: {why}")),
            Control::Refused(refused) => {
                if refused.code == RefusedCode::Rekey {
                    self.rekey(&refused.message, ctx);
                } else {
                    let wait = refused.retry_after_ms.map(Duration::from_millis);
                    let wait = wait.map(|wait| wait.min(RETRY_AFTER_MAX));
                    self.lose(&format!("refused: {}", refused.message), wait, ctx);
                }
            }
            other => return Err(format!("the server sent {other:?}, which only clients do")),
        }
        Ok(())
    }

    /// Carries out what the outbox orders.
    pub(super) fn act(&mut self, ctx: &mut Context<Self>) {
        let mut opening = Vec::new();
        let epoch = self.epoch;
        while let Some(order) = self.next_order() {
            let done = match order {
                Order::Open { lane, generation, first, next } => {
                    let target = self.lanes.get(&lane).map(|facts| facts.target.clone());
                    let open = |target| OpenLane { lane, generation, target, first, next };
                    opening.extend(target.map(open));
                    Ok(())
                }
                Order::Prove { lane, generation, cursor, chain } => {
                    let reply = ctx.address().recipient();
                    self.ports.prove.do_send(Prove {
                        lane,
                        generation,
                        epoch,
                        cursor,
                        chain,
                        reply,
                    });
                    Ok(())
                }
                Order::Send { lane, generation, from, packets_max } => {
                    self.send(lane, generation, from, packets_max, ctx)
                }
                Order::Drop { lane, through, skipped } => {
                    self.drop_through(lane, through, skipped);
                    Ok(())
                }
            };
            if let Err(why) = done {
                return self.lose(&why, None, ctx);
            }
            if epoch != self.epoch {
                return;
            }
        }
        while let Some(lane) = self.shelf.next_hungry() {
            let sent_through = self.outbox.sent_through(lane).unwrap_or_default();
            self.read_ahead(lane, sent_through, ctx);
        }
        // Lanes that end are said first: they make room for those that are opened.
        let said = self.say_retired();
        let open = |some: &[OpenLane]| self.say(&[Control::OpenLane(some.to_vec())]);
        let said = said.and_then(|()| opening.chunks(OPEN_LANES_AT_ONCE).try_for_each(open));
        if let Err(why) = said {
            self.lose(&why, None, ctx);
        }
    }

    /// The outbox's next order; packets wait while the socket takes no more, and [`Room`] comes.
    fn next_order(&mut self) -> Option<Order> {
        let now = clock::now();
        match &self.socket {
            Some(socket) if socket.writer.has_room() => self.outbox.poll(now),
            _ => self.outbox.poll_all_but_send(now),
        }
    }

    fn drop_through(&mut self, lane: Lane, through: Number, skipped: u64) {
        let Some(facts) = self.lanes.get_mut(&lane) else { return };
        let alive = facts.dead.split_off(&through.next());
        let dead = std::mem::replace(&mut facts.dead, alive).into_iter().collect();
        self.ports.drop_through.do_send(DropThrough { lane, through, dead, skipped });
    }

    pub(super) fn pause(
        &mut self,
        lane: Lane,
        generation: u32,
        wait: Millis,
        ctx: &mut Context<Self>,
    ) {
        self.outbox.paused(lane, generation, clock::now().after(wait));
        self.shelf.clear_lane(lane);
        ctx.run_later(wait.into(), Connection::act);
    }

    /// Gives up the connection and asks for a new name; dials again when the spool has it.
    fn rekey(&mut self, why: &str, ctx: &mut Context<Self>) {
        self.renaming = true;
        tracing::error!(spool = %self.identity.spool, why,
            "this spool and the ledger do not share one history (a copy or a restored backup?): \
             the spool takes a new name; packets may be handled twice, none is lost");
        self.lose(why, None, ctx);
        self.ports.rekey.do_send(Rekey { reply: ctx.address().recipient() });
    }

    /// Says which lanes the ledger takes up in the middle, because it has no record of what it once
    /// acknowledged (R8).
    fn tell_of_elsewhere(&self, answers: &[LaneOpened]) {
        let beyond = |answer: &&LaneOpened| answer.chain.is_none() && answer.cursor > Number::NONE;
        let mut lanes = answers.iter().filter(beyond);
        if let Some(answer) = lanes.next() {
            tracing::warn!(lanes = 1 + lanes.count(), target = self.target_of(answer.lane),
                through = %answer.cursor,
                "the ledger has no record of what was acknowledged in this lane (was it restored or \
                 lost, or has this spool a new name?): it counts as handled elsewhere, and the lane \
                 goes on after it");
        }
    }

    fn note_dead(&mut self, lane: Lane, numbers: &[Number]) {
        if let Some(facts) = self.lanes.get_mut(&lane) {
            facts.dead.extend(numbers);
        }
    }

    pub(super) fn say(&self, controls: &[Control]) -> Result<(), String> {
        let Some(socket) = &self.socket else { return Ok(()) };
        socket.writer.controls(controls).map_err(|full| full.to_string())
    }

    pub(super) fn target_of(&self, lane: Lane) -> &str {
        self.lanes.get(&lane).map_or("", |facts| facts.target.as_str())
    }
}

/// Frames came from the server.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Heard {
    pub(super) epoch: u64,
    pub(super) frames: Vec<Frame>,
}

impl Handler<Heard> for Connection {
    type Result = ();

    fn handle(&mut self, heard: Heard, ctx: &mut Self::Context) {
        for frame in heard.frames {
            if heard.epoch != self.epoch {
                return;
            }
            if let Err(why) = self.hear(frame, ctx) {
                return self.lose(&why, None, ctx);
            }
        }
        self.act(ctx);
    }
}

/// The socket takes packets again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Room;

impl Handler<Room> for Connection {
    type Result = ();

    fn handle(&mut self, _: Room, ctx: &mut Self::Context) {
        self.act(ctx);
    }
}

/// These runs are on disk.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StoredRuns(pub Vec<StoredRun>);

impl Handler<StoredRuns> for Connection {
    type Result = ();

    fn handle(&mut self, stored: StoredRuns, ctx: &mut Self::Context) {
        for StoredRun { lane, target, run, expires } in stored.0 {
            let before = run.first().before();
            if !self.lanes.contains_key(&lane) {
                self.outbox.add(lane, before, (self.options.priorities.0)(&target));
            }
            let fresh = || LaneFacts {
                target,
                stored_through: before,
                sent_through: before,
                dead: BTreeSet::new(),
                pause: None,
                pause_said: Seldom::default(),
            };
            self.lanes.entry(lane).or_insert_with(fresh).stored_through = run.last();
            self.outbox.stored(lane, before, run.last());
            if self.socket.is_some() {
                let sent_through = self.outbox.sent_through(lane).unwrap_or(before);
                self.shelf.put_fresh(lane, sent_through, run, expires);
            }
        }
        self.act(ctx);
    }
}

/// These packets are declared gone: what is at hand of their lanes is out of date.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Buried(pub Vec<(Lane, Tombstone)>);

impl Handler<Buried> for Connection {
    type Result = ();

    fn handle(&mut self, buried: Buried, ctx: &mut Self::Context) {
        // One line for each lane and reason, however many there are: thousands may expire at once.
        let mut gone: HashMap<(Lane, SkipReason), (u64, Tombstone)> = HashMap::new();
        for (lane, tombstone) in buried.0 {
            let count = tombstone.count();
            let of = gone.entry((lane, tombstone.reason)).or_insert((0, tombstone));
            (of.0, of.1.last) = (of.0 + count, of.1.last.max(tombstone.last));
            self.shelf.clear_lane(lane);
            self.outbox.loaded(lane);
        }
        for ((lane, _), (packets, tombstone)) in gone {
            let target = self.lanes.get(&lane).map_or("", |facts| facts.target.as_str());
            self.gone.note(target, packets, &tombstone);
        }
        self.act(ctx);
    }
}

impl Handler<Loaded> for Connection {
    type Result = ();

    fn handle(&mut self, loaded: Loaded, ctx: &mut Self::Context) {
        let Loaded { lane, stretches } = loaded;
        let sent_through = self.outbox.sent_through(lane).unwrap_or_default();
        match stretches {
            Ok(read) if !read.is_empty() => self.shelf.put_read(lane, sent_through, read),
            unreadable => {
                let error = unreadable.err().map_or("found none".into(), |error| error.to_string());
                tracing::error!(
                    target = self.target_of(lane),
                    error,
                    "stored packets cannot be read; their lane waits, other lanes go on"
                );
                self.shelf.put_read(lane, sent_through, Vec::new());
                let again = move |connection: &mut Self, ctx: &mut Context<Self>| {
                    connection.go_on(lane, ctx);
                };
                ctx.run_later(READ_FAILED_PAUSE.into(), again);
                return;
            }
        }
        self.outbox.loaded(lane);
        self.act(ctx);
    }
}

impl Handler<Proven> for Connection {
    type Result = ();

    fn handle(&mut self, proven: Proven, ctx: &mut Self::Context) {
        let Proven { lane, generation, epoch, same } = proven;
        if epoch != self.epoch {
            return;
        }
        match same {
            Ok(true) => {
                self.outbox.proven(lane, generation);
                self.act(ctx);
            }
            Ok(false) => {
                self.rekey("the ledger's history of a lane is not this spool's", ctx);
            }
            Err(error) => {
                tracing::error!(target = self.target_of(lane), %error,
                    "the history of this lane cannot be read; it waits, other lanes go on");
                self.pause(lane, generation, READ_FAILED_PAUSE, ctx);
            }
        }
    }
}

impl Handler<Rekeyed> for Connection {
    type Result = ();

    fn handle(&mut self, rekeyed: Rekeyed, ctx: &mut Self::Context) {
        self.renaming = false;
        match rekeyed.0 {
            Ok(identity) => {
                tracing::warn!(spool = %identity.spool, replaces = ?identity.replaces,
                    "the spool has a new name");
                self.identity = identity;
            }
            Err(error) => tracing::error!(%error, "the spool could not take a new name"),
        }
        self.redial("connecting again", None, ctx);
    }
}
