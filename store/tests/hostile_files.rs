//! Damaged files: whichever byte of a spool or a ledger was changed, and wherever a file was cut
//! off, packets and cursors that are read are true or an error, and nothing of ours panics (R10).
//!
//! redb itself can panic on damage to its own pages. Such panics are counted and shown, by file and
//! place, and do not fail the test: what the store makes of them is tested where it does so. What
//! becomes of damaged dead letters is proved in `ledger_damage.rs`. `PAQUEBOT_PLACES=5000` tries that
//! many places in each file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test"
)]

mod drivers {
    pub(crate) mod damaged;
}

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use drivers::damaged::{Golden, Outcome};

/// About as many places are tried in each file, unless the environment says otherwise.
const PLACES: usize = 150;
const PLACES_VARIABLE: &str = "PAQUEBOT_PLACES";

/// Places where something panicked since they were last taken, on whichever thread.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The hook is one for all threads, so one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn listen_for_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("?");
        let said: String = said.chars().take(120).collect();
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{place}: {said}"));
    }));
}

/// What happened to each file, and which places panicked how often.
#[derive(Debug, Default)]
struct Tally {
    outcomes: BTreeMap<(String, Option<Outcome>), Vec<usize>>,
    /// By file, place in the code, and what was said.
    panics: BTreeMap<String, Vec<usize>>,
}

impl Tally {
    /// Opens the store with one file replaced, and takes down what came of it.
    fn visit(&mut self, golden: &Golden, file: usize, offset: usize, bytes: &[u8]) {
        let outcome = catch_unwind(AssertUnwindSafe(|| golden.with(file, bytes))).ok();
        let name = golden.files[file].0.display().to_string();
        self.outcomes.entry((name, outcome)).or_default().push(offset);
        for panic in std::mem::take(&mut *PANICS.lock().unwrap()) {
            let name = golden.files[file].0.display();
            self.panics.entry(format!("{name}: {panic}")).or_default().push(offset);
        }
    }

    fn finish(self, what: &str) {
        drop(std::panic::take_hook());
        println!("{what}:");
        for ((name, outcome), offsets) in &self.outcomes {
            let outcome = outcome.map_or("panicked".to_owned(), |outcome| format!("{outcome:?}"));
            println!("  {name}: {outcome} at {} places, such as {}", offsets.len(), offsets[0]);
        }
        for (panic, offsets) in &self.panics {
            println!("  {} × {panic}: bytes {offsets:?}", offsets.len());
        }
        for (name, outcome) in self.outcomes.keys() {
            let altered = *outcome == Some(Outcome::Altered);
            assert!(!altered, "{what}: {name} shows what never was");
        }
        let ours: Vec<_> =
            self.panics.iter().filter(|(place, _)| !place.contains("/redb-")).collect();
        assert!(ours.is_empty(), "{what}: {ours:#?}");
    }
}

/// Tries places all over each file: bytes of the first pages more often than those of others.
fn places(length: usize) -> Vec<usize> {
    let wanted = std::env::var(PLACES_VARIABLE).ok().and_then(|places| places.parse().ok());
    let head = (0..length.min(512)).step_by(7);
    let body = (512..length).step_by((length / wanted.unwrap_or(PLACES)).max(1) | 1);
    head.chain(body).collect()
}

fn flip_bytes(golden: &Golden, what: &str) {
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    listen_for_panics();
    let mut tally = Tally::default();
    for (file, (_, whole)) in golden.files.iter().enumerate() {
        for offset in places(whole.len()) {
            let mut bytes = whole.clone();
            bytes[offset] ^= 1 << (offset % 8);
            tally.visit(golden, file, offset, &bytes);
        }
    }
    tally.finish(what);
}

fn cut_off(golden: &Golden, what: &str) {
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    listen_for_panics();
    let mut tally = Tally::default();
    for (file, (_, whole)) in golden.files.iter().enumerate() {
        for length in (0..whole.len()).step_by((whole.len() / 40).max(1) | 1) {
            tally.visit(golden, file, length, &whole[..length]);
        }
    }
    tally.finish(what);
}

#[test]
fn a_whole_store_is_whole() {
    for golden in [Golden::spool(), Golden::ledger()] {
        assert!(golden.files.len() > 1, "{:?}", golden.files.len());
        for (file, (name, whole)) in golden.files.iter().enumerate() {
            assert_eq!(golden.with(file, whole), Outcome::Whole, "{}", name.display());
        }
    }
}

#[test]
fn no_flipped_bit_of_a_spool_makes_another_packet_of_it() {
    flip_bytes(&Golden::spool(), "flipped bits of a spool");
}

#[test]
fn no_flipped_bit_of_a_ledger_makes_another_cursor_of_it() {
    flip_bytes(&Golden::ledger(), "flipped bits of a ledger");
}

#[test]
fn a_spool_that_was_cut_off_is_refused_or_reported() {
    cut_off(&Golden::spool(), "a spool cut off");
}

#[test]
fn a_ledger_that_was_cut_off_is_refused_or_reported() {
    cut_off(&Golden::ledger(), "a ledger cut off");
}
