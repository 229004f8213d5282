//! Proves the client's half of R6: a lane that holds nothing ends when it has been idle for long, or when
//! a new target needs its place; its number is never used again, and what it counted stays (R8).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{CrashDisk, SpoolRig, ask, batch, data, options, target, until};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{
    Append, AppendError, Committed, LaneState, Reading, Spool, SpoolOptions, SystemClock,
};

const DAY_MS: u64 = 86_400_000;

/// A clock that goes when it is told to.
#[derive(Clone)]
struct Hands(Arc<Mutex<Reading>>);

impl Hands {
    fn new() -> Self {
        let reading = Reading { boot: 1, since_boot_ms: 5_000, wall_ms: 1_800_000_000_000 };
        Self(Arc::new(Mutex::new(reading)))
    }

    fn pass(&self, ms: u64) {
        let mut reading = self.0.lock().unwrap();
        reading.since_boot_ms += ms;
        reading.wall_ms += ms;
    }

    fn rig(&self) -> SpoolRig {
        let hands = self.clone();
        let clock = SystemClock(Arc::new(move || *hands.0.lock().unwrap()));
        SpoolRig::open(CrashDisk::new(1), SpoolOptions { clock, ..options() }).unwrap()
    }
}

/// A spool with so many lanes at most, in which drops wait for nothing.
fn narrow(lanes_max: usize) -> SpoolOptions {
    SpoolOptions { lanes_max, drop_after: Duration::from_millis(1), ..options() }
}

/// Stores packets, and has them acknowledged.
fn pass_on(rig: &SpoolRig, to: &str, packets: u64) -> Lane {
    let stored = rig.append(to, &data(0, packets, 10)).unwrap();
    rig.drop_through(stored.lane, stored.first.0 + packets - 1);
    stored.lane
}

fn state(rig: &SpoolRig, lane: Lane) -> Option<LaneState> {
    rig.spool.lane_states().into_iter().find(|state| state.lane == lane)
}

fn has_ended(rig: &SpoolRig, lane: Lane) -> bool {
    state(rig, lane).is_some_and(|state| state.retiring)
}

/// Forgets lanes, and waits until that is durable.
fn forget(rig: &SpoolRig, lanes: &[Lane]) {
    rig.spool.forget(lanes.to_vec());
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    until("they are forgotten", || lanes.iter().all(|lane| state(rig, *lane).is_none()));
}

fn told(rig: &SpoolRig, of: impl Fn(&Committed) -> Vec<Lane>) -> Vec<Lane> {
    rig.commits.lock().unwrap().iter().flat_map(of).collect()
}

#[test]
fn a_lane_ends_when_it_holds_nothing_and_got_nothing_for_long() {
    let hands = Hands::new();
    let rig = hands.rig();
    let idle = pass_on(&rig, "order.1", 3);
    let held = rig.append("order.2", &data(0, 2, 10)).unwrap().lane;
    hands.pass(7 * DAY_MS - 1);
    let late = pass_on(&rig, "order.3", 1);
    assert!(!has_ended(&rig, idle), "a moment too early");
    hands.pass(1);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    until("it has ended", || has_ended(&rig, idle));
    assert!(!has_ended(&rig, held), "it holds packets");
    assert!(!has_ended(&rig, late), "it was used a moment ago");
    assert_eq!(told(&rig, |committed| committed.retiring.clone()), [idle]);
    hands.pass(7 * DAY_MS);
    rig.drop_through(held, 2);
    until("it ends once it is empty", || has_ended(&rig, held));
}

#[test]
fn the_age_of_a_lane_outlives_a_restart() {
    let hands = Hands::new();
    let rig = hands.rig();
    hands.pass(DAY_MS);
    let idle = pass_on(&rig, "order.1", 3);
    hands.pass(6 * DAY_MS);
    let rig = rig.reopen();
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    assert!(!has_ended(&rig, idle), "it is younger than the spool");
    hands.pass(DAY_MS);
    let rig = rig.reopen();
    until("it has ended, and nobody asked for anything", || has_ended(&rig, idle));
}

#[test]
fn a_target_whose_lane_has_ended_goes_on_in_another_one() {
    let hands = Hands::new();
    let rig = hands.rig();
    let first = pass_on(&rig, "order.1", 3);
    hands.pass(8 * DAY_MS);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    until("it has ended", || has_ended(&rig, first));
    let stored = rig.append("order.1", &data(0, 1, 10)).unwrap();
    assert!(stored.lane > first && stored.first.0 == 1, "{stored:?}");
    let mut rig = rig.crash();
    assert!(rig.opened.lanes.iter().any(|state| state.lane == first && state.retiring));
    forget(&rig, &[first]);
    for _ in 0..2 {
        rig = rig.reopen();
        assert_eq!(state(&rig, first), None);
        let again = rig.append("order.1", &data(0, 1, 10)).unwrap();
        assert_eq!(again.lane, stored.lane);
    }
    let fresh = rig.append("order.4", &data(0, 1, 10)).unwrap();
    assert!(fresh.lane > stored.lane, "a number was used again");
}

#[test]
fn only_lanes_that_have_ended_are_forgotten() {
    let rig = SpoolRig::new();
    let lane = pass_on(&rig, "order.1", 1);
    rig.spool.forget(vec![lane, Lane(77)]);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    let rig = rig.reopen();
    assert!(state(&rig, lane).is_some());
    assert_eq!(rig.spool.status().retired.lanes, 0);
}

