//! A window lets one run pass at least and its limit and one run at most (R11); a heartbeat asks
//! after silence and gives up after more of it.

use paquebot_protocol::Millis;
use paquebot_protocol::heartbeat::{Beat, Heartbeat};
use paquebot_protocol::window::Window;

#[test]
fn a_window_is_open_until_its_limit_is_in_flight() {
    let mut window = Window::new(100);
    window.take(99);
    assert!(window.is_open());
    window.take(50);
    assert!(!window.is_open());
    assert_eq!(window.used_bytes(), 149);
    window.give_back(50);
    assert!(window.is_open());
}

#[test]
fn a_window_with_nothing_in_flight_is_open_however_small_it_is() {
    let mut window = Window::new(0);
    assert!(window.is_open());
    window.take(1);
    assert!(!window.is_open());
    window.give_back(1);
    assert!(window.is_open());
}

#[test]
fn a_window_without_a_ramp_limits_no_number_of_packets() {
    assert_eq!(Window::new(1).packets_max(), u64::MAX);
}

#[test]
fn a_ramp_lets_one_thing_through_at_a_time_and_doubles_it_with_each_ack() {
    let mut window = Window::ramping(1_000);
    for packets in [1, 2, 4, 8] {
        assert_eq!(window.packets_max(), packets);
        window.take(10);
        assert!(!window.is_open(), "a second one may go at {packets} packets");
        window.give_back(10);
        assert!(window.is_open());
    }
}

#[test]
fn a_ramp_ends() {
    let mut window = Window::ramping(1_000);
    let mut acks = 0;
    while window.packets_max() != u64::MAX {
        window.take(10);
        window.give_back(10);
        acks += 1;
        assert!(acks < 64, "there is no end to it");
    }
    window.take(10);
    assert!(window.is_open());
}

#[test]
fn giving_back_more_than_was_taken_frees_no_more_than_there_is() {
    let mut window = Window::new(100);
    window.take(10);
    window.give_back(50);
    assert_eq!(window.used_bytes(), 0);
    window.take(100);
    assert!(!window.is_open());
}

const PING_AFTER: Millis = Millis(100);
const DEAD_AFTER: Millis = Millis(350);

fn heartbeat() -> Heartbeat {
    Heartbeat::new(Millis(1_000), PING_AFTER, DEAD_AFTER)
}

#[test]
fn silence_is_asked_once_per_interval_and_then_taken_for_death() {
    let mut heartbeat = heartbeat();
    let mut beats = Vec::new();
    for now in 1_000..1_360 {
        beats.extend(heartbeat.poll(Millis(now)).map(|beat| (now, beat)));
    }
    let deaths = beats.split_off(3);
    assert_eq!(beats, [(1_100, Beat::Ping), (1_200, Beat::Ping), (1_300, Beat::Ping)]);
    assert_eq!(deaths.first(), Some(&(1_350, Beat::Dead)));
}

#[test]
fn whoever_is_heard_is_neither_asked_nor_dead() {
    let mut heartbeat = heartbeat();
    for now in 1_000..2_000 {
        if now % 99 == 0 {
            heartbeat.heard(Millis(now));
        }
        assert_eq!(heartbeat.poll(Millis(now)), None);
    }
}

#[test]
fn an_answer_to_a_ping_ends_the_doubt() {
    let mut heartbeat = heartbeat();
    assert_eq!(heartbeat.poll(Millis(1_340)), Some(Beat::Ping));
    heartbeat.heard(Millis(1_345));
    assert_eq!(heartbeat.poll(Millis(1_400)), None);
    assert_eq!(heartbeat.deadline(), Millis(1_445));
}

#[test]
fn to_poll_at_its_deadlines_is_enough() {
    let mut heartbeat = heartbeat();
    let mut beats = Vec::new();
    while beats.last() != Some(&Some(Beat::Dead)) {
        let due = heartbeat.deadline();
        beats.push(heartbeat.poll(due));
        assert!(beats.len() < 10, "there is no end to it: {beats:?}");
    }
    assert_eq!(beats, [Some(Beat::Ping), Some(Beat::Ping), Some(Beat::Ping), Some(Beat::Dead)]);
}
