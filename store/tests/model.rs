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

use common::{CrashDisk, SpoolRig, data, options};
use paquebot_protocol::{Lane, Number};
use paquebot_store::SpoolOptions;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Action {
    Append { lane: usize, count: u64, bytes: usize },
    Drop { lane: usize, part: u64 },
    Rekey,
    Restart,
    Cut,
}

fn action() -> impl Strategy<Value = Action> {
    let append = (0..3_usize, 1..60_u64, 0..6_000_usize)
        .prop_map(|(lane, count, bytes)| Action::Append { lane, count, bytes });
    let drop = (0..3_usize, 0..101_u64).prop_map(|(lane, part)| Action::Drop { lane, part });
    prop_oneof![
        8 => append,
        4 => drop,
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
        let (acked, found) = rig.held(*lane);
        assert!(acked <= *dropped);
        let expected = (1..).zip(stored.iter().cloned()).skip(usize::try_from(acked).unwrap());
        assert!(found.into_iter().eq(expected), "lane {lane} after {acked}");
        assert_eq!(rig.chain_at(*lane, stored.len() as u64 + 1), None);
        assert!(rig.chain_at(*lane, stored.len() as u64).is_some());
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
