//! A lane has one holder at a time; later sessions stand in line for it, and for it alone (R7).

use paquebot_protocol::lease::{Leases, SessionId};
use paquebot_protocol::{Lane, LaneKey, SpoolId};

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const C: SessionId = SessionId(3);

fn key(lane: u64) -> LaneKey {
    LaneKey { spool: SpoolId([7; 16]), lane: Lane(lane) }
}

#[test]
fn a_free_lane_is_held_at_once_and_a_held_one_is_waited_for() {
    let mut leases = Leases::default();
    assert!(leases.acquire(key(1), A));
    assert!(!leases.acquire(key(1), B));
    assert!(leases.holds(key(1), A));
    assert!(!leases.holds(key(1), B));
}

#[test]
fn the_holder_may_ask_again() {
    let mut leases = Leases::default();
    assert!(leases.acquire(key(1), A));
    assert!(leases.acquire(key(1), A));
    assert_eq!(leases.release(key(1), A), None);
    assert!(!leases.holds(key(1), A));
}

#[test]
fn a_lane_goes_to_those_in_line_in_their_order() {
    let mut leases = Leases::default();
    for session in [A, B, C, B] {
        leases.acquire(key(1), session);
    }
    assert_eq!(leases.release(key(1), A), Some(B));
    assert!(leases.holds(key(1), B));
    assert_eq!(leases.release(key(1), B), Some(C));
    assert_eq!(leases.release(key(1), C), None);
    assert!(leases.acquire(key(1), A));
}

#[test]
fn whoever_leaves_the_line_is_passed_over() {
    let mut leases = Leases::default();
    for session in [A, B, C] {
        leases.acquire(key(1), session);
    }
    assert_eq!(leases.release(key(1), B), None);
    assert!(leases.holds(key(1), A), "leaving the line took the lane from its holder");
    assert_eq!(leases.release(key(1), A), Some(C));
}

#[test]
fn a_release_of_what_is_not_held_changes_nothing() {
    let mut leases = Leases::default();
    leases.acquire(key(1), A);
    assert_eq!(leases.release(key(1), C), None);
    assert_eq!(leases.release(key(2), A), None);
    assert!(leases.holds(key(1), A));
}

#[test]
fn a_held_lane_holds_up_no_other_lane_and_no_other_spool() {
    let mut leases = Leases::default();
    let elsewhere = LaneKey { spool: SpoolId([8; 16]), lane: Lane(1) };
    assert!(leases.acquire(key(1), A));
    assert!(leases.acquire(key(2), B));
    assert!(leases.acquire(elsewhere, B));
}

#[test]
fn nothing_is_left_of_a_lane_that_nobody_holds() {
    let mut leases = Leases::default();
    leases.acquire(key(1), A);
    leases.acquire(key(1), B);
    leases.release(key(1), A);
    leases.release(key(1), B);
    assert_eq!(leases, Leases::default());
}
