//! Proves that damage is local, declared and never passed on (R10): a damaged run costs itself, a
//! missing or torn segment what nobody else holds, a damaged or lost newest segment what only its
//! tables knew; the bytes go into the quarantine, and the lane goes on by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use std::sync::mpsc;

use common::{CrashDisk, Plan, SpoolRig, data, dir, segment, until};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Number};
use paquebot_store::{Disk, ReadError, Stretch};

const LANE: Lane = Lane(1);

/// 5,000 packets in one lane, over several segments; closed.
fn filled() -> SpoolRig {
    let rig = SpoolRig::new();
    for part in 0..50 {
        rig.append("orders.new", &data(part * 100, 100, 1_000)).unwrap();
    }
    rig.spool.close().unwrap();
    rig
}

/// Flips a bit in the data of packet `number`, wherever it lies; gives the segment.
fn flip(disk: &CrashDisk, number: u64) -> u64 {
    let wanted = &data(number - 1, 1, 1_000)[0];
    for of in 1..100 {
        let Some(mut bytes) = disk.bytes(&segment(of)) else { continue };
        let found = bytes.windows(wanted.len()).position(|window| window == &wanted[..]);
        if let Some(at) = found {
            bytes[at + 500] ^= 1;
            disk.put(&segment(of), bytes);
            return of;
        }
    }
    panic!("packet {number} is nowhere");
}

fn open(disk: &CrashDisk) -> SpoolRig {
    SpoolRig::open(disk.clone(), common::options()).unwrap()
}

/// The numbers that are declared gone; the others hold what was stored under them.
fn declared(rig: &SpoolRig) -> Vec<u64> {
    let numbers = rig.numbers(LANE, 1);
    assert!(numbers.iter().map(|(number, _)| *number).eq(1..=numbers.len() as u64));
    let mut declared = Vec::new();
    for (number, found) in numbers {
        match found {
            Some(found) => assert!(found == data(number - 1, 1, 1_000)[0], "packet {number}"),
            None => declared.push(number),
        }
    }
    declared
}

fn quarantined(rig: &SpoolRig) -> Vec<String> {
    rig.disk.list(&dir().join("quarantine")).unwrap()
}

fn report(rig: &SpoolRig) -> String {
    let report = rig.disk.bytes(&dir().join("quarantine/report.ndjson")).unwrap_or_default();
    String::from_utf8(report).unwrap()
}

