//! Dead letters of a client: a packet that can never be sent and its letter change places in one
//! commit, in both directions, wherever the power goes and whatever fails (R3, R8, R10).
//!
//! The seed is printed; `CRASH_SEED=n` takes it back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::collections::BTreeMap;

use common::{CrashDisk, Plan, SpoolRig, ask, data, options, until};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Number, Packet};
use paquebot_store::{
    AppendError, ReadError, Resent, SpoolLetter, SpoolLetters, SpoolOptions, Tombstone,
};

const WHY: &str = "longer than it takes";

fn doom(rig: &SpoolRig, lane: Lane, first: u64, through: u64) -> Result<u64, AppendError> {
    let (first, through) = (Number(first), Number(through));
    ask(|reply| rig.spool.dead_letter(lane, first, through, WHY.to_owned(), reply))
}

fn page(rig: &SpoolRig, after: Number) -> Result<SpoolLetters, ReadError> {
    ask(|reply| rig.spool.dead_letters(after, 1, reply))
}

fn letters(rig: &SpoolRig) -> Vec<SpoolLetter> {
    let (mut all, mut next) = (Vec::new(), Some(Number::NONE));
    while let Some(after) = next {
        let page = page(rig, after).unwrap();
        all.extend(page.letters);
        next = page.next;
    }
    all
}

fn resend(rig: &SpoolRig, places: &[Number]) -> Result<Resent, AppendError> {
    ask(|reply| rig.spool.resend_dead_letters(places.to_vec(), reply))
}

fn discard(rig: &SpoolRig, places: &[Number]) -> u64 {
    ask(|reply| rig.spool.discard_dead_letters(places.to_vec(), reply)).unwrap()
}

fn data_of(letter: &SpoolLetter) -> Vec<u8> {
    Packet::decode(&letter.record).unwrap().data.to_vec()
}

#[test]
fn a_packet_that_can_never_be_sent_and_its_letter_change_places_at_once() {
    let rig = SpoolRig::new();
    let all = data(0, 6, 2_000);
    let stored = rig.append("orders.new", &all).unwrap();
    let lane = stored.lane;
    rig.commits.lock().unwrap().clear();
    assert_eq!(doom(&rig, lane, 3, 4), Ok(2));
    assert_eq!(doom(&rig, lane, 3, 4), Ok(0), "they are dead letters already");
    assert_eq!(doom(&rig, lane, 7, 9), Ok(0), "there are no such packets");
    {
        let commits = rig.commits.lock().unwrap();
        let buried: Vec<_> = commits.iter().flat_map(|commit| &commit.buried).collect();
        let of_lane =
            |(of, gone): &&(Lane, Tombstone)| *of == lane && gone.reason == SkipReason::Refused;
        assert!(buried.iter().all(of_lane), "the connection hears of the one lane: {buried:?}");
        let (first, last) = (buried.first().unwrap().1.first, buried.last().unwrap().1.last);
        assert_eq!((first, last), (Number(3), Number(4)));
        assert_eq!(buried.iter().map(|(_, gone)| gone.count()).sum::<u64>(), 2);
        let sent = commits.iter().flat_map(|commit| &commit.runs);
        assert!(sent.into_iter().all(|run| run.lane == lane), "no letter is ever sent");
    }
    let check = |rig: &SpoolRig| {
        let left =
            |number: &u64| (*number < 3 || *number > 4).then(|| all[*number as usize - 1].clone());
        let expected: Vec<_> = (1..=6).map(|number| (number, left(&number))).collect();
        assert_eq!(rig.numbers(lane, 1), expected);
        let found = letters(rig);
        assert_eq!(found.iter().map(data_of).collect::<Vec<_>>(), all[2..4]);
        assert_eq!(
            found.iter().map(|one| one.id).collect::<Vec<_>>(),
            [stored.id_at(2), stored.id_at(3)]
        );
        assert!(found.iter().all(|one| one.reason == WHY && one.target.as_str() == "orders.new"));
        let state = rig.lane(lane);
        assert_eq!((state.totals.dead_lettered, state.pending_packets), (2, 4));
        assert_eq!(rig.spool.lane_states().len(), 1, "the letters' lane is nobody's");
        assert_eq!(rig.spool.status().dead_letters, 2);
        assert_eq!((rig.spool.status().pending_packets, rig.spool.status().lanes), (4, 1));
    };
    check(&rig);
    let rig = rig.reopen();
    check(&rig);
    assert_eq!(rig.opened.letters.as_ref().map(|letters| letters.pending_packets), Some(2));
    let rig = rig.crash();
    check(&rig);
    // The server passes them as skipped: they were not handled.
    rig.spool.drop_through(lane, Number(6), 0, 2);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    let state = rig.lane(lane);
    assert_eq!((state.handled(), state.totals.dead_lettered, state.declared), (4, 2, 0));
    assert_eq!(letters(&rig).len(), 2, "an ack of their tombstone is no end of the letters");
}

