//! Where a packet is, as far as its server knows: what its ledger has on record, and what the session of
//! its client has heard.

use paquebot_actors::clock;
use paquebot_actors::session::standing::{LaneAtSession, Paused};
use paquebot_actors::source::Problem;
use paquebot_protocol::{Number, PacketId};
use paquebot_store::{Passage, Traced, Tried};

use super::super::answers::{PauseFacts, ServerTrace};
use super::super::status::ServerView;
use super::super::store::read;
use super::{UNKNOWN, WAITING};

pub(super) async fn trace(server: &ServerView, id: PacketId) -> Result<ServerTrace, Problem> {
    let Traced { client, spool, retired, cursor, passed, letter, tried } =
        read(|reply| server.store.trace(id, reply)).await?;
    let Some(client) = client else {
        return Ok(saying(UNKNOWN, "nothing came from its spool", ServerTrace::default()));
    };
    let found = ServerTrace {
        client: Some(client.to_string()),
        spool_now: spool.map(|spool| spool.to_string()),
        ..ServerTrace::default()
    };
    if let Some(letter) = letter {
        return Ok(ServerTrace {
            state: "dead-letter",
            target: Some(letter.target.to_string()),
            handler: Some(letter.handler),
            reason: Some(letter.reason),
            attempts: Some(letter.attempts),
            first_attempt: Some(clock::rfc3339(letter.first_attempt_ms)),
            last_attempt: Some(clock::rfc3339(letter.last_attempt_ms)),
            ..found
        });
    }
    if let Some(passed) = passed {
        let (state, means) = in_words(passed.how);
        let found = ServerTrace {
            at: Some(clock::rfc3339(passed.at_ms)),
            handler: Some(passed.handler).filter(|handler| !handler.is_empty()),
            ..found
        };
        return Ok(saying(state, means, found));
    }
    if retired || id.number <= cursor {
        let means = "it has come to its end, longer ago than the history goes back";
        return Ok(saying("done", means, found));
    }
    let standing = server.board.lane(spool.unwrap_or(id.spool), id.lane).await;
    Ok(of_waiting(server, id, cursor, tried, standing, found))
}

/// A packet beyond what its lane was handled to, if there is such a packet.
fn of_waiting(
    server: &ServerView,
    id: PacketId,
    cursor: Number,
    tried: Option<Tried>,
    standing: Option<LaneAtSession>,
    found: ServerTrace,
) -> ServerTrace {
    let found = ServerTrace { handled_through: Some(cursor.0), ..found };
    let known = standing.as_ref().map(|lane| lane.assigned_through);
    if tried.is_none() && known.is_none_or(|known| id.number > known) {
        let means = if standing.is_some() {
            "its client has told of no such packet yet"
        } else {
            "nothing of it is known here, and the lane is not open: its client knows whether there is \
             such a packet"
        };
        return saying(UNKNOWN, means, found);
    }
    let means = match (&standing, id.number == cursor.next()) {
        (None, _) => "it was tried and has no outcome yet; its client is not connected",
        (Some(_), true) => "it is the next of its lane, and has no outcome yet",
        (Some(_), false) => "its lane has not come to it yet",
    };
    let target = standing.as_ref().map(|lane| lane.target.clone());
    let handler = target.as_ref().and_then(|target| server.routes.find(target));
    let handler = handler.and_then(|at| server.handlers.get(at)).map(|view| view.name.clone());
    let tried = tried.as_ref();
    let found = ServerTrace {
        target: target.map(|target| target.to_string()),
        handler,
        pause: standing.and_then(|lane| lane.pause).map(paused),
        attempts: tried.map(|tried| tried.attempts),
        first_attempt: tried.map(|tried| clock::rfc3339(tried.first_attempt_ms)),
        last_attempt: tried.map(|tried| clock::rfc3339(tried.last_attempt_ms)),
        ..found
    };
    saying(WAITING, means, found)
}

fn paused(pause: Paused) -> PauseFacts {
    PauseFacts {
        since: clock::rfc3339(pause.since_ms),
        times: pause.times,
        next_try: clock::rfc3339(pause.until_ms),
        reason: pause.reason,
    }
}

fn saying(state: &'static str, means: &'static str, found: ServerTrace) -> ServerTrace {
    ServerTrace { state, means: Some(means), ..found }
}

fn in_words(how: Passage) -> (&'static str, &'static str) {
    match how {
        Passage::Handled => ("handled", "its handler has taken it"),
        Passage::Replayed => {
            ("handled", "it was a dead letter, was replayed, and its handler has taken it")
        }
        Passage::DeadLettered => {
            ("dead-letter-gone", "it became a dead letter, which was discarded or dropped")
        }
        Passage::Skipped => (
            "skipped",
            "its client gave it up: it expired, made way, was purged or damaged, or is a dead letter \
             there",
        ),
        Passage::Elsewhere => (
            "elsewhere",
            "its client has the outcome from another ledger, or from before a restore",
        ),
    }
}
