//! Proves R1 as far as a shutdown and a cut between two commits go (crash.rs cuts inside them):
//! what was answered is there, under the same numbers, and the spool is the same one, opened once
//! more. And R10: a store that cannot be opened is left as it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{CrashDisk, SpoolRig, ask, data, dir, options, segment, target};
use paquebot_protocol::{Lane, Number};
use paquebot_store::{Append, AppendError, OpenError, ReadError};

fn numbered(data: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    (1..).zip(data.iter().cloned()).collect()
}

#[test]
fn what_was_answered_is_there_after_a_shutdown() {
    let rig = SpoolRig::new();
    let sent = data(0, 3_000, 200);
    let stored = rig.append("orders.new", &sent).unwrap();
    let rig = rig.reopen();
    assert_eq!(rig.packets(stored.lane, 1), numbered(&sent));
}

#[test]
fn what_was_answered_is_there_after_a_power_cut() {
    let rig = SpoolRig::new();
    let sent = data(0, 3_000, 200);
    let stored = rig.append("orders.new", &sent).unwrap();
    let rig = rig.crash();
    assert_eq!(rig.packets(stored.lane, 1), numbered(&sent));
    assert_eq!(rig.append("orders.new", &data(0, 1, 1)).unwrap().first, Number(3_001));
}

#[test]
fn every_opening_is_counted_and_has_another_nonce() {
    let rig = SpoolRig::new();
    let first = rig.opened.identity;
    let rig = rig.reopen();
    let second = rig.opened.identity;
    let third = rig.crash().opened.identity;
    assert_eq!((first.opened, second.opened, third.opened), (1, 2, 3));
    assert!(first.spool == second.spool && second.spool == third.spool);
    assert!(first.nonce != second.nonce && second.nonce != third.nonce);
}

#[test]
fn what_became_of_packets_is_remembered() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 10, 100)).unwrap().lane;
    rig.spool.drop_through(lane, Number(4), 3, 0);
    rig.drop_through(lane, 6);
    let rig = rig.crash();
    let state = rig.lane(lane);
    assert_eq!((state.acked_through, state.next), (Number(6), Number(11)));
    assert_eq!((state.totals.dead_lettered, state.pending_packets), (3, 4));
    assert_eq!(rig.opened.lanes, rig.spool.lane_states());
}

#[test]
fn a_drop_reaches_no_further_than_what_is_stored() {
    let rig = SpoolRig::new();
    let lane = rig.append("orders.new", &data(0, 10, 100)).unwrap().lane;
    rig.drop_through(lane, 999);
    assert_eq!(rig.lane(lane).acked_through, Number(10));
    assert_eq!(rig.append("orders.new", &data(0, 1, 1)).unwrap().first, Number(11));
}

#[test]
fn a_directory_is_opened_once_at_a_time() {
    let rig = SpoolRig::new();
    let refused = SpoolRig::open(rig.disk.clone(), options()).err();
    assert!(matches!(&refused, Some(OpenError::Locked { dir: found }) if *found == dir()));
    assert!(refused.unwrap().to_string().contains("/data/client"));
    rig.reopen();
}

#[test]
fn a_closed_spool_answers_everybody() {
    let rig = SpoolRig::new();
    rig.spool.close().unwrap();
    rig.spool.close().unwrap();
    assert_eq!(rig.append("orders.new", &data(0, 1, 1)).err(), Some(AppendError::Closed));
    assert_eq!(rig.read(Lane(1), 1, 1).err(), Some(ReadError::Closed));
    assert_eq!(rig.rekey().err(), Some(AppendError::Closed));
}

#[test]
fn what_waits_when_it_is_closed_is_committed_and_answered() {
    let rig = SpoolRig::new();
    let (batch, target) = (common::batch(&data(0, 5, 10)), target("orders.new"));
    let stored = ask(|reply| {
        rig.spool.append(Append { target, batch, reply });
        rig.spool.close().unwrap();
    });
    let stored = stored.unwrap();
    let rig = SpoolRig::open(rig.disk, options()).unwrap();
    assert_eq!(rig.packets(stored.lane, 1).len(), 5);
}

