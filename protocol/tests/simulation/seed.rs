//! A run from a seed: what the world is made of, which faults it knows, and what happens when.

use std::hash::{DefaultHasher, Hash, Hasher};

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Millis};

use crate::common::Options;
use crate::common::handler::Mood;
use crate::random::Random;
use crate::world::{Action, World};

/// Virtual time within which everything drains once faults have stopped: a refused run waits 5
/// minutes, a dead link is found in 90 seconds, and neither happens often.
const DRAINED_WITHIN: Millis = Millis(20 * 60 * 1000);

/// Work that may be done meanwhile: far more than any packet needs.
const STEPS_MAX: usize = 100_000;

/// What came of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// A hash over every action, and over the world after each.
    pub(crate) trace: u64,
    pub(crate) actions: u64,
    pub(crate) handled: u64,
    pub(crate) rekeyed: u64,
    pub(crate) doubts_within_tombstones: u64,
    /// How long it took to drain.
    pub(crate) drained_after: Millis,
}

/// Faults by how likely they are; a seed leaves some of them out altogether.
struct Faults {
    random: Random,
    known: u64,
}

impl Faults {
    /// Whether a fault of this kind happens now.
    fn happens(&mut self, kind: u64, once: u64, of: u64) -> bool {
        let known = self.known >> kind & 1 == 1;
        self.random.happens(once, of) && known
    }
}

fn options(random: &mut Random) -> Options {
    let mut bytes = || [1, 300, 64 * 1024][random.index(3)];
    Options {
        window_bytes: bytes(),
        budget_bytes: bytes(),
        frame_bytes_max: 400,
        // More than any seed uses: lanes that retire are followed by new ones.
        lanes_max: 1_000,
        exactly_once: random.happens(2, 3),
        has_heartbeat: true,
        keeps_log: false,
        ..Options::default()
    }
}

/// Lives through one seed: `actions` of faults and work, then work alone until everything has drained.
pub(crate) fn live(seed: u64, is_traced: bool) -> Outcome {
    let is_told = std::env::var_os("SIM_TELL").is_some();
    let mut random = Random::new(seed);
    let options = options(&mut random);
    let (machines, slots) = (1 + random.index(3), 1 + random.index(3));
    let mut world = World::new(machines, slots, options);
    let mut trace = DefaultHasher::new();
    let mut outcome = Outcome::default();
    let mut faults = Faults { known: random.next(), random: Random::new(random.next()) };
    let length = 50 + random.below(250);
    // Every third seed only: the others mean what they meant before there were disasters.
    let mut disasters = (seed % 3 == 2).then(|| Random::new(random.next()));
    let mut make = |world: &mut World, action: Action, outcome: &mut Outcome| {
        outcome.actions += 1;
        if is_told {
            println!("{} {action:?}", world.now.0);
        }
        world.apply(action);
        if is_traced {
            (action, &*world).hash(&mut trace);
        }
    };
    for _ in 0..length {
        let disaster = disasters.as_mut().and_then(|random| disaster(&world, random));
        if let Some(action) = disaster {
            make(&mut world, action, &mut outcome);
        }
        let action = if random.happens(3, 4) {
            let work = world.work();
            if work.is_empty() {
                Some(Action::Wait(Millis(random.below(3_000))))
            } else {
                Some(work[random.index(work.len())])
            }
        } else {
            happening(&world, &mut random, &mut faults)
        };
        if let Some(action) = action {
            make(&mut world, action, &mut outcome);
        }
    }
    world.heal();
    let start = world.now;
    for step in 0.. {
        assert!(step < STEPS_MAX, "there is no end to it: {world:#?}");
        if world.is_drained() {
            break;
        }
        let work = world.work();
        let action = if work.is_empty() {
            let due = world.deadline();
            let due = due.unwrap_or_else(|| panic!("nothing will ever happen: {world:#?}"));
            Action::Wait(due.since(world.now))
        } else {
            work[random.index(work.len())]
        };
        make(&mut world, action, &mut outcome);
        let late = world.now.since(start) > DRAINED_WITHIN;
        assert!(!late, "not drained in time: {world:#?}");
    }
    world.check_drained();
    outcome.drained_after = world.now.since(start);
    outcome.handled = world.server.handler.handled.len() as u64;
    outcome.rekeyed = world.machines.iter().map(|it| u64::from(it.client.rekeyed)).sum();
    outcome.doubts_within_tombstones = world.doubts_within_tombstones;
    outcome.trace = trace.finish();
    outcome
}

