//! Where a packet is, as far as its client knows: what its spool holds, what it has declared, and what
//! the totals of its lane leave open.

use paquebot_actors::clock;
use paquebot_actors::connection::LaneStanding;
use paquebot_actors::source::Problem;
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Packet, PacketId, SpoolId};
use paquebot_store::{LaneState, LaneTotals, SpoolLetter, Stretch};

use super::super::answers::{ClientTrace, LinkFacts, PauseFacts};
use super::super::dead_letters::find_of_client;
use super::super::status::ClientView;
use super::super::store::read;
use super::UNKNOWN;

pub(super) async fn trace(client: &ClientView, id: PacketId) -> Result<ClientTrace, Problem> {
    let status = client.spool.status();
    if status.dead_letters > 0
        && let Some(letter) = find_of_client(&client.spool, id).await?
    {
        return Ok(of_letter(&letter));
    }
    let identity = status.identity.unwrap_or(client.identity);
    let is_ours = |spool: SpoolId| spool == identity.spool || Some(spool) == identity.replaces;
    let lanes = client.spool.lane_states();
    let newest = lanes.last().map(|state| state.lane);
    let lane = lanes.into_iter().find(|state| state.lane == id.lane);
    match lane {
        Some(lane) if id.number >= lane.next => Ok(ClientTrace {
            never_stored: is_ours(id.spool),
            ..saying(UNKNOWN, "no such packet was stored here yet")
        }),
        Some(lane) if id.number > lane.acked_through => of_pending(client, id, lane).await,
        Some(lane) if is_ours(id.spool) => {
            let handled = lane.acked_through.0 == lane.handled();
            let declared = lane.declared > 0;
            let target = Some(lane.target.to_string());
            let ended = of_ended(handled, (!declared).then_some(lane.handled()), &lane.totals);
            Ok(ClientTrace { target, ..ended })
        }
        None if is_ours(id.spool) && newest.is_some_and(|newest| id.lane < newest) => {
            let retired = status.retired;
            let ClientTrace { state, means, .. } =
                of_ended(retired.totals.sum() == 0, None, &retired.totals);
            let means = means.unwrap_or_default();
            Ok(saying(state, format!("its lane has ended, as others have. {means}")))
        }
        _ if is_ours(id.spool) => Ok(ClientTrace {
            never_stored: true,
            ..saying(UNKNOWN, "no such packet was stored here")
        }),
        _ => Ok(saying(UNKNOWN, "it was not stored in this spool")),
    }
}

fn saying(state: &'static str, means: impl Into<String>) -> ClientTrace {
    ClientTrace { state, means: Some(means.into()), ..ClientTrace::default() }
}

fn of_letter(letter: &SpoolLetter) -> ClientTrace {
    let packet = Packet::decode(&letter.record).ok();
    ClientTrace {
        target: Some(letter.target.to_string()),
        created: packet.as_ref().map(|packet| clock::rfc3339(packet.created_ms)),
        size: packet.as_ref().map(|packet| packet.data.len() as u64),
        reason: Some(letter.reason.clone()),
        at: Some(clock::rfc3339(letter.at_ms)),
        ..saying("dead-letter", "it is a dead letter of this client: see paquebot dead-letters")
    }
}

/// A packet that its lane has come past. A client does not keep what became of each of them, but of
/// how many what became; `handled` is nothing when that is not known for what was passed alone.
fn of_ended(all_handled: bool, handled: Option<u64>, totals: &LaneTotals) -> ClientTrace {
    if all_handled {
        return saying("handled", "everything that its lane has come past was handled");
    }
    let LaneTotals { dead_lettered, damaged, purged, evicted, expired } = *totals;
    let ways = [
        ("dead-lettered", dead_lettered),
        ("damaged", damaged),
        ("purged", purged),
        ("evicted", evicted),
        ("expired", expired),
    ];
    let some: Vec<(&str, u64)> = ways.into_iter().filter(|(_, count)| *count > 0).collect();
    if let ([(way, _)], Some(0)) = (&some[..], handled) {
        return saying(way, "so has everything that its lane has come past");
    }
    let counts: Vec<String> = some.iter().map(|(way, count)| format!("{count} {way}")).collect();
    let means = format!(
        "it has come to its end, and this client cannot tell how: in its lane {}, and all others were \
         handled; its server may know",
        counts.join(", ")
    );
    saying("done", means)
}

async fn of_pending(
    client: &ClientView,
    id: PacketId,
    lane: LaneState,
) -> Result<ClientTrace, Problem> {
    let stretches = read(|reply| client.spool.read(id.lane, id.number, 1, reply)).await?;
    let target = Some(lane.target.to_string());
    let run = match stretches.into_iter().next() {
        Some(Stretch::Run { run, .. }) if (run.first()..=run.last()).contains(&id.number) => run,
        Some(Stretch::Tombstone(gone)) if (gone.first..=gone.last).contains(&id.number) => {
            let (state, reason) = gone_in_words(gone.reason);
            let means = "it will not be sent, unless it is on its way already; its server has yet to \
                         hear so";
            return Ok(ClientTrace { target, reason: Some(reason.into()), ..saying(state, means) });
        }
        // It has come to its end in this very moment.
        _ => return Ok(ClientTrace { state: "done", target, ..ClientTrace::default() }),
    };
    if run.packet_id(id.lane, id.number) != id {
        return Ok(saying(UNKNOWN, "it was not stored in this spool"));
    }
    let record = run.records().find(|(number, _)| *number == id.number);
    let packet = record.and_then(|(_, record)| Packet::decode(record).ok());
    let standing = client.standings.lane(id.lane).await;
    let sent = standing.as_ref().is_some_and(|standing| id.number <= standing.sent_through);
    let pause = standing.and_then(|LaneStanding { pause, .. }| pause);
    let state = match (&pause, sent) {
        (Some(_), _) => "paused",
        (None, true) => "in-flight",
        (None, false) => "stored",
    };
    let link = client.board.read();
    Ok(ClientTrace {
        state,
        target,
        created: packet.as_ref().map(|packet| clock::rfc3339(packet.created_ms)),
        size: packet.as_ref().map(|packet| packet.data.len() as u64),
        packets_before: Some(id.number.since(lane.acked_through).saturating_sub(1)),
        pause: pause.map(PauseFacts::of),
        connection: Some(LinkFacts {
            state: link.state,
            server: link.server,
            last_error: link.last_error,
        }),
        ..ClientTrace::default()
    })
}

/// What is declared gone, and why.
fn gone_in_words(reason: SkipReason) -> (&'static str, &'static str) {
    match reason {
        SkipReason::Expired => ("expired", "its time to live is over"),
        SkipReason::Evicted => ("evicted", "it made way for later packets in a full spool"),
        SkipReason::Purged => ("purged", "it was purged by hand"),
        SkipReason::Damaged => ("damaged", "its bytes are damaged"),
        SkipReason::Refused => (
            "dead-lettered",
            "the server can never take it; its dead letter was replayed or discarded",
        ),
        SkipReason::Unknown => ("skipped", "unknown"),
    }
}
