//! Proves that packets outlive their time neither early nor late: by a clock that no jump of the
//! wall clock moves, over restarts and reboots, wherever in their lane they stand (R3, R8).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::sync::{Arc, Mutex};

use common::{CrashDisk, SpoolRig, ask, data, options, target, until};
use paquebot_protocol::{Batch, Held, Lane, Meta, Number, Packet};
use paquebot_store::{Append, Reading, SpoolOptions, Stretch, SystemClock};

const LANE: Lane = Lane(1);
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

    fn set(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap());
    }

    fn options(&self) -> SpoolOptions {
        let hands = self.clone();
        let clock = SystemClock(Arc::new(move || *hands.0.lock().unwrap()));
        SpoolOptions { clock, ..options() }
    }

    fn rig(&self) -> SpoolRig {
        SpoolRig::open(CrashDisk::new(1), self.options()).unwrap()
    }
}

/// Stores packets of which each lives for so long, or for ever.
fn append(rig: &SpoolRig, ttls_ms: &[Option<u64>]) {
    let mut batch = Batch::default();
    for ttl_ms in ttls_ms {
        let meta = Meta { ttl_ms: *ttl_ms, ..Meta::default() };
        batch.push(&Packet { created_ms: 1, data: b"reading", meta });
    }
    let target = target("meter.1");
    ask(|reply| rig.spool.append(Append { target, batch, reply })).unwrap();
}

/// The numbers that are still there.
fn alive(rig: &SpoolRig) -> Vec<u64> {
    let numbers = rig.numbers(LANE, 1).into_iter();
    numbers.filter(|(_, data)| data.is_some()).map(|(number, _)| number).collect()
}

fn expired(rig: &SpoolRig) -> u64 {
    rig.lane(LANE).totals.expired
}

#[test]
fn packets_expire_when_their_time_is_over_and_not_before() {
    let hands = Hands::new();
    let rig = hands.rig();
    append(&rig, &[Some(1_000), None, Some(3_000), Some(1_000), Some(2_000)]);
    hands.pass(999);
    rig.spool.expire(LANE, Number(1));
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    assert_eq!(alive(&rig), [1, 2, 3, 4, 5]);
    hands.pass(1);
    rig.spool.expire(LANE, Number(1));
    until("two are over", || expired(&rig) == 2);
    assert_eq!(alive(&rig), [2, 3, 5]);
    hands.pass(1_000);
    rig.spool.expire(LANE, Number(1));
    until("three are over", || expired(&rig) == 3);
    assert_eq!(alive(&rig), [2, 3]);
    hands.pass(DAY_MS);
    rig.spool.expire(LANE, Number(1));
    until("all are over that ever will be", || expired(&rig) == 4);
    assert_eq!(alive(&rig), [2]);
    let state = rig.lane(LANE);
    assert_eq!((state.pending_packets, state.handled()), (1, 0));
}

#[test]
fn nobody_has_to_ask_for_it() {
    let rig = SpoolRig::new();
    append(&rig, &[Some(1), Some(5), None]);
    until("they are over", || expired(&rig) == 2);
    assert_eq!(alive(&rig), [3]);
    let commits = rig.commits.lock().unwrap();
    let buried: u64 = commits.iter().flat_map(|c| &c.buried).map(|(_, gone)| gone.count()).sum();
    assert_eq!(buried, 2, "whoever sends is told");
}

#[test]
fn a_jump_of_the_wall_clock_within_a_boot_expires_nothing() {
    let hands = Hands::new();
    let rig = hands.rig();
    append(&rig, &[Some(DAY_MS)]);
    hands.set(|reading| reading.wall_ms += 400 * DAY_MS);
    let rig = rig.reopen();
    rig.spool.expire(LANE, Number(1));
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    assert_eq!(alive(&rig), [1]);
    hands.set(|reading| reading.wall_ms = 3_000);
    hands.pass(DAY_MS);
    let rig = rig.reopen();
    until("it is over", || expired(&rig) == 1);
}

#[test]
fn time_goes_on_over_a_reboot_unless_the_wall_clock_is_wrong() {
    let hands = Hands::new();
    let rig = hands.rig();
    append(&rig, &[Some(DAY_MS)]);
    hands.set(|reading| *reading = Reading { boot: 2, since_boot_ms: 1, wall_ms: 60_000 });
    let rig = rig.reopen();
    rig.spool.expire(LANE, Number(1));
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    assert_eq!(alive(&rig), [1], "a clock that begins in 1970 says nothing");
    hands.set(|reading| {
        *reading = Reading { boot: 3, since_boot_ms: 1, wall_ms: 1_900_000_000_000 };
    });
    let rig = rig.reopen();
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    assert_eq!(alive(&rig), [1], "nor does one that comes from there");
    hands.set(|reading| {
        *reading = Reading { boot: 4, since_boot_ms: 1, wall_ms: reading.wall_ms + DAY_MS };
    });
    let rig = rig.reopen();
    until("it is over", || expired(&rig) == 1);
}

#[test]
fn tombstones_outlive_restarts_power_cuts_and_rotation_and_go_when_acknowledged() {
    let hands = Hands::new();
    let mut rig = hands.rig();
    append(&rig, &[Some(10), Some(10), None, Some(10)]);
    hands.pass(10);
    rig.spool.expire(LANE, Number(1));
    until("they are over", || expired(&rig) == 3);
    let found = rig.numbers(LANE, 1);
    for _ in 0..3 {
        rig.append("bulk", &data(0, 40, 60_000)).unwrap();
        rig = rig.crash();
        assert_eq!(rig.numbers(LANE, 1), found);
        rig = rig.reopen();
        assert_eq!(rig.numbers(LANE, 1), found);
    }
    assert!(rig.segments() > 1);
    assert_eq!(rig.held_at(LANE, 1), Held::Gone, "nothing before it can be lost any more");
    assert_eq!(rig.held_at(LANE, 5), Held::Unknown);
    rig.drop_through(LANE, 4);
    assert_eq!(rig.stretches(LANE, 1, 1).unwrap(), Vec::<Stretch>::new());
    assert_eq!(rig.lane(LANE).declared, 0);
}

#[test]
fn the_ledger_says_which_were_handled_after_all() {
    let hands = Hands::new();
    let rig = hands.rig();
    append(&rig, &[Some(10); 10]);
    hands.pass(10);
    rig.spool.expire(LANE, Number(1));
    until("they are over", || expired(&rig) == 10);
    assert_eq!(rig.lane(LANE).handled(), 0);
    // Seven were on their way: two of them are dead letters, and three were skipped.
    rig.spool.drop_through(LANE, Number(4), 1, 0);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    let state = rig.lane(LANE);
    assert_eq!((state.totals.expired, state.totals.dead_lettered, state.handled()), (6, 1, 3));
    rig.spool.drop_through(LANE, Number(10), 1, 3);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    let rig = rig.reopen();
    let state = rig.lane(LANE);
    assert_eq!((state.totals.expired, state.totals.dead_lettered, state.handled()), (3, 2, 5));
    assert_eq!((state.pending_packets, state.declared), (0, 0));
}
