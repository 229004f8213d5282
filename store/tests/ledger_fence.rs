//! Proves R7's fence: one opening of a spool counts, the latest; a copy of a spool is told to take a
//! new id; and what an older opening still has in hand is not recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{LedgerRig, client, fence, key, mark};
use paquebot_protocol::SpoolId;
use paquebot_store::{Admitted, Fence, Known, LedgerError, RecordError};

#[test]
fn a_later_opening_is_admitted_and_the_same_one_again() {
    let rig = LedgerRig::new();
    let yes = |known| Ok(Admitted::Yes(known));
    assert_eq!(rig.admit(fence(1, 1, 10)), yes(Known::Not));
    assert_eq!(rig.admit(fence(1, 1, 10)), yes(Known::Before));
    assert_eq!(rig.admit(fence(1, 3, 30)), yes(Known::Before));
    assert_eq!(rig.admit(fence(2, 1, 10)), yes(Known::Not));
}

#[test]
fn an_earlier_opening_and_a_twin_must_take_another_id() {
    let rig = LedgerRig::new();
    rig.admit(fence(1, 3, 30)).unwrap();
    assert_eq!(rig.admit(fence(1, 2, 20)), Ok(Admitted::Rekey));
    assert_eq!(rig.admit(fence(1, 3, 31)), Ok(Admitted::Rekey));
    let rig = rig.crash();
    assert_eq!(rig.admit(fence(1, 3, 31)), Ok(Admitted::Rekey));
    assert_eq!(rig.admit(fence(1, 3, 30)), Ok(Admitted::Yes(Known::Before)));
}

#[test]
fn what_an_older_opening_has_in_hand_is_not_recorded() {
    let rig = LedgerRig::new();
    let (older, newer) = (fence(1, 1, 10), fence(1, 2, 20));
    rig.admit(older).unwrap();
    rig.record(vec![mark(older, 1, 0, 5)], vec![]).unwrap();
    rig.admit(newer).unwrap();
    let fenced = Err(RecordError::Fenced { spool: older.spool });
    assert_eq!(rig.record(vec![mark(older, 1, 5, 9)], vec![]), fenced);
    rig.record(vec![mark(newer, 1, 5, 7)], vec![]).unwrap();
    assert_eq!(rig.cursor(key(newer, 1), 1).cursor.0, 7);
}

#[test]
fn a_spool_that_was_never_admitted_records_nothing() {
    let rig = LedgerRig::new();
    let stranger = fence(9, 1, 1);
    let refused = rig.record(vec![mark(stranger, 1, 0, 5)], vec![]);
    assert_eq!(refused, Err(RecordError::Fenced { spool: stranger.spool }));
}

#[test]
fn a_rekeyed_spool_begins_anew() {
    let rig = LedgerRig::new();
    let (old, new) = (fence(1, 1, 10), fence(2, 1, 10));
    rig.admit(old).unwrap();
    rig.record(vec![mark(old, 1, 0, 50)], vec![]).unwrap();
    let replaces = Some(old.spool);
    let admitted = rig.admit_as("till-17", new, replaces);
    assert_eq!(admitted, Ok(Admitted::Yes(Known::InPlaceOf(old.spool))));
    // It goes on naming the one that it replaces.
    let again = rig.admit_as("till-17", Fence { opened: 2, ..new }, replaces);
    assert_eq!(again, Ok(Admitted::Yes(Known::Before)));
    let found = rig.cursor(key(new, 1), 41);
    assert_eq!((found.cursor.0, found.chain, found.jumped), (40, None, 40));
}

#[test]
fn a_spool_in_place_of_one_that_is_not_on_record_is_new() {
    let rig = LedgerRig::new();
    let admitted = rig.admit_as("till-17", fence(2, 1, 10), Some(SpoolId([1; 16])));
    assert_eq!(admitted, Ok(Admitted::Yes(Known::Not)));
}

#[test]
fn a_client_that_comes_under_another_name_is_known_under_the_former_once() {
    let rig = LedgerRig::new();
    let (first, second, third) = (fence(1, 1, 10), fence(1, 2, 20), fence(1, 3, 30));
    rig.admit_as("till-17", first, None).unwrap();
    let renamed = rig.admit_as("till-18", second, None);
    assert_eq!(renamed, Ok(Admitted::Yes(Known::As(client("till-17")))));
    assert_eq!(rig.admit_as("till-18", second, None), Ok(Admitted::Yes(Known::Before)));
    assert_eq!(rig.admit_as("till-18", third, None), Ok(Admitted::Yes(Known::Before)));
}

#[test]
fn a_client_under_ever_new_spools_is_refused_at_the_limit_and_whoever_is_re_keyed_is_not() {
    let rig = LedgerRig::new();
    let spool = |at: u64| {
        let mut one = fence(1, 1, 1);
        one.spool.0[..8].copy_from_slice(&at.to_be_bytes());
        one
    };
    let (answer, answered) = std::sync::mpsc::channel();
    for at in 0..10_000 {
        let answer = answer.clone();
        let reply = Box::new(move |admitted: Result<_, _>| {
            let _ = answer.send(admitted.is_ok());
        });
        rig.ledger.admit(spool(at), None, client("till-17"), reply);
    }
    assert!((0..10_000).all(|_| answered.recv().unwrap()));
    let refused = |rig: &LedgerRig| {
        let refused = rig.admit_as("till-17", spool(20_000), None).unwrap_err();
        assert_eq!(refused, LedgerError::TooManySpools { client: client("till-17"), max: 10_000 });
    };
    refused(&rig);
    // A spool that is known, another client, and one that lost its name get in.
    assert_eq!(rig.admit(Fence { opened: 2, ..spool(7) }), Ok(Admitted::Yes(Known::Before)));
    assert!(rig.admit_as("till-18", spool(30_000), None).is_ok());
    let heir = rig.admit_as("till-17", spool(40_000), Some(spool(7).spool));
    assert_eq!(heir, Ok(Admitted::Yes(Known::InPlaceOf(spool(7).spool))));
    let rig = rig.reopen();
    refused(&rig);
}
