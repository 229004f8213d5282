//! `spool export`: every pending packet, a line of JSON each, spelled as the handler `file` does.

use std::io::{self, BufWriter, Write};

use paquebot_actors::handler::Line;
use paquebot_protocol::{Packet, TargetPattern};
use paquebot_store::Stretch;

use super::args::PlaceArgs;
use super::offline::{Place, Touch};
use crate::exit::{Code, Failure};
use crate::print::{remark, unless_unread};

pub(super) fn export(args: &PlaceArgs, pattern: Option<&TargetPattern>) -> Result<(), Failure> {
    let place = Place::of(args)?;
    let spool = place.open(Touch::Nothing)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut is_read = true;
    let (mut declared, mut unreadable, mut written) = (0, 0, Vec::new());
    let lanes = spool.opened.lanes.clone();
    for state in lanes.iter().filter(|one| pattern.is_none_or(|p| p.matches(&one.target))) {
        let from = state.acked_through.next();
        spool.walk(state, |stretch| {
            let Stretch::Run { run, .. } = &stretch else {
                declared += 1;
                return Ok(());
            };
            for (number, record) in run.records().filter(|(number, _)| *number >= from) {
                let Ok(packet) = Packet::decode(record) else {
                    unreadable += 1;
                    continue;
                };
                let id = run.packet_id(state.lane, number);
                written.clear();
                Line::new(id, place.client.as_ref(), &state.target, &packet).write(&mut written);
                is_read = is_read && is_taken(out.write_all(&written))?;
            }
            Ok(())
        })?;
    }
    is_read = is_read && is_taken(out.flush())?;
    if !is_read {
        // What is left in the buffer is for nobody.
        drop(out.into_parts());
    }
    let damage = spool.close()?;
    for one in &damage {
        remark(&format!("DAMAGED: {one}"));
    }
    if damage.is_empty() && unreadable == 0 {
        return Ok(());
    }
    let message = format!(
        "not every packet could be exported: {unreadable} have no record that can be read, and \
         {declared} stretches are declared gone"
    );
    Err(Failure::new(Code::Data, message))
}

/// Whether somebody goes on reading.
fn is_taken(written: io::Result<()>) -> Result<bool, Failure> {
    let is_taken = written.is_ok();
    unless_unread(written).map(|()| is_taken)
}