#[test]
fn the_limit_is_on_lanes_that_hold_something() {
    let rig = SpoolRig::open(CrashDisk::new(1), narrow(3)).unwrap();
    let mut used = BTreeSet::new();
    for order in 0..15 {
        let lane = pass_on(&rig, &format!("order.{order}"), 2);
        assert!(used.insert(lane), "lane {lane} was used again");
        assert!(rig.spool.status().lanes <= 3, "{:?}", rig.spool.status());
    }
    let ended = told(&rig, |committed| committed.retiring.clone());
    assert_eq!(ended, (1..=12).map(Lane).collect::<Vec<_>>(), "the longest idle one first");
    for order in 100..103 {
        rig.append(&format!("order.{order}"), &data(0, 1, 10)).unwrap();
    }
    let refused = rig.append("order.200", &data(0, 1, 10));
    assert_eq!(refused, Err(AppendError::LanesFull { max: 3 }), "all of them hold packets");
    let known = rig.append("order.100", &data(0, 1, 10)).unwrap();
    rig.drop_through(known.lane, 2);
    rig.append("order.200", &data(0, 1, 10)).unwrap();
}

#[test]
fn a_drop_that_waits_for_its_commit_makes_room_for_a_lane_at_once() {
    let rig =
        SpoolRig::open(CrashDisk::new(1), SpoolOptions { lanes_max: 1, ..options() }).unwrap();
    let first = rig.append("order.1", &data(0, 1, 10)).unwrap();
    rig.spool.drop_through(first.lane, Number(1), 0, 0);
    let next = rig.append("order.2", &data(0, 1, 10)).unwrap();
    assert!(next.lane > first.lane && has_ended(&rig, first.lane));
}

// One commit may take packets for a lane and for a target that needs another lane's place.
#[test]
fn a_lane_that_packets_are_on_their_way_to_does_not_end() {
    let (held, hold) = mpsc::channel::<()>();
    let (holds, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (holding, telling) = (Arc::clone(&holds), Arc::clone(&told));
    let on_commit = move |committed: Committed| {
        telling.lock().unwrap().push(committed.retiring);
        if holding.swap(false, Ordering::SeqCst) {
            // This commit lasts until everything else waits.
            let _ = hold.recv();
        }
    };
    let disk = Arc::new(CrashDisk::new(1));
    let (spool, _) = Spool::open(narrow(3), disk, Box::new(on_commit)).unwrap();
    let append = |to: &str, reply| {
        let (target, batch) = (target(to), batch(&data(0, 1, 10)));
        spool.append(Append { target, batch, reply });
    };
    for to in ["order.1", "order.2", "rig.carrier"] {
        let lane = ask(|reply| append(to, reply)).unwrap().lane;
        spool.drop_through(lane, Number(1), 0, 0);
        until("it is dropped", || spool.lane_states()[lane.0 as usize - 1].acked_through.0 == 1);
    }
    holds.store(true, Ordering::SeqCst);
    ask(|reply| append("rig.carrier", reply)).unwrap();
    until("it is held", || !holds.load(Ordering::SeqCst));
    let (answers, answered) = mpsc::channel();
    for to in ["order.1", "order.4"] {
        let answers = answers.clone();
        append(to, Box::new(move |stored| answers.send(stored).unwrap()));
    }
    held.send(()).unwrap();
    let lanes = [(); 2].map(|()| answered.recv().unwrap().unwrap().lane);
    assert_eq!(lanes, [Lane(1), Lane(4)]);
    until("it is told", || told.lock().unwrap().iter().flatten().next().is_some());
    assert_eq!(told.lock().unwrap().concat(), [Lane(2)], "the first lane was idle for longer");
}

#[test]
fn what_a_lane_counted_outlives_it() {
    let rig = SpoolRig::open(CrashDisk::new(1), narrow(2)).unwrap();
    for order in 0..6 {
        let stored = rig.append(&format!("order.{order}"), &data(0, 5, 10)).unwrap();
        rig.spool.drop_through(stored.lane, Number(5), 1, 0);
        until("it is dropped", || rig.lane(stored.lane).acked_through.0 == 5);
    }
    let sums = |rig: &SpoolRig| {
        let (lanes, gone) = (rig.spool.lane_states(), rig.spool.status().retired);
        let accepted: u64 = lanes.iter().map(|lane| lane.next.before().0).sum();
        let handled: u64 = lanes.iter().map(LaneState::handled).sum();
        let dead: u64 = lanes.iter().map(|lane| lane.totals.dead_lettered).sum();
        let (accepted, handled) = (accepted + gone.accepted, handled + gone.handled());
        (accepted, handled, dead + gone.totals.dead_lettered)
    };
    assert_eq!(sums(&rig), (30, 24, 6));
    let ended: Vec<Lane> = told(&rig, |committed| committed.retiring.clone());
    assert_eq!(ended.len(), 4);
    rig.spool.forget(ended.clone());
    until("they are gone", || rig.spool.status().retired.lanes == 4);
    assert_eq!(sums(&rig), (30, 24, 6));
    let forgotten = |committed: &Committed| committed.retired.iter().map(|it| it.lane).collect();
    assert_eq!(told(&rig, forgotten), ended, "whoever counts by target is told");
    let mut rig = rig.crash();
    assert_eq!((sums(&rig), rig.opened.retired.lanes), ((30, 24, 6), 4));
    for _ in 0..3 {
        let bulk = rig.append("bulk", &data(0, 40, 60_000)).unwrap();
        assert!(bulk.lane > Lane(6));
        rig = rig.reopen();
    }
    assert!(rig.segments() > 1, "the sums go on into the next segment");
    assert_eq!((sums(&rig).0, rig.opened.retired.lanes), (150, 4));
}
