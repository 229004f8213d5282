//! Back-off grows to its ceiling and no further, starts again after a success, and stays within
//! bounds whatever the random number.

mod common;

use common::options::seeds_in;
use paquebot_protocol::Millis;
use paquebot_protocol::backoff::Backoff;
use proptest::prelude::*;

/// The largest waits that a ladder gives, failure by failure: a random number of `ceiling` gives
/// `ceiling` itself.
fn ceilings(backoff: &Backoff, failures: usize) -> Vec<u64> {
    let mut backoff = backoff.clone();
    let largest = |backoff: &Backoff| {
        let waits = |random| backoff.clone().next(random).0;
        (0..=10_000).map(waits).max().unwrap_or_default()
    };
    let climb = |_| {
        let ceiling = largest(&backoff);
        backoff.next(0);
        ceiling
    };
    (0..failures).map(climb).collect()
}

#[test]
fn a_ladder_goes_on_after_what_was_counted_before() {
    let backoff = Backoff::new(Millis(100), Millis(1_000)).after(2);
    assert_eq!((ceilings(&backoff, 3), backoff.failures()), (vec![400, 800, 1_000], 2));
}

#[test]
fn the_ceiling_doubles_with_each_failure_up_to_the_longest() {
    let backoff = Backoff::new(Millis(100), Millis(1_000));
    assert_eq!(ceilings(&backoff, 6), [100, 200, 400, 800, 1_000, 1_000]);
}

#[test]
fn a_success_starts_again_at_the_bottom() {
    let mut backoff = Backoff::new(Millis(100), Millis(1_000));
    for _ in 0..5 {
        backoff.next(7);
    }
    assert_eq!(backoff.failures(), 5);
    backoff.reset();
    assert_eq!(backoff.failures(), 0);
    assert_eq!(ceilings(&backoff, 2), [100, 200]);
}

#[test]
fn the_jitter_is_full() {
    let backoff = Backoff::new(Millis(3), Millis(3));
    let waits: Vec<u64> = (0..5).map(|random| backoff.clone().next(random).0).collect();
    assert_eq!(waits, [0, 1, 2, 3, 0]);
}

proptest! {
    #![proptest_config(seeds_in("tests/backoff.regressions", 1))]

    #[test]
    fn no_wait_is_beyond_the_longest_however_many_failures(
        initial in any::<u64>(),
        max in any::<u64>(),
        randoms in proptest::collection::vec(any::<u64>(), 1..100),
    ) {
        let mut backoff = Backoff::new(Millis(initial), Millis(max));
        for random in randoms {
            prop_assert!(backoff.next(random).0 <= max);
        }
    }
}
