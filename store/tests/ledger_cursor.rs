//! Proves the cursor's half of R4, R6 and R8: it is where the last record put it, it moves only from
//! where a record says that it is, and what it jumps over is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper that panics fails its test"
)]

mod common;

use common::{LedgerRig, fence, key, letter, mark};
use paquebot_protocol::Number;
use paquebot_store::{CursorAt, RecordError};

#[test]
fn an_unknown_lane_is_at_its_beginning() {
    let rig = LedgerRig::new();
    let found = rig.cursor(key(fence(1, 1, 1), 1), 1);
    let expected = CursorAt {
        cursor: Number(0),
        chain: None,
        dead: vec![],
        jumped: 0,
        skipped: 0,
        tried: None,
    };
    assert_eq!(found, expected);
}

#[test]
fn a_cursor_is_where_the_last_record_put_it() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 5)], vec![]).unwrap();
    rig.record(vec![mark(fence, 1, 5, 9), mark(fence, 2, 0, 3)], vec![]).unwrap();
    let rig = rig.crash();
    let found = rig.cursor(key(fence, 1), 1);
    assert_eq!((found.cursor, found.chain), (Number(9), Some(mark(fence, 1, 5, 9).chain)));
    assert_eq!(rig.cursor(key(fence, 2), 1).cursor, Number(3));
    assert_eq!(rig.cursor(key(fence, 2), 4).cursor, Number(3));
}

#[test]
fn a_cursor_moves_only_from_where_it_is() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 5)], vec![]).unwrap();
    for from in [0, 4, 6] {
        let (key, expected) = (key(fence, 1), Number(from));
        let moved = RecordError::Moved { key, expected, found: Number(5) };
        assert_eq!(rig.record(vec![mark(fence, 1, from, 9)], vec![]), Err(moved));
    }
    assert_eq!(rig.cursor(key(fence, 1), 1).cursor, Number(5));
    let back = paquebot_store::Mark { through: Number(3), ..mark(fence, 1, 5, 5) };
    assert!(matches!(rig.record(vec![back], vec![]), Err(RecordError::Moved { .. })));
}

#[test]
fn a_cursor_behind_what_the_client_holds_jumps_durably_and_says_so() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    rig.record(vec![mark(fence, 1, 0, 5)], vec![]).unwrap();
    let found = rig.cursor(key(fence, 1), 101);
    let expected = CursorAt {
        cursor: Number(100),
        chain: None,
        dead: vec![],
        jumped: 95,
        skipped: 0,
        tried: None,
    };
    assert_eq!(found, expected);
    let rig = rig.crash();
    let found = rig.cursor(key(fence, 1), 101);
    assert_eq!((found.cursor, found.jumped), (Number(100), 0));
    rig.record(vec![mark(fence, 1, 100, 101)], vec![]).unwrap();
}

#[test]
fn the_dead_letters_between_the_asked_number_and_the_cursor_are_told() {
    let rig = LedgerRig::new();
    let fence = fence(1, 1, 1);
    rig.admit(fence).unwrap();
    let dead = [2, 4, 9].map(|number| letter(fence, 1, number)).to_vec();
    rig.record(vec![mark(fence, 1, 0, 10), mark(fence, 2, 0, 10)], dead).unwrap();
    assert_eq!(rig.cursor(key(fence, 1), 1).dead, [2, 4, 9].map(Number));
    assert_eq!(rig.cursor(key(fence, 1), 3).dead, [4, 9].map(Number));
    assert_eq!(rig.cursor(key(fence, 1), 11).dead, []);
    assert_eq!(rig.cursor(key(fence, 2), 1).dead, []);
}
