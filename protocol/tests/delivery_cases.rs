//! What happens to packets in the cases that the rules were made for: a handler that fails, a link
//! that breaks while an attempt runs, a crash on either side, a ledger or a spool that was restored.
//! `delivery_model.rs` proves the same for every mixture; here one can read what comes out.

mod common;

use common::{Options, Pair};
use paquebot_protocol::{Lane, Millis, Number};

const LANE: Lane = Lane(1);
const OTHER: Lane = Lane(2);

fn pair() -> Pair {
    Pair::new(Options::default())
}

/// How many packets went out at a time under a generation.
fn sizes_sent(pair: &Pair, generation: u32) -> Vec<u64> {
    let sent = pair.client.sent.iter().filter(|sent| sent.generation == generation);
    sent.map(|sent| sent.through.since(sent.first.before())).collect()
}

#[test]
fn what_was_stored_is_handled_in_order_and_dropped() {
    let mut pair = pair();
    pair.store(LANE, 3);
    pair.store(OTHER, 2);
    pair.store(LANE, 2);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 6, 7]);
    assert_eq!(pair.handled(OTHER), [4, 5]);
    assert_eq!(pair.cursor(LANE), Some(Number(5)));
}

#[test]
fn what_was_stored_without_a_connection_goes_out_with_the_next_one() {
    let mut pair = pair();
    pair.cut();
    pair.store(LANE, 3);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [0_u64; 0]);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3]);
}

#[test]
fn a_failing_handler_pauses_its_lane_and_no_other() {
    let mut pair = pair();
    pair.fail_handler(LANE);
    pair.store(LANE, 3);
    pair.store(OTHER, 3);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [0_u64; 0]);
    assert_eq!(pair.handled(OTHER), [4, 5, 6]);
}

#[test]
fn a_paused_lane_sends_nothing_before_its_time() {
    let mut pair = pair();
    pair.fail_handler(LANE);
    pair.store(LANE, 3);
    pair.run_dry();
    pair.heal_handler(LANE);
    pair.store(LANE, 1);
    pair.wait(Millis(999));
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [0_u64; 0]);
    pair.wait(Millis(1));
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4]);
}

#[test]
fn a_paused_lane_resumes_with_one_packet_and_doubles_with_each_ack() {
    let mut pair = pair();
    pair.fail_handler(LANE);
    pair.store(LANE, 40);
    pair.run_dry();
    pair.heal_handler(LANE);
    pair.wait(Millis(1_000));
    pair.run_dry();
    assert_eq!(sizes_sent(&pair, 1), [40]);
    assert_eq!(sizes_sent(&pair, 2), [1, 2, 4, 8, 16, 9]);
    assert_eq!(pair.handled(LANE), (1..=40).collect::<Vec<u64>>());
}

#[test]
fn the_half_that_was_handled_before_a_failure_is_not_sent_again() {
    let mut pair = pair();
    pair.stumble_handler(LANE);
    pair.store(LANE, 6);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2, 3]);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5, 6]);
    let resent: Vec<_> = pair.client.sent.iter().skip(1).map(|sent| sent.first).collect();
    assert_eq!(resent.first(), Some(&Number(4)));
}

#[test]
fn what_a_long_attempt_has_handled_so_far_is_dropped_while_it_goes_on() {
    let mut pair = pair();
    pair.creep_handler(LANE);
    pair.store(LANE, 8);
    while pair.client.spool.lanes[&LANE].acked_through < Number(4) {
        assert!(pair.step(0), "there is always more to do");
    }
    assert_eq!(pair.handled(LANE)[..4], [1, 2, 3, 4]);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), (1..=8).collect::<Vec<u64>>());
    assert_eq!(pair.client.sent.len(), 1, "something was sent again");
}

#[test]
fn a_long_attempt_that_outlives_its_link_holds_its_lane_to_the_end() {
    let mut pair = pair();
    pair.creep_handler(LANE);
    pair.store(LANE, 8);
    while pair.cursor(LANE) < Some(Number(4)) {
        assert!(pair.step(0), "there is always more to do");
    }
    // A part of it has its outcome. The rig forbids a second attempt before the rest has one, too.
    pair.delay_handler(LANE);
    pair.cut();
    pair.reconnect();
    pair.run_dry();
    pair.creep_handler(LANE);
    pair.settle();
    assert_eq!(pair.handled(LANE), (1..=8).collect::<Vec<u64>>());
}

