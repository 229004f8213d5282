//! `spool adopt`: the backlog of a client that will not come back is taken over by another.
//!
//! Its packets are stored anew, each with its former id in a header: the two spools keep lanes and
//! numbers of their own, so that neither can be mistaken for the other (R7). The other directory is
//! read and not touched, but for the file `adopted`, which is written before the first packet is
//! taken. It makes a second adoption an error, and its own client say so when it comes back: packets
//! may come twice then, and none is lost.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use paquebot_actors::clock;
use paquebot_protocol::{Batch, Packet, TargetId};
use paquebot_store::{Append, AppendError, Stretch};

use super::args::AdoptArgs;
use super::offline::{Offline, Place, Touch, ask};
use crate::exit::{Code, Failure};
use crate::print::{self, remark};
use crate::words;

/// The header that has a packet's former id.
const ADOPTED_FROM: &str = "paquebot-adopted-from";

/// The records that are stored at once.
const BATCH_BYTES: usize = 1024 * 1024;

pub(super) fn adopt(args: &AdoptArgs) -> Result<(), Failure> {
    let place = Place::of(&args.place)?;
    let same = fs::canonicalize(&args.from).ok();
    if same.is_some() && same == fs::canonicalize(&place.dir).ok() {
        return Err(Failure::new(
            Code::Usage,
            "expected another directory, found this client's own",
        ));
    }
    let other = Place::at(&args.from).open(Touch::Nothing)?;
    let mark = args.from.join("adopted");
    if let Ok(told) = fs::read_to_string(&mark)
        && !args.again
    {
        let message = format!(
            "{} was adopted before ({}); with --again its packets come twice",
            args.from.display(),
            told.trim()
        );
        return Err(Failure::new(Code::Data, message));
    }
    let own = place.open_or_make(Touch::Files)?;
    say(&mark, &own).map_err(Failure::of(Code::Io, "writing the file adopted failed"))?;
    let mut adopted = 0;
    let taken = take(&other, &own, &mut adopted);
    let damage = other.close()?;
    own.close()?;
    for one in &damage {
        remark(&format!("DAMAGED: {one}"));
    }
    let (from, to) = (args.from.display(), place.dir.display());
    print::say(&format!("stored in {to}: {} of {from}", words::packets(adopted)))?;
    taken
}

/// Writes down, durably, who takes the packets over.
fn say(mark: &Path, own: &Offline) -> std::io::Result<()> {
    let (by, at) = (own.opened.identity.spool, clock::rfc3339(clock::wall_ms()));
    let mut file = File::create(mark)?;
    writeln!(file, "by spool {by} at {at}")?;
    file.sync_all()?;
    match mark.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn take(other: &Offline, own: &Offline, adopted: &mut u64) -> Result<(), Failure> {
    // Its dead letters stay dead letters.
    for state in other.opened.lanes.iter().chain(&other.opened.letters) {
        let from = state.acked_through.next();
        let mut batch = Batch::default();
        other.walk(state, |stretch| {
            let Stretch::Run { run, .. } = &stretch else { return Ok(()) };
            for (number, record) in run.records().filter(|(number, _)| *number >= from) {
                let id = run.packet_id(state.lane, number).to_string();
                let mut packet = Packet::decode(record)
                    .map_err(Failure::of(Code::Data, &format!("packet {id} cannot be read")))?;
                // The first id that it had, whoever had it since.
                packet.meta.headers.entry(ADOPTED_FROM).or_insert(&id);
                batch.push(&packet);
                if batch.bytes() >= BATCH_BYTES {
                    store(own, &state.target, std::mem::take(&mut batch), adopted)?;
                }
            }
            Ok(())
        })?;
        store(own, &state.target, batch, adopted)?;
    }
    Ok(())
}

fn store(own: &Offline, target: &TargetId, batch: Batch, adopted: &mut u64) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    let count = batch.count() as u64;
    let target = target.clone();
    let stored = ask(|reply| own.spool.append(Append { target, batch, reply }))?;
    stored.map_err(|error| {
        let full = matches!(
            error,
            AppendError::Full { .. } | AppendError::LaneFull { .. } | AppendError::DiskFull
        );
        let code = if full { Code::TryLater } else { Code::Io };
        Failure::new(code, format!("storing packets failed after {adopted}: {error}"))
    })?;
    *adopted += count;
    Ok(())
}
