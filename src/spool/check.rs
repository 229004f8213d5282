//! `spool check`: every lane, tombstone and pending packet, verified.

use paquebot_protocol::Chain;
use paquebot_store::Stretch;

use super::args::PlaceArgs;
use super::offline::{Place, Touch};
use crate::exit::{Code, Failure};
use crate::print::say;
use crate::words;

pub(super) fn check(args: &PlaceArgs, json: bool) -> Result<(), Failure> {
    let place = Place::of(args)?;
    let spool = place.open(Touch::Nothing)?;
    let (mut packets, mut declared, mut wrong) = (0_u64, 0_u64, Vec::new());
    let lanes = spool.opened.lanes.clone();
    for state in &lanes {
        let mut chain: Option<Chain> = None;
        let mut next = state.acked_through.next();
        spool.walk(state, |stretch| {
            let last = stretch.last();
            let (first, before, after) = match &stretch {
                Stretch::Run { run, .. } => {
                    packets += last.next().since(run.first().max(next));
                    (run.first(), Some(run.head().chain), run.chain_at(last))
                }
                Stretch::Tombstone(gone) => {
                    declared += last.next().since(gone.first.max(next));
                    (gone.first, gone.chain, Some(gone.chain_after))
                }
            };
            let meets = chain.zip(before).is_none_or(|(chain, before)| chain == before);
            if first > next || (first == next && !meets) {
                let target = &state.target;
                wrong.push(format!("packets to {target} do not go on from {next} as they should"));
            }
            (chain, next) = (after, last.next());
            Ok(())
        })?;
        if next < state.next {
            wrong.push(format!("packets to {} end at {next}, before {}", state.target, state.next));
        }
    }
    let identity = spool.opened.identity;
    let mut damage = spool.close()?;
    damage.append(&mut wrong);
    if json {
        let told = serde_json::json!({
            "intact": damage.is_empty(),
            "spool": identity.spool.to_string(),
            "lanes": lanes.len(),
            "pending_packets": packets,
            "declared_packets": declared,
            "damage": damage,
        });
        say(&format!("{told:#}"))?;
    } else {
        let lanes = words::counted(lanes.len() as u64, "lane", "lanes");
        let (dir, packets) = (place.dir.display(), words::packets(packets));
        say(&format!("{dir}: {lanes}, {packets}, {declared} declared gone"))?;
        for one in &damage {
            say(&format!("  DAMAGED: {one}"))?;
        }
    }
    if damage.is_empty() {
        return Ok(());
    }
    let message = "the spool is damaged: `run` and `paquebot spool repair` put aside what is, \
                   declare it, and go on; nothing was written now";
    Err(Failure::new(Code::Data, message))
}
