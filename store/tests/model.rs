//! Proves the spool against a model of a few lines: whatever the order of appends, drops, reads,
//! re-keys, restarts and power cuts, it holds exactly what was stored and not dropped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::BTreeSet;

use common::{CrashDisk, SpoolRig, data, options};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Held, Lane, Number};
use paquebot_store::SpoolOptions;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Action {
    Append { lane: usize, count: u64, bytes: usize },
    Drop { lane: usize, part: u64 },
    Bury { lane: usize, part: u64, count: u64 },
    Rekey,
    Restart,
    Cut,
}

fn action() -> impl Strategy<Value = Action> {
    let append = (0..3_usize, 1..60_u64, 0..6_000_usize)
        .prop_map(|(lane, count, bytes)| Action::Append { lane, count, bytes });
    let drop = (0..3_usize, 0..101_u64).prop_map(|(lane, part)| Action::Drop { lane, part });
    let bury = (0..3_usize, 0..100_u64, 1..80_u64).prop_map(|(lane, part, count)| Action::Bury {
        lane,
        part,
        count,
    });
    prop_oneof![
        8 => append,
        4 => drop,
        4 => bury,
        1 => Just(Action::Rekey),
        1 => Just(Action::Restart),
        1 => Just(Action::Cut),
    ]
}

const TARGETS: [&str; 3] = ["orders.new", "alarms.high", "logs.app"];

/// What should be there: every packet ever stored, and how many of them were dropped.
#[derive(Debug, Default)]
struct Model {
    lanes: Vec<(Lane, usize, Vec<Vec<u8>>, u64)>,
    gone: BTreeSet<(Lane, u64)>,
}

impl Model {
    fn lane(&mut self, target: usize) -> &mut (Lane, usize, Vec<Vec<u8>>, u64) {
        let at = self.lanes.iter().position(|(_, known, ..)| *known == target);
        let at = at.unwrap_or_else(|| {
            self.lanes.push((Lane(self.lanes.len() as u64 + 1), target, Vec::new(), 0));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }
}

fn step(rig: SpoolRig, model: &mut Model, action: &Action) -> SpoolRig {
    match action {
        Action::Append { lane, count, bytes } => {
            let (number, target, stored, _) = model.lane(*lane);
            let sent = data(stored.len() as u64, *count, *bytes);
            let answer = rig.append(TARGETS[*target], &sent).unwrap();
            assert_eq!((answer.lane, answer.first.0), (*number, stored.len() as u64 + 1));
            stored.extend(sent);
        }
        Action::Drop { lane, part } => {
            let Some((number, _, stored, dropped)) =
                model.lanes.iter_mut().find(|(_, known, ..)| known == lane)
            else {
                return rig;
            };
            *dropped = (*dropped).max(stored.len() as u64 * part / 100);
            rig.spool.drop_through(*number, Number(*dropped), 0, 0);
        }
        Action::Bury { lane, part, count } => {
            let Some((number, _, stored, _)) =
                model.lanes.iter().find(|(_, known, ..)| known == lane)
            else {
                return rig;
            };
            // A drop that waits may come first.
            let dropped = model.lanes.iter().find(|(_, known, ..)| known == lane);
            let dropped = dropped.map_or(0, |(.., dropped)| *dropped);
            let first = stored.len() as u64 * part / 100 + 1;
            let last = (first + count).min(stored.len() as u64);
            let acked = rig.lane(*number).acked_through.0;
            if first > last || first <= acked {
                return rig;
            }
            let buried = rig.bury(*number, first, last, SkipReason::Purged);
            // What a drop that waited has let go of is forgotten, its tombstones too.
            let left = first.max(dropped + 1)..=last;
            let fresh = left.clone().all(|at| !model.gone.contains(&(*number, at)));
            if buried > 0 {
                assert!(fresh && buried >= left.count() as u64);
                model.gone.extend((first..=last).map(|at| (*number, at)));
            } else {
                let unknown = last <= dropped || rig.chain_at(*number, last).is_none();
                let covered = (first..=last).any(|at| model.gone.contains(&(*number, at)));
                assert!(covered || unknown, "{first} to {last}");
            }
        }
        Action::Rekey => {
            rig.rekey().unwrap();
        }
        Action::Restart => return rig.reopen(),
        Action::Cut => return rig.crash(),
    }
    rig
}

fn check(rig: &SpoolRig, model: &Model) {
    for (lane, _, stored, dropped) in &model.lanes {
        // Drops ride on commits, also on those that move segments: one may come while this looks.
        let (state, found) = loop {
            let state = rig.lane(*lane);
            let found = rig.numbers(*lane, state.acked_through.0 + 1);
            if rig.lane(*lane) == state {
                break (state, found);
            }
        };
        let acked = state.acked_through.0;
        assert!(acked <= *dropped);
        let is_gone = |number: &u64| model.gone.contains(&(*lane, *number));
        let expected = (1..).zip(stored).skip(usize::try_from(acked).unwrap());
        let expected = expected.map(|(at, data)| (at, (!is_gone(&at)).then(|| data.clone())));
        assert!(found.into_iter().eq(expected), "lane {lane} after {acked}");
        let pending = (acked + 1..=stored.len() as u64).filter(|at| !is_gone(at)).count() as u64;
        assert_eq!(state.pending_packets, pending);
        let accounted = state.handled() + state.totals.sum() + state.pending_packets;
        assert_eq!(accounted, stored.len() as u64, "R8 of lane {lane}: {state:?}");
        assert_eq!(rig.chain_at(*lane, stored.len() as u64 + 1), None);
        assert_ne!(rig.held_at(*lane, stored.len() as u64), Held::Unknown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_was_stored_and_not_dropped(
        actions in prop::collection::vec(action(), 1..80),
        segment_bytes in prop_oneof![Just(300_000_u64), Just(1_000_000)],
        seed in any::<u64>(),
    ) {
        let options = SpoolOptions { segment_bytes, ..options() };
        let mut rig = SpoolRig::open(CrashDisk::new(seed), options).unwrap();
        let mut model = Model::default();
        for action in &actions {
            rig = step(rig, &mut model, action);
        }
        check(&rig, &model);
        let rig = rig.reopen();
        check(&rig, &model);
    }
}
