//! Proves that this release opens the spool that the first release of this format wrote, and finds
//! every packet, tombstone and id in it (R12).
//!
//! `cargo test -p paquebot-store --test golden -- --ignored` writes such a directory anew, beside the
//! frozen one; that is done once for each format.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{ask, batch, data, target};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Number, Packet};
use paquebot_store::{
    Append, Disk, FileDisk, Opened, Shadow, Spool, SpoolOptions, Stretch, Tombstone,
};

/// What was stored: target, batches, packets a batch, bytes a packet.
const LANES: [(&str, u64, u64, usize); 2] = [("orders.new", 10, 50, 400), ("alarm.fire", 6, 2, 40)];

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/spool-1")
}

fn open(dir: &Path, disk: Arc<dyn Disk>) -> (Spool, Opened) {
    let mut options = SpoolOptions::new(dir, 1 << 30, 100);
    options.segment_bytes = 64 << 10;
    options.tidy_every = Duration::from_secs(3600);
    options.drop_after = Duration::from_millis(1);
    Spool::open(options, disk, Box::new(drop)).unwrap()
}

fn read(spool: &Spool, lane: Lane, from: u64) -> Vec<Stretch> {
    ask(|reply| spool.read(lane, Number(from), usize::MAX, reply)).unwrap()
}

/// Declares some packets of a lane gone.
fn bury(spool: &Spool, lane: Lane, first: u64, last: u64, reason: SkipReason) {
    let chain_at = |number: u64| {
        let run = read(spool, lane, number).into_iter().find_map(|stretch| match stretch {
            Stretch::Run { run, .. } => Some(run),
            Stretch::Tombstone(_) => None,
        });
        run.unwrap().chain_at(Number(number)).unwrap()
    };
    let (chain, chain_after) = (Some(chain_at(first - 1)), chain_at(last));
    let (first, last) = (Number(first), Number(last));
    let tombstone = Tombstone { first, last, chain, chain_after, reason };
    let declared = ask(|reply| spool.bury(lane, vec![tombstone], reply)).unwrap();
    assert_eq!(declared, tombstone.count());
}

#[test]
#[ignore = "it writes the golden directory of a new format"]
fn the_golden_directory_is_written() {
    let dir = frozen().with_extension("new");
    let (spool, opened) = open(&dir, Arc::new(FileDisk));
    for (name, batches, count, bytes) in LANES {
        for part in 0..batches {
            let (target, batch) = (target(name), batch(&data(part * count, count, bytes)));
            ask(|reply| spool.append(Append { target, batch, reply })).unwrap();
        }
    }
    bury(&spool, Lane(1), 120, 130, SkipReason::Expired);
    bury(&spool, Lane(2), 7, 7, SkipReason::Purged);
    spool.drop_through(Lane(1), Number(60), 2, 0);
    common::until("it is dropped", || spool.lane_states()[0].acked_through == Number(60));
    spool.close().unwrap();
    fs::write(dir.join("id"), opened.identity.spool.to_string()).unwrap();
}

#[test]
fn the_spool_that_the_first_release_wrote_is_opened_and_holds_everything() {
    let dir = frozen();
    // Looked at, and not touched.
    let (spool, opened) = open(&dir, Arc::new(Shadow::new(Arc::new(FileDisk))));
    assert!(opened.damage.is_empty() && opened.notes.is_empty(), "{opened:?}");
    assert_eq!(opened.identity.spool.to_string(), fs::read_to_string(dir.join("id")).unwrap());
    assert_eq!((opened.identity.opened, opened.identity.replaces), (2, None));
    let gone = [(120, 130, SkipReason::Expired), (7, 7, SkipReason::Purged)];
    for (at, (name, batches, count, bytes)) in LANES.into_iter().enumerate() {
        let lane = Lane(at as u64 + 1);
        let state = &opened.lanes[at];
        let acked = [60, 0][at];
        assert_eq!((state.lane, state.target.as_str()), (lane, name));
        assert_eq!((state.acked_through.0, state.next.0), (acked, batches * count + 1));
        assert_eq!(state.totals.dead_lettered, [2, 0][at]);
        let (mut next, mut declared) = (acked + 1, Vec::new());
        while next < state.next.0 {
            for stretch in read(&spool, lane, next) {
                let last = stretch.last();
                match stretch {
                    Stretch::Tombstone(one) => declared.push((one.first.0, one.last.0, one.reason)),
                    Stretch::Run { run, .. } => {
                        run.verify().unwrap();
                        assert_eq!(run.head().origin.spool, opened.identity.spool);
                        for (number, record) in run.records().filter(|(n, _)| n.0 >= next) {
                            let wanted = &data(number.0 - 1, 1, bytes)[0];
                            assert!(Packet::decode(record).unwrap().data == wanted, "{number}");
                        }
                    }
                }
                next = last.0 + 1;
            }
        }
        assert_eq!(declared, [gone[at]]);
    }
    assert!(spool.status().segments > 1, "{:?}", spool.status());
    spool.close().unwrap();
}