#[test]
fn a_later_format_is_refused_in_a_sentence() {
    let rig = SpoolRig::new();
    rig.spool.close().unwrap();
    let file = paquebot_store::Disk::open(&rig.disk, &segment(1), false).unwrap();
    let db = redb::Builder::new().create_with_backend(Boxed(file)).unwrap();
    let transaction = db.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let format = 2_u64.to_le_bytes();
    transaction.open_table(meta).unwrap().insert("format", format.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let refused = SpoolRig::open(rig.disk, options()).err().unwrap();
    assert!(matches!(refused, OpenError::TooNew { expected: 1, found: 2, .. }), "{refused}");
}

#[test]
fn a_later_format_is_refused_before_its_file_is_opened_too() {
    let rig = SpoolRig::new();
    rig.spool.close().unwrap();
    let newest = dir().join("spool").join("newest");
    let row = rig.disk.bytes(&newest).unwrap()[8..].to_vec();
    // The format is the first field of an array.
    let mut row = row;
    assert_eq!(row[1], 1);
    row[1] = 2;
    let mut bytes = paquebot_protocol::chain::record_hash(&row).to_le_bytes().to_vec();
    bytes.extend(row);
    rig.disk.put(&newest, bytes);
    let refused = SpoolRig::open(rig.disk, options()).err().unwrap();
    assert!(matches!(refused, OpenError::TooNew { expected: 1, found: 2, .. }), "{refused}");
}

#[test]
fn a_wrecked_active_segment_is_put_aside_as_it_is_and_what_is_whole_in_it_is_held() {
    for at in [0, 9, 100, 5_000, 20_000, 90_000] {
        let rig = SpoolRig::new();
        rig.append("orders.new", &data(0, 1_000, 100)).unwrap();
        rig.append("orders.new", &data(1_000, 1, 100)).unwrap();
        rig.spool.close().unwrap();
        let mut bytes = rig.disk.bytes(&segment(1)).unwrap();
        for byte in &mut bytes[at..at + 4_000] {
            *byte ^= 0x55;
        }
        rig.disk.put(&segment(1), bytes.clone());
        let rig = SpoolRig::open(rig.disk.clone(), options()).unwrap();
        let numbers = rig.numbers(Lane(1), 1);
        assert_eq!(numbers.len(), 1_001);
        let runs = [numbers[0].1.is_some(), numbers[1_000].1.is_some()];
        assert!(runs.contains(&true), "both runs are lost at {at}");
        if rig.opened.identity.replaces.is_some() {
            common::until("it is put aside", || !rig.disk.names().contains(&segment(1)));
            let kept = dir().join("quarantine").join("00000001.seg");
            common::until("it is kept", || rig.disk.bytes(&kept).is_some());
            assert!(rig.disk.bytes(&kept) == Some(bytes), "it was written to");
        }
    }
}

#[test]
fn an_empty_segment_is_not_taken_for_a_new_spool() {
    let rig = SpoolRig::new();
    let before = rig.opened.identity.spool;
    rig.spool.close().unwrap();
    rig.disk.put(&segment(1), Vec::new());
    let rig = SpoolRig::open(rig.disk, options()).unwrap();
    assert_eq!(rig.opened.identity.replaces, Some(before));
}

#[test]
fn half_made_segments_are_cleared_away() {
    let disk = CrashDisk::new(3);
    let rig = SpoolRig::open(disk.clone(), options()).unwrap();
    rig.spool.close().unwrap();
    let left = dir().join("spool").join("00000002.tmp");
    paquebot_store::Disk::open(&disk, &left, true).unwrap();
    let rig = SpoolRig::open(disk, options()).unwrap();
    assert_eq!(rig.opened.notes, ["removed 00000002.tmp, which was never finished"]);
    assert!(rig.disk.bytes(&left).is_none());
}

#[derive(Debug)]
struct Boxed(Box<dyn redb::StorageBackend>);

impl redb::StorageBackend for Boxed {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}