#[test]
fn a_letter_that_is_sent_after_all_is_a_new_packet_that_knows_its_first_id() {
    let rig = SpoolRig::new();
    let all = data(0, 4, 500);
    let stored = rig.append("orders.new", &all).unwrap();
    doom(&rig, stored.lane, 1, 4).unwrap();
    let places: Vec<Number> = letters(&rig).iter().map(|letter| letter.place).collect();
    let resent = resend(&rig, &[places[2], places[0], places[2]]).unwrap();
    assert_eq!(resent.stopped, None);
    let now: Vec<u64> = resent.stored.iter().map(|(_, stored)| stored.first.0).collect();
    assert_eq!(resent.stored[0].0, places[2]);
    assert_eq!(now[..2], [5, 6], "in the order that was asked for");
    let check = |rig: &SpoolRig| {
        let left: Vec<_> = letters(rig).iter().map(data_of).collect();
        assert_eq!(left, [all[1].clone(), all[3].clone()]);
        let held = rig.packets(stored.lane, 5);
        assert_eq!(held, [(5, all[2].clone()), (6, all[0].clone())]);
        let run = rig.read(stored.lane, 5, 1).unwrap();
        let (_, record) = run[0].records().find(|(number, _)| number.0 == 5).unwrap();
        let packet = Packet::decode(record).unwrap();
        let first_id = stored.id_at(2).to_string();
        assert_eq!(packet.meta.headers["paquebot-replayed-from"], first_id);
    };
    check(&rig);
    let rig = rig.crash();
    check(&rig);
    // It dies again, and comes back again: its first id stays.
    doom(&rig, stored.lane, 5, 5).unwrap();
    let again = letters(&rig).pop().unwrap();
    let resent = resend(&rig, &[again.place]).unwrap();
    let number = resent.stored[0].1.first;
    let run = rig.read(stored.lane, number.0, 1).unwrap();
    let (_, record) = run[0].records().find(|(at, _)| *at == number).unwrap();
    let first_id =
        Packet::decode(record).unwrap().meta.headers["paquebot-replayed-from"].to_owned();
    assert_eq!(first_id, stored.id_at(2).to_string());
    // What is discarded is gone, and room comes back from the head on.
    let all: Vec<Number> = letters(&rig).iter().map(|letter| letter.place).collect();
    assert_eq!(discard(&rig, &all), 2);
    assert_eq!(discard(&rig, &all), 0);
    assert_eq!(letters(&rig), []);
    rig.append("rig.carrier", &data(0, 1, 1)).unwrap();
    let rig = rig.crash();
    assert_eq!((letters(&rig).len(), rig.spool.status().dead_letters), (0, 0));
    assert_eq!(rig.spool.status().dead_letters_bytes, 0);
}

#[test]
fn letters_have_a_share_and_when_it_is_used_up_the_lane_keeps_its_packets() {
    let options =
        SpoolOptions { max_bytes: 8 << 20, ..SpoolOptions::new(common::dir(), 8 << 20, 10) };
    let rig = SpoolRig::open(CrashDisk::new(1), options).unwrap();
    let lane = rig.append("orders.new", &data(0, 5, 400_000)).unwrap().lane;
    assert_eq!(doom(&rig, lane, 1, 2), Ok(2));
    let refused = doom(&rig, lane, 3, 3).unwrap_err();
    assert!(matches!(refused, AppendError::LaneFull { .. }), "{refused:?}");
    assert_eq!(rig.packets(lane, 3).len(), 3, "nothing was lost for want of room");
    assert_eq!(rig.lane(lane).totals.dead_lettered, 2);
    let first = letters(&rig)[0].place;
    assert_eq!(discard(&rig, &[first]), 1);
    until("its room is back", || doom(&rig, lane, 3, 3) == Ok(1));
    assert_eq!(letters(&rig).iter().map(data_of).collect::<Vec<_>>(), data(1, 2, 400_000));
}