#[test]
fn a_damaged_run_of_a_sealed_segment_is_kept_aside_and_declared_and_its_lane_goes_on() {
    let disk = filled().disk;
    let of = flip(&disk, 200);
    let rig = open(&disk);
    let declared = declared(&rig);
    assert!(declared.contains(&200) && declared.len() <= 100, "{declared:?}");
    let (first, last) = (declared[0], declared[declared.len() - 1]);
    let name = format!("{of:08}-1-{first}-{last}.run");
    assert!(quarantined(&rig).contains(&name), "{:?}", quarantined(&rig));
    let report = report(&rig);
    assert_eq!(report.lines().count(), 1, "{report}");
    assert!(report.contains(&format!(r#""first":{first},"last":{last}"#)), "{report}");
    assert!(report.contains(r#""target":"orders.new""#) && report.contains("T"), "{report}");
    let totals = rig.lane(LANE).totals;
    assert_eq!(totals.damaged, declared.len() as u64);
    assert_eq!(rig.lane(LANE).pending_packets, 5_000 - declared.len() as u64);
    let status = rig.spool.status();
    assert!(status.failed.is_none() && status.quarantine.files == 1);
    assert!(status.quarantine.last.unwrap().contains("packets"));
    let commits = rig.commits.lock().unwrap().iter().any(|commit| {
        !commit.notes.is_empty()
            && commit.buried.iter().any(|(_, one)| one.reason == SkipReason::Damaged)
    });
    assert!(commits, "nobody was told");
    assert!(rig.disk.names().contains(&segment(of)), "its neighbours were moved");
    let rig = rig.reopen();
    assert!(rig.opened.damage.is_empty(), "{:?}", rig.opened.damage);
    assert_eq!(self::declared(&rig), declared);
}

#[test]
fn everybody_who_asks_for_what_is_damaged_is_answered() {
    let disk = filled().disk;
    flip(&disk, 200);
    let rig = open(&disk);
    let (answers, answered) = mpsc::channel();
    for _ in 0..20 {
        let answers = answers.clone();
        let reply = Box::new(move |found: Result<Vec<Stretch>, ReadError>| {
            answers.send(found.map(|stretches| stretches.len())).unwrap();
        });
        rig.spool.read(LANE, Number(200), 1, reply);
    }
    for _ in 0..20 {
        assert_eq!(answered.recv().unwrap(), Ok(1));
    }
}

#[test]
fn damage_that_comes_while_the_spool_is_open_is_declared_too() {
    let rig = SpoolRig::open(filled().disk, common::options()).unwrap();
    assert!(declared(&rig).is_empty());
    flip(&rig.disk, 300);
    let declared = declared(&rig);
    assert!(declared.contains(&300) && declared.len() <= 100, "{declared:?}");
}

#[test]
fn a_missing_segment_is_declared_at_the_opening() {
    let disk = filled().disk;
    disk.remove(&segment(2)).unwrap();
    let rig = open(&disk);
    assert!(rig.opened.damage.iter().any(|note| note.contains("segment 2 is gone")));
    until("it is declared", || rig.lane(LANE).totals.damaged > 0);
    let declared = declared(&rig);
    assert_eq!(declared.len() as u64, rig.lane(LANE).totals.damaged);
    assert!(declared.windows(2).all(|pair| pair[0] + 1 == pair[1]), "more than one hole");
    assert!(declared[0] > 1 && declared.len() < 3_000);
    let rig = rig.reopen();
    assert_eq!(self::declared(&rig), declared);
}

#[test]
fn a_torn_segment_is_moved_on_and_put_aside() {
    let disk = filled().disk;
    let bytes = disk.bytes(&segment(1)).unwrap();
    disk.put(&segment(1), bytes[..bytes.len() / 2].to_vec());
    let rig = open(&disk);
    let declared = declared(&rig);
    assert!(!declared.is_empty() && declared.len() < 2_000, "{}", declared.len());
    until("it is put aside", || !rig.disk.names().contains(&segment(1)));
    until("it is in the quarantine", || quarantined(&rig).contains(&"00000001.seg".to_owned()));
    assert_eq!(self::declared(&rig), declared);
    let rig = rig.reopen();
    assert_eq!(self::declared(&rig), declared);
}

#[test]
fn a_damaged_newest_segment_costs_the_damaged_run_and_the_spool_its_id() {
    let before = filled();
    let disk = before.disk.clone();
    let of = flip(&disk, 5_000);
    assert!(!disk.names().contains(&segment(of + 1)), "it is the newest one");
    let rig = open(&disk);
    let identity = rig.opened.identity;
    assert_eq!(identity.replaces, Some(before.opened.identity.spool), "{:?}", rig.opened.damage);
    assert_ne!(identity.spool, before.opened.identity.spool);
    assert!(identity.opened > before.opened.identity.opened);
    let declared = declared(&rig);
    assert!(declared.contains(&5_000) && declared.len() <= 100, "{declared:?}");
    let next = rig.append("orders.new", &data(0, 1, 10)).unwrap();
    assert_eq!((next.lane, next.first), (LANE, Number(5_001)));
    until("it is put aside", || !rig.disk.names().contains(&segment(of)));
    until("it is kept", || quarantined(&rig).contains(&format!("{of:08}.seg")));
    let rig = rig.reopen();
    assert_eq!(rig.opened.identity.spool, identity.spool, "{:?}", rig.opened.damage);
}

#[test]
fn a_lost_newest_segment_is_seen_and_the_spool_takes_a_new_id() {
    let before = filled();
    let disk = before.disk.clone();
    let newest = (1..).find(|number| !disk.names().contains(&segment(*number))).unwrap() - 1;
    disk.remove(&segment(newest)).unwrap();
    let rig = open(&disk);
    assert_eq!(rig.opened.identity.replaces, Some(before.opened.identity.spool));
    assert!(
        rig.opened.damage.iter().any(|note| note.contains("is gone")),
        "{:?}",
        rig.opened.damage
    );
    assert!(declared(&rig).is_empty());
    let next = rig.lane(LANE).next;
    assert!(next > Number(100) && next < Number(5_001), "{next}");
    // Its number is not used again.
    assert!(rig.disk.names().contains(&segment(newest + 1)));
    let rig = rig.reopen();
    assert!(rig.opened.damage.is_empty(), "{:?}", rig.opened.damage);
}

#[test]
fn a_spool_of_which_nothing_is_left_says_whose_it_was() {
    let before = filled();
    for name in before.disk.names().iter().filter(|name| name.extension().is_some()) {
        before.disk.remove(name).unwrap();
    }
    let rig = open(&before.disk);
    assert_eq!(rig.opened.identity.replaces, Some(before.opened.identity.spool));
    assert!(rig.opened.lanes.is_empty());
}

#[test]
fn a_tombstone_of_the_lost_tables_is_found_and_hides_what_it_hid() {
    let rig = filled().reopen();
    assert_eq!(rig.bury(LANE, 4_500, 4_505, SkipReason::Purged), 6);
    rig.spool.close().unwrap();
    let of = flip(&rig.disk, 4_950);
    assert!(!rig.disk.names().contains(&segment(of + 1)), "it is the newest one");
    let rig = open(&rig.disk);
    assert!(rig.opened.identity.replaces.is_some());
    let declared = declared(&rig);
    assert!((4_500..=4_505).all(|number| declared.contains(&number)), "{declared:?}");
    assert_eq!(rig.lane(LANE).totals.purged, 6);
}

#[test]
fn after_a_failed_sync_what_the_segment_held_is_written_anew() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 500, 1_000)).unwrap();
    rig.disk.plan(Plan::Fail(1, 1));
    assert!(rig.append("orders.new", &data(500, 1, 1_000)).is_err());
    until("it is moved on", || !rig.disk.names().contains(&segment(1)));
    assert_eq!(rig.packets(LANE, 1).len(), 500);
    assert!(quarantined(&rig).is_empty(), "{:?}", quarantined(&rig));
}

#[test]
fn a_segment_whose_sync_failed_is_not_written_to_by_the_next_opening_either() {
    let rig = SpoolRig::new();
    rig.append("orders.new", &data(0, 500, 1_000)).unwrap();
    rig.disk.plan(Plan::Fail(1, u64::MAX));
    assert!(rig.append("orders.new", &data(500, 1, 1_000)).is_err());
    let _ = rig.spool.close();
    rig.disk.plan(Plan::Work);
    // The page cache outlives the process.
    let disk = rig.disk.copy();
    let before = disk.bytes(&segment(1)).unwrap();
    let mut options = common::options();
    options.tidy_every = std::time::Duration::from_secs(3600);
    let rig = SpoolRig::open(disk, options).unwrap();
    assert!(rig.disk.bytes(&segment(1)).unwrap() == before, "it was written to");
    assert!(rig.opened.damage.iter().any(|note| note.contains("not trusted")));
    assert!(rig.packets(LANE, 1).len() >= 500);
    rig.spool.close().unwrap();
    let rig = open(&rig.disk);
    until("it is moved on", || !rig.disk.names().contains(&segment(1)));
    assert!(rig.packets(LANE, 1).len() >= 500);
}

#[test]
fn a_read_is_answered_with_the_tombstone_once_that_is_durable() {
    let disk = filled().disk;
    flip(&disk, 200);
    let rig = open(&disk);
    let stretches = rig.stretches(LANE, 200, 1).unwrap();
    let Stretch::Tombstone(tombstone) = stretches[0] else { panic!("{stretches:?}") };
    assert_eq!(tombstone.reason, SkipReason::Damaged);
    let rig = rig.crash();
    assert_eq!(rig.stretches(LANE, 200, 1).unwrap(), stretches);
}
