//! `spool repair` and `spool purge`: what is gone from a spool is declared, and the server learns.

use std::time::Duration;

use paquebot_protocol::frame::SkipReason;
use paquebot_store::{LaneState, Spool, Stretch, Tombstone};

use super::args::{PlaceArgs, PurgeArgs};
use super::offline::{Offline, Place, Touch, ask};
use crate::exit::{Code, Failure};
use crate::print::{remark, say};
use crate::words;

/// How often and how long apart it is looked whether damaged segments are put aside: a minute.
const QUARANTINE_LOOKS_MAX: u32 = 1_200;
const QUARANTINE_LOOK: Duration = Duration::from_millis(50);

pub(super) fn repair(args: &PlaceArgs) -> Result<(), Failure> {
    let place = Place::of(args)?;
    let spool = place.open(Touch::Files)?;
    let lanes = spool.opened.lanes.clone();
    let mut packets = 0;
    for state in &lanes {
        spool.walk(state, |_| Ok(()))?;
    }
    await_quarantine(&spool.spool);
    let mut declared = 0;
    for state in spool.spool.lane_states() {
        packets += state.pending_packets;
        declared += state.totals.damaged;
    }
    for note in &spool.opened.notes {
        say(note)?;
    }
    let damage = spool.close()?;
    for one in &damage {
        say(one)?;
    }
    let (dir, packets) = (place.dir.display(), words::packets(packets));
    if damage.is_empty() {
        return say(&format!("{dir}: nothing is damaged; pending: {packets}"));
    }
    say(&format!(
        "{dir}: pending: {packets}, declared damaged: {declared}; what was damaged is in {}",
        place.dir.join("quarantine").display()
    ))
}

/// Waits until what is left of damaged segments has been moved on, and the files are put aside. What
/// is not done in time, `run` goes on with.
fn await_quarantine(spool: &Spool) {
    for _ in 0..QUARANTINE_LOOKS_MAX {
        if spool.status().condemned == 0 {
            return;
        }
        std::thread::sleep(QUARANTINE_LOOK);
    }
}

pub(super) fn purge(args: &PurgeArgs) -> Result<(), Failure> {
    let place = Place::of(&args.place)?;
    let touch = if args.yes { Touch::Files } else { Touch::Nothing };
    let spool = place.open(touch)?;
    let (mut packets, mut lanes) = (0, 0);
    let wanted = |state: &&LaneState| {
        args.target.as_ref().is_none_or(|pattern| pattern.matches(&state.target))
    };
    let states = spool.opened.lanes.clone();
    for state in states.iter().filter(wanted).filter(|state| state.pending_packets > 0) {
        let purged = if args.yes {
            let tombstones = tombstones(&spool, state)?;
            ask(|reply| spool.spool.bury(state.lane, tombstones, reply))?
                .map_err(Failure::of(Code::Io, "declaring the packets gone failed"))?
        } else {
            state.pending_packets
        };
        packets += purged;
        lanes += 1;
        say(&format!("{}: {}", state.target, words::packets(purged)))?;
    }
    for one in spool.close()? {
        remark(&format!("DAMAGED: {one}"));
    }
    let (packets, lanes) = (words::packets(packets), words::counted(lanes, "lane", "lanes"));
    if args.yes {
        return say(&format!("purged: {packets} in {lanes}; the server will hear of it"));
    }
    let message = format!("{packets} in {lanes} would be purged; say --yes to do it");
    Err(Failure::new(Code::Usage, message))
}

/// Tombstones for everything that is pending in a lane.
fn tombstones(spool: &Offline, state: &LaneState) -> Result<Vec<Tombstone>, Failure> {
    let mut tombstones: Vec<Tombstone> = Vec::new();
    let acked = state.acked_through;
    spool.walk(state, |stretch| {
        let Stretch::Run { run, .. } = stretch else { return Ok(()) };
        let (first, last) = (run.first().max(acked.next()), run.last());
        let (chain, Some(chain_after)) = (run.chain_at(first.before()), run.chain_at(last)) else {
            return Ok(());
        };
        // What lies before it in its run may be under a tombstone already.
        let first = tombstones.last().map_or(first, |before| first.max(before.last.next()));
        let reason = SkipReason::Purged;
        match tombstones.last_mut() {
            Some(before) if before.last.next() == first => {
                (before.last, before.chain_after) = (last, chain_after);
            }
            _ => tombstones.push(Tombstone { first, last, chain, chain_after, reason }),
        }
        Ok(())
    })?;
    Ok(tombstones)
}