#[test]
fn a_refused_run_stops_its_lane_alone_and_what_was_under_way_before_it_counts() {
    let mut pair = pair();
    pair.delay_handler(LANE);
    pair.store(LANE, 2);
    pair.run_dry();
    pair.refuse_run(LANE);
    pair.store(LANE, 2);
    pair.store(LANE, 2);
    pair.store(OTHER, 1);
    pair.run_dry();
    pair.heal_handler(LANE);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2]);
    assert_eq!(pair.handled(OTHER), [7]);
    assert_eq!(pair.client.spool.lanes[&LANE].acked_through, Number(2));
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_lane_for_which_there_is_no_room_waits_alone_and_what_was_under_way_counts() {
    let mut pair = pair();
    pair.delay_handler(LANE);
    pair.store(LANE, 2);
    pair.run_dry();
    pair.put_off(LANE);
    pair.store(LANE, 2);
    pair.store(LANE, 2);
    pair.store(OTHER, 1);
    pair.run_dry();
    assert_eq!(pair.handled(OTHER), [7]);
    pair.heal_handler(LANE);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2], "what was under way counts, the rest is put off");
    pair.wait(Millis(1_000));
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5, 6]);
    assert_eq!(sizes_sent(&pair, 2), [1, 1, 2], "it resumes with one packet");
}

#[test]
fn a_lane_that_is_opened_again_waits_for_the_attempt_that_still_runs() {
    let mut pair = pair();
    pair.delay_handler(LANE);
    pair.store(LANE, 2);
    pair.run_dry();
    pair.refuse_run(LANE);
    pair.store(LANE, 2);
    pair.run_dry();
    // The client opens the lane again on the same connection, and the rig forbids a second attempt.
    pair.wait(Millis(300_000));
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [0_u64; 0]);
    pair.heal_handler(LANE);
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4]);
    assert_eq!(sizes_sent(&pair, 2), [1, 1], "what the attempt handled was sent again");
}

#[test]
fn an_attempt_that_outlives_its_link_counts_and_is_not_repeated() {
    let mut pair = pair();
    pair.delay_handler(LANE);
    pair.store(LANE, 3);
    pair.run_dry();
    pair.cut();
    pair.reconnect();
    pair.store(LANE, 2);
    pair.store(OTHER, 1);
    // The rig forbids two attempts at once: the new session has to wait, in this lane alone.
    pair.run_dry();
    assert_eq!(pair.handled(LANE), [0_u64; 0]);
    assert_eq!(pair.handled(OTHER), [6]);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5]);
    let firsts: Vec<_> = pair.client.sent.iter().filter(|sent| sent.lane == LANE).collect();
    assert_eq!(firsts.len(), 2, "the first three were sent again: {firsts:?}");
}

#[test]
fn an_attempt_that_fails_after_its_link_broke_is_repeated_over_the_next_one() {
    let mut pair = pair();
    pair.delay_handler(LANE);
    pair.store(LANE, 3);
    pair.run_dry();
    pair.cut();
    pair.reconnect();
    pair.run_dry();
    pair.fail_handler(LANE);
    pair.run_dry();
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3]);
}

#[test]
fn an_ack_that_was_lost_costs_no_second_effect_and_no_second_sending() {
    let mut pair = pair();
    pair.store(LANE, 3);
    while pair.cursor(LANE) != Some(Number(3)) {
        assert!(pair.step(0), "there is always more to do");
    }
    pair.cut();
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3]);
    assert_eq!(pair.client.sent.len(), 1);
}

#[test]
fn a_client_that_crashes_sends_again_and_the_effects_stand_once() {
    let mut pair = pair();
    pair.store(LANE, 3);
    pair.delay_handler(LANE);
    pair.run_dry();
    pair.crash_client();
    pair.store(LANE, 2);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5]);
    assert_eq!(pair.client.rekeyed, 0);
}

#[test]
fn a_server_that_crashes_between_effect_and_record_repeats_the_effect_in_order() {
    let mut pair = Pair::new(Options { exactly_once: false, ..Options::default() });
    pair.store(LANE, 2);
    while pair.handled(LANE).is_empty() {
        assert!(pair.step(0), "there is always more to do");
    }
    pair.crash_server();
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 1, 2]);
}

