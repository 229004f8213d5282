//! The shipping law of both sides under a model checker: the orders in which a few packets, the work
//! on them and a few faults can happen, for each of the plans below.
//!
//! Faults and new packets come at every moment of a run. Work that waits is done first come, first
//! served, but for a few delays that a plan allows: each lets other work go first, at any moment too.
//! Every run with that many delays is looked at, and few bugs need more than two or three.
//!
//! Found wanting is any state in which an invariant fails, and any in which nothing is left to do
//! although some packet has not come to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Millis};
use stateright::{Checker, Model, Property};

use crate::common::Options;
use crate::common::handler::Mood;
use crate::world::{Action, World};

/// How often work goes before other work that waits longer, when nobody says.
const DELAYS: usize = 2;

/// Something that a plan has in store; it happens at any time, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    This(Action),
    /// The link that the machine uses at present breaks.
    Reset(usize),
    /// A run on that link is damaged.
    Corrupt(usize),
    /// The next frame of the client on that link is lost, as if its shell erred.
    Lose(usize),
}

/// What may happen: sequences of events, each in order and all of them interleaved.
struct Plan {
    machines: usize,
    slots: usize,
    options: Options,
    delays: usize,
    sequences: Vec<Vec<Event>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    world: World,
    /// How many events of each sequence have happened.
    done: Vec<usize>,
    /// How many delays are left.
    delays: usize,
    broken: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Work, and how much other work it goes before.
    Work(usize, Action),
    /// The next event of a sequence.
    Event(usize, Action),
}

impl Plan {
    fn new(machines: usize, slots: usize, sequences: Vec<Vec<Event>>) -> Self {
        let options = Options {
            retry_after_ms: 1,
            refused_run_pause: Millis(1),
            has_heartbeat: false,
            keeps_log: false,
            ..Options::default()
        };
        let delays = std::env::var("SIM_DELAYS").ok().and_then(|text| text.parse().ok());
        Self { machines, slots, options, delays: delays.unwrap_or(DELAYS), sequences }
    }

    /// Every state is visited; gives how many there are.
    fn check(self, name: &str) -> usize {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let checker = self.checker().threads(threads).spawn_dfs().join();
        println!("{name}: {} states, {} deep", checker.unique_state_count(), checker.max_depth(),);
        if let Some((property, path)) = checker.discoveries().into_iter().next() {
            let broken = path.last_state().broken.clone();
            let steps = path.into_actions();
            panic!("{name}: not {property:?}: {broken:?} after {steps:#?}");
        }
        checker.unique_state_count()
    }

    fn event(&self, world: &World, sequence: usize, at: usize) -> Option<Action> {
        let in_use = |machine: usize| world.machines.get(machine).and_then(|machine| machine.link);
        match *self.sequences[sequence].get(at)? {
            Event::This(action) => Some(action),
            Event::Reset(machine) => in_use(machine).map(Action::Reset),
            Event::Corrupt(machine) => in_use(machine).map(Action::Corrupt),
            Event::Lose(machine) => in_use(machine).map(Action::Lose),
        }
    }
}

/// The work that can go on, time included. A handler that is unwell gets well at some time, and time
/// stands still until then.
fn work(world: &World) -> Vec<Action> {
    let mut work = world.work();
    // Frames arrive one by one: that they may arrive together is the seeds' business.
    work.retain(|action| {
        !matches!(action, Action::ToServer(_, count) | Action::ToClient(_, count) if *count > 1)
    });
    let unwell: Vec<_> = world.server.handler.unwell().collect();
    work.extend(unwell.iter().map(|lane| Action::Mood(*lane, Mood::Well)));
    if unwell.is_empty()
        && let Some(due) = world.deadline()
    {
        work.push(Action::Wait(due.since(world.now)));
    }
    if work.is_empty() {
        // TCP loses no frames; who lost some waits for answers that never come.
        let tampered = world.links.iter().filter(|link| link.is_tampered_with);
        work.extend(tampered.map(|link| Action::Reset(link.id)));
    }
    work
}