fn small() -> SpoolOptions {
    SpoolOptions { segment_bytes: 384 * 1024, ..options() }
}

/// What was stored, each by its data; of the last one nobody knows.
type Told = Vec<Vec<u8>>;

/// Stores packets, makes dead letters of some, and packets of some of those, until it is done or the
/// disk fails.
fn work(rig: &SpoolRig, rounds: u64) -> Told {
    let mut told = Told::new();
    for round in 0..rounds {
        let some = data(round * 4, 4, 9_000);
        let Ok(stored) = rig.append("orders.new", &some) else { return told };
        told.extend(some);
        let first = stored.first.0;
        if doom(rig, stored.lane, first + 1, first + 1 + round % 2).is_err() {
            return told;
        }
        let Ok(page) = page(rig, Number::NONE) else { return told };
        let place = page.letters.first().map(|letter| letter.place);
        if round % 3 == 2
            && let Some(place) = place
            && resend(rig, &[place]).is_err()
        {
            return told;
        }
    }
    told
}

/// Everything is there exactly once: as a packet, or as a letter.
fn check(rig: &SpoolRig, told: &Told) {
    let mut times: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    if let Some(lane) = rig.lane_of("orders.new") {
        let (acked, numbers) = rig.held_or_gone(lane.lane);
        assert_eq!(acked, 0);
        let gone = numbers.iter().filter(|(_, data)| data.is_none()).count() as u64;
        assert_eq!(lane.totals.dead_lettered, gone, "{lane:?}");
        numbers
            .into_iter()
            .filter_map(|(_, data)| data)
            .for_each(|data| *times.entry(data).or_default() += 1);
        assert_eq!(lane.totals.damaged, 0, "a cut is no damage");
    }
    letters(rig).iter().for_each(|letter| *times.entry(data_of(letter)).or_default() += 1);
    for data in told {
        let found = times.get(data).copied().unwrap_or(0);
        assert_eq!(found, 1, "{}", String::from_utf8_lossy(&data[..9]));
    }
    assert!(times.values().all(|times| *times == 1), "{:?}", times.values());
}

fn seed() -> u64 {
    let seed = std::env::var("CRASH_SEED").map_or_else(
        |_| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        |seed| seed.parse().unwrap(),
    );
    println!("CRASH_SEED={seed}");
    seed
}

#[test]
fn whenever_the_power_goes_each_is_a_packet_or_a_letter_and_never_both() {
    let (seed, rounds) = (seed(), 24);
    let rig = SpoolRig::open(CrashDisk::new(seed), small()).unwrap();
    check(&rig, &work(&rig, rounds));
    assert!(rig.segments() > 1, "too tame a workload");
    rig.spool.close().unwrap();
    let syncs = rig.disk.syncs();
    for at in 1..=syncs {
        let disk = CrashDisk::new(seed.wrapping_add(at));
        disk.plan(Plan::CutAt(at));
        let told = match SpoolRig::open(disk.clone(), small()) {
            Ok(rig) => {
                let told = work(&rig, rounds);
                let _ = rig.spool.close();
                told
            }
            Err(_) => Told::new(),
        };
        let rig = SpoolRig::open(disk.survivor(), small())
            .unwrap_or_else(|error| panic!("cut at sync {at}: {error}"));
        println!("cut at sync {at} of {syncs}");
        check(&rig, &told);
        let rig = rig.crash();
        check(&rig, &told);
        rig.spool.close().unwrap();
    }
}

#[test]
fn whichever_sync_fails_each_is_a_packet_or_a_letter_and_never_both() {
    let (seed, rounds) = (seed(), 12);
    for at in 1..=40 {
        let rig = SpoolRig::open(CrashDisk::new(seed.wrapping_add(at)), small()).unwrap();
        rig.disk.plan(Plan::Fail(at, 1 + at % 3));
        let told = work(&rig, rounds);
        rig.disk.plan(Plan::Work);
        until("it goes on", || rig.spool.status().failed.is_none());
        println!("sync {at} failed");
        check(&rig, &told);
        let rig = rig.crash();
        check(&rig, &told);
        rig.spool.close().unwrap();
    }
}
