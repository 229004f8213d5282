//! `spool list`: every lane, and how old its oldest packet is.

use paquebot_actors::clock;
use paquebot_protocol::Packet;
use paquebot_store::{LaneState, Stretch};
use serde::Serialize;

use super::args::PlaceArgs;
use super::offline::{Offline, Place, Touch};
use crate::exit::{Code, Failure};
use crate::print::{remark, say};
use crate::words::{Columns, size};

/// A lane as it is shown.
#[derive(Debug, Serialize)]
struct Lane {
    lane: u64,
    target: String,
    pending_packets: u64,
    pending_bytes: u64,
    /// The lowest number that is held or declared.
    first: u64,
    /// The lowest number that was never assigned.
    next: u64,
    declared: u64,
    /// When the oldest pending packet was made.
    oldest: Option<String>,
}

/// What stands over the columns.
const HEADS: [&str; 7] = ["LANE", "TARGET", "PENDING", "SIZE", "FIRST", "NEXT", "OLDEST"];

impl Lane {
    fn row(&self) -> [String; 7] {
        let Self { lane, target, pending_packets, pending_bytes, first, next, oldest, .. } = self;
        [
            lane.to_string(),
            target.clone(),
            pending_packets.to_string(),
            size(*pending_bytes),
            first.to_string(),
            next.to_string(),
            oldest.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

pub(super) fn list(args: &PlaceArgs, json: bool) -> Result<(), Failure> {
    let spool = Place::of(args)?.open(Touch::Nothing)?;
    let states = spool.opened.lanes.clone();
    let shown = states.iter().map(|state| show(&spool, state));
    let lanes = shown.collect::<Result<Vec<Lane>, Failure>>()?;
    let damage = spool.close()?;
    if json {
        let text = serde_json::to_string_pretty(&lanes);
        say(&text.map_err(Failure::of(Code::Internal, "writing JSON failed"))?)?;
    } else {
        let rows: Vec<_> = lanes.iter().map(Lane::row).collect();
        say(&Columns::new(HEADS).rows(&rows))?;
    }
    for one in damage {
        remark(&format!("DAMAGED: {one}"));
    }
    Ok(())
}

fn show(spool: &Offline, state: &LaneState) -> Result<Lane, Failure> {
    let first = state.acked_through.next();
    let (mut from, mut oldest) = (first, None);
    while oldest.is_none() && from < state.next {
        let Some(stretch) = spool.read(state.lane, from, 1)?.into_iter().next() else { break };
        if let Stretch::Run { run, .. } = &stretch {
            let mut records = run.records();
            let record = records.find(|(number, _)| *number >= from).map(|(_, record)| record);
            let created = record.and_then(|record| Packet::decode(record).ok());
            oldest = created.map(|packet| clock::rfc3339(packet.created_ms));
        }
        from = stretch.last().next();
    }
    Ok(Lane {
        lane: state.lane.0,
        target: state.target.to_string(),
        pending_packets: state.pending_packets,
        pending_bytes: state.pending_bytes,
        first: first.0,
        next: state.next.0,
        declared: state.declared,
        oldest,
    })
}