/// Things that are rare, and worse together: copies that come back, a ledger that is gone, lanes that
/// end, answers that are not true.
fn disaster(world: &World, random: &mut Random) -> Option<Action> {
    if !random.happens(1, 12) {
        return None;
    }
    let machine = random.index(world.machines.len());
    let link = world.links.get(random.index(world.links.len())).map(|link| link.id);
    match random.below(10) {
        0 | 1 => Some(Action::Backup(machine)),
        2 | 3 => Some(Action::Restore(machine)),
        4 => Some(Action::Retire(machine, random.index(world.machines[machine].slots()))),
        5 => Some(Action::LoseLedger),
        6 => Some(Action::UnsureLedger),
        7 => Some(Action::Mood(Lane(1 + random.below(4)), Mood::Creeping)),
        _ => link.map(Action::Forge),
    }
}

/// What people, clocks and faults do next, if anything.
fn happening(world: &World, random: &mut Random, faults: &mut Faults) -> Option<Action> {
    let machine = random.index(world.machines.len());
    let slot = random.index(world.machines[machine].slots());
    let lane = Lane(1 + random.below(4));
    let link = world.links.get(random.index(world.links.len())).map(|link| link.id);
    if random.happens(9, 20) {
        let count = 1 + random.below(6);
        let poison = faults.happens(0, 1, 8);
        return Some(Action::Store { machine, slot, count, poison });
    }
    let kind = random.below(23);
    let is = faults.random.happens(1, 2);
    let known = |faults: &mut Faults, once, of| faults.happens(kind, once, of);
    let action = match kind {
        0 | 1 => Action::Wait(Millis(random.below(2_500))),
        2 => Action::Wait(Millis(random.below(400_000))),
        3 | 4 if known(faults, 1, 1) => {
            let moods = [Mood::Well, Mood::Failing, Mood::Stumbling, Mood::Slow];
            Action::Mood(lane, moods[random.index(4)])
        }
        5 | 6 if known(faults, 2, 3) => {
            use SkipReason::{Damaged, Evicted, Expired, Purged};
            let reason = [Expired, Evicted, Purged, Damaged][random.index(4)];
            let (from, count) = (1 + random.below(8), 1 + random.below(6));
            Action::Bury { machine, slot, from, count, reason }
        }
        7 if known(faults, 1, 2) => Action::Retire(machine, slot),
        8 if known(faults, 1, 1) => Action::Reset(link?),
        9 if known(faults, 1, 2) => Action::Stall(link?),
        10 if known(faults, 1, 2) => Action::Corrupt(link?),
        11 => Action::Part(link?),
        12 if known(faults, 1, 1) => Action::FillSocket(machine, is),
        13 if known(faults, 1, 2) => Action::FillDisk(machine, is),
        14 if known(faults, 1, 2) => Action::FailCommit(machine),
        15 if known(faults, 1, 2) => Action::FailLedger(is),
        16 if known(faults, 1, 2) => Action::CrashClient(machine),
        17 if known(faults, 1, 2) => Action::CrashServer,
        18 if known(faults, 2, 3) => match random.below(5) {
            0 | 1 => Action::Backup(machine),
            2 | 3 => Action::Restore(machine),
            _ if world.machines.len() < 4 => Action::Clone(machine),
            _ => return None,
        },
        20 if known(faults, 1, 2) => match random.below(2) {
            0 => Action::Lose(link?),
            _ => Action::Swap(link?),
        },
        21 if known(faults, 1, 2) => Action::Double(link?),
        22 if known(faults, 1, 2) => Action::FalseAck(machine, slot),
        19 if known(faults, 2, 3) => match random.below(5) {
            0 | 1 => Action::BackupLedger,
            2 | 3 => Action::RestoreLedger,
            _ => Action::LoseLedger,
        },
        _ => return None,
    };
    Some(action)
}