impl Model for Plan {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let world = World::new(self.machines, self.slots, self.options);
        vec![State {
            world,
            delays: self.delays,
            done: vec![0; self.sequences.len()],
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        let work = work(&state.world).into_iter().enumerate().take(1 + state.delays);
        actions.extend(work.map(|(before, action)| Step::Work(before, action)));
        let events = state.done.iter().enumerate();
        actions.extend(events.filter_map(|(sequence, at)| {
            self.event(&state.world, sequence, *at).map(|action| Step::Event(sequence, action))
        }));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = last.clone();
        let action = match step {
            Step::Work(before, action) => {
                next.delays -= before;
                action
            }
            Step::Event(sequence, action) => {
                next.done[sequence] += 1;
                action
            }
        };
        let world = &mut next.world;
        let applied = catch_unwind(AssertUnwindSafe(|| {
            world.apply(action);
            if work(world).is_empty() {
                world.check_drained();
            }
        }));
        if let Err(failure) = applied {
            let text = failure.downcast_ref::<String>().cloned();
            next.broken = Some(text.unwrap_or_else(|| "it panicked".to_owned()));
            // What is broken is not looked into any further.
            next.world = World::new(0, 0, self.options);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("the rules hold", |_, state: &State| state.broken.is_none())]
    }
}

fn store(machine: usize, slot: usize, count: u64) -> Event {
    Event::This(Action::Store { machine, slot, count, poison: false })
}

fn poison(machine: usize, slot: usize, count: u64) -> Event {
    Event::This(Action::Store { machine, slot, count, poison: true })
}

fn bury(from: u64, count: u64, reason: SkipReason) -> Event {
    Event::This(Action::Bury { machine: 0, slot: 0, from, count, reason })
}

fn mood(mood: Mood) -> Event {
    Event::This(Action::Mood(Lane(1), mood))
}

const RESET: Event = Event::Reset(0);
const CORRUPT: Event = Event::Corrupt(0);
const LOSE: Event = Event::Lose(0);
const CRASH_CLIENT: Event = Event::This(Action::CrashClient(0));
const CRASH_SERVER: Event = Event::This(Action::CrashServer);

#[test]
fn one_lane_when_links_and_processes_break() {
    let events = vec![vec![store(0, 0, 2), store(0, 0, 1)], vec![RESET], vec![CRASH_SERVER]];
    Plan::new(1, 1, events).check("reset, server");
    let events =
        vec![vec![store(0, 0, 2), poison(0, 0, 1)], vec![CRASH_CLIENT], vec![CRASH_SERVER]];
    Plan::new(1, 1, events).check("client, server, poison");
}

#[test]
fn a_lane_that_is_paused_and_resumed() {
    let events = vec![vec![store(0, 0, 2)], vec![mood(Mood::Failing)], vec![RESET]];
    Plan::new(1, 1, events).check("failing");
    let events = vec![vec![store(0, 0, 2)], vec![mood(Mood::Stumbling)], vec![CRASH_CLIENT]];
    Plan::new(1, 1, events).check("stumbling");
    let events = vec![vec![store(0, 0, 1), store(0, 0, 1)], vec![CORRUPT], vec![RESET]];
    Plan::new(1, 1, events).check("corrupt");
}

#[test]
fn two_lanes_of_one_client() {
    let events = vec![vec![store(0, 0, 2), store(0, 1, 1)], vec![mood(Mood::Failing)]];
    Plan::new(1, 2, events).check("two lanes");
}

#[test]
fn two_clients_of_one_server() {
    let events = vec![vec![store(0, 0, 1), store(1, 0, 1)], vec![CRASH_SERVER]];
    Plan::new(2, 1, events).check("two clients");
}

#[test]
fn tombstones_in_flight() {
    use SkipReason::{Damaged, Evicted, Expired};
    let events = vec![vec![store(0, 0, 3)], vec![bury(1, 2, Expired)], vec![RESET]];
    Plan::new(1, 1, events).check("expiry, reset");
    let two = vec![bury(2, 1, Evicted), bury(1, 2, Expired)];
    let events = vec![vec![store(0, 0, 3)], two, vec![mood(Mood::Stumbling)]];
    Plan::new(1, 1, events).check("eviction, expiry, stumbling");
    let events = vec![vec![store(0, 0, 2), store(0, 0, 1)], vec![bury(1, 1, Damaged)], vec![RESET]];
    Plan::new(1, 1, events).check("damage");
    // A skip knows no chain but the one before it: only its first number tells that a run is missing.
    let events = vec![vec![store(0, 0, 1), store(0, 0, 1)], vec![bury(2, 1, Expired)], vec![LOSE]];
    Plan::new(1, 1, events).check("expiry, lost run");
}

#[test]
fn a_cloned_spool() {
    let clone = Event::This(Action::Clone(0));
    let events = vec![vec![store(0, 0, 1), clone, store(0, 0, 1), store(1, 0, 1)]];
    Plan::new(1, 1, events).check("clone");
}

#[test]
fn a_restored_spool_that_stores_new_packets() {
    let (backup, restore) = (Event::This(Action::Backup(0)), Event::This(Action::Restore(0)));
    let events = vec![vec![store(0, 0, 1), backup, store(0, 0, 2), restore, store(0, 0, 2)]];
    Plan::new(1, 1, events).check("restored spool");
}

#[test]
fn a_restored_ledger_and_a_second_one() {
    let backup = Event::This(Action::BackupLedger);
    let restore = Event::This(Action::RestoreLedger);
    let events = vec![vec![store(0, 0, 1), backup, store(0, 0, 2), restore], vec![CRASH_CLIENT]];
    Plan::new(1, 1, events).check("restored ledger");
    let lose = Event::This(Action::LoseLedger);
    let events = vec![vec![store(0, 0, 2), lose, store(0, 0, 1)], vec![RESET]];
    Plan::new(1, 1, events).check("second ledger");
}

/// What a spool holds under its old numbers is new to everybody, and the ledger jumps over it: the jump
/// itself may come late, from a session that has ended, in the middle of an attempt of the next one.
#[test]
fn a_lost_ledger_and_a_restored_spool() {
    let (backup, restore) = (Event::This(Action::Backup(0)), Event::This(Action::Restore(0)));
    let lose = Event::This(Action::LoseLedger);
    let (stored, again) = (store(0, 0, 1), store(0, 0, 1));
    let events = vec![vec![backup, stored, lose, again, restore, store(0, 0, 1)]];
    Plan::new(1, 1, events).check("lost ledger, restored spool");
}

#[test]
fn a_lane_that_retires() {
    let retire = Event::This(Action::Retire(0, 0));
    let events = vec![vec![store(0, 0, 1), retire, store(0, 0, 1)], vec![CRASH_CLIENT]];
    Plan::new(1, 1, events).check("retire, client");
    let events = vec![vec![store(0, 0, 1), retire], vec![mood(Mood::Failing)], vec![RESET]];
    Plan::new(1, 1, events).check("retire, failing");
    let events = vec![vec![store(0, 0, 1), store(0, 0, 1), retire], vec![CORRUPT], vec![RESET]];
    Plan::new(1, 1, events).check("retire, corrupt");
    let backup = Event::This(Action::Backup(0));
    let restore = Event::This(Action::Restore(0));
    let events = vec![vec![store(0, 0, 1), backup, retire, restore]];
    Plan::new(1, 1, events).check("retire, restored spool");
}