#[test]
fn a_tombstone_between_runs_is_passed_in_its_place() {
    let mut pair = pair();
    pair.cut();
    pair.store(LANE, 2);
    pair.store(LANE, 3);
    pair.expire(LANE, 3);
    pair.store(LANE, 1);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 6]);
    assert_eq!(pair.cursor(LANE), Some(Number(6)));
    let skipped: Vec<bool> = pair.client.sent.iter().map(|sent| sent.skipped).collect();
    assert_eq!(skipped, [false, true, false]);
}

#[test]
fn a_tombstone_for_packets_that_were_half_handled_covers_the_rest() {
    let mut pair = pair();
    pair.stumble_handler(LANE);
    pair.store(LANE, 4);
    pair.run_dry();
    pair.expire(LANE, 2);
    pair.store(LANE, 1);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 5]);
}

#[test]
fn a_ledger_that_lost_a_lane_goes_on_where_the_client_stands_and_counts_it() {
    let mut pair = pair();
    pair.store(LANE, 5);
    pair.settle();
    pair.forget_lane(LANE);
    pair.store(LANE, 3);
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(pair.server.ledger.elsewhere, 5);
    assert_eq!(pair.client.rekeyed, 0);
}

#[test]
fn a_restored_spool_behind_the_ledger_is_found_out_and_rekeyed() {
    let mut pair = pair();
    pair.store(LANE, 3);
    pair.settle();
    let copy = pair.client.spool.clone();
    pair.store(LANE, 4);
    pair.settle();
    pair.restore_spool(copy);
    pair.store(LANE, 2);
    pair.settle();
    assert_eq!(pair.client.rekeyed, 1);
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_restored_spool_that_caught_up_in_numbers_is_found_out_all_the_same() {
    let mut pair = pair();
    pair.store(LANE, 3);
    pair.settle();
    let copy = pair.client.spool.clone();
    pair.store(LANE, 4);
    pair.settle();
    pair.restore_spool(copy);
    pair.store(LANE, 6);
    pair.settle();
    assert_eq!(pair.client.rekeyed, 1);
    assert_eq!(pair.handled(LANE), (1..=13).collect::<Vec<u64>>());
}

#[test]
fn with_no_window_at_all_lanes_drain_run_by_run() {
    let (window_bytes, budget_bytes) = (0, 0);
    let mut pair = Pair::new(Options { window_bytes, budget_bytes, ..Options::default() });
    for lane in [LANE, OTHER, LANE, OTHER, LANE] {
        pair.store(lane, 2);
    }
    pair.settle();
    assert_eq!(pair.handled(LANE), [1, 2, 5, 6, 9, 10]);
    assert_eq!(pair.handled(OTHER), [3, 4, 7, 8]);
}

// The client would take what an older ledger had passed by skips for what the new one passed, and
// packets that expired for packets that were handled.
#[test]
fn a_ledger_that_lost_a_lane_counts_what_it_skips_anew() {
    let mut pair = pair();
    pair.cut();
    pair.store(LANE, 3);
    pair.expire(LANE, 2);
    pair.settle();
    pair.forget_lane(LANE);
    pair.store(LANE, 3);
    pair.expire(LANE, 1);
    pair.settle();
    let totals = pair.client.spool.lanes[&LANE].totals;
    assert_eq!((totals.accepted, totals.handled, totals.gone), (6, 3, [3, 0, 0, 0, 0]));
}

// Half of a run was handled, then its packets expired, then the link broke: within a tombstone the
// chain is lost, and what stands before it cannot be proved to be the ledger's.
#[test]
fn a_cursor_within_a_tombstone_behind_packets_that_are_held_costs_a_new_name() {
    let mut pair = pair();
    pair.store(LANE, 2);
    pair.store(LANE, 4);
    while pair.cursor(LANE) != Some(Number(2)) {
        assert!(pair.step(0), "there is always more to do");
    }
    pair.stumble_handler(LANE);
    while pair.cursor(LANE) != Some(Number(4)) {
        assert!(pair.step(pair.server_job()), "there is always more to do");
    }
    pair.cut();
    pair.expire(LANE, 4);
    pair.settle();
    assert_eq!((pair.client.rekeyed, pair.doubts_within_tombstones), (1, 1));
    assert_eq!(pair.handled(LANE), [1, 2, 3, 4, 1, 2]);
}
