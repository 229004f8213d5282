//! The power goes between any two steps of the handler `file`: afterwards each packet is in the
//! files once, in order per lane, whatever became of what was not synced (R4, R10). And when the
//! ledger is an older copy then, nothing that was acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use common::{Cut, House, Unsynced, copy};
use paquebot_actors::clock;
use paquebot_actors::handler::{OutputDisk, Rotation};

const LANES: u64 = 3;
const LAST: u64 = 12;

/// Small files, so that most of the steps are those of a rotation.
const ROTATION: Option<Rotation> =
    Some(Rotation { size: Some(2_000), every: None, keep: None, compress: true });

fn house() -> House {
    House::new(LANES, LAST, ROTATION)
}

#[test]
fn without_a_cut_every_packet_is_there_once_and_files_are_rotated() {
    let mut house = house();
    house.disk.cut_at(Cut::Never);
    assert!(house.run(3));
    assert_eq!(house.failures, 0);
    assert_once(&house, "without a cut");
    assert!(house.count("orders.ndjson.2") >= 3, "{:?}", house.disk.files().keys());
    eprintln!("{} steps", house.disk.steps());
}

#[test]
fn a_power_cut_between_any_two_steps_leaves_each_packet_there_once() {
    let mut cuts = 0;
    for step in steps(1) {
        let mut finished = true;
        for (variant, cut) in [Cut::Before(step), Cut::After(step)].into_iter().enumerate() {
            let mut house = house();
            house.disk.cut_at(cut);
            let done = house.run(3);
            finished &= done;
            house.disk.power_on(unsynced(step + variant as u64));
            if !done {
                cuts += 1;
                // Another cut while it recovers, at a step that differs each time.
                house.disk.cut_at(Cut::Before(1 + step % 17));
                if !house.run(3) {
                    house.disk.power_on(unsynced(step / 3));
                }
            }
            house.disk.cut_at(Cut::Never);
            assert!(house.run(3));
            assert_once(&house, &format!("{cut:?}"));
        }
        if finished {
            break;
        }
    }
    eprintln!("{cuts} cuts");
    assert!(cuts > 100 / EVERY, "{cuts} cuts prove little");
}

#[test]
fn a_ledger_restored_after_a_power_cut_at_any_step_costs_nothing_that_was_acknowledged() {
    let (mut restored, mut noticed) = (0, 0);
    for step in steps(2) {
        let mut house = house();
        let backup = tempfile::tempdir().unwrap();
        // The copy is made some steps before the cut: one, or many.
        let made_at = step - 1 - (step * 7) % (step - 1).min(12);
        let (from, to) = (house.ledger_dir.path().to_owned(), backup.path().join("copy"));
        house.disk.cut_at(if step % 2 == 0 { Cut::Before(step) } else { Cut::After(step) });
        house.disk.on_step(move |at| {
            if at == made_at && !to.exists() {
                copy(&from, &to);
            }
        });
        if house.run(3) {
            break;
        }
        house.disk.power_on(unsynced(step));
        let acked: Vec<_> = house.lanes.values().map(|held| held.acked).collect();
        put_back(&backup.path().join("copy"), house.ledger_dir.path());
        restored += 1;
        house.disk.cut_at(Cut::Never);
        assert!(house.run(3));
        for (lane, numbers) in house.written() {
            let missing: Vec<_> = (1..=LAST).filter(|number| !numbers.contains(number)).collect();
            assert_eq!(
                missing, [0; 0],
                "lane {lane} after a copy of {made_at}, cut at {step}, {acked:?}"
            );
        }
        noticed += u64::from(house.count(".before-") > 0);
    }
    eprintln!("{restored} restored ledgers, {noticed} of which meant to begin a new file");
    assert!(noticed > 10 / EVERY, "{noticed} prove little");
}

#[test]
fn a_step_that_the_disk_refuses_once_is_made_good_without_a_restart() {
    let mut failures = 0;
    for step in steps(1) {
        let mut house = house();
        house.disk.cut_at(Cut::Refused { step, done: step % 2 == 0 });
        // The second start is for those whose opening was refused.
        assert!(house.run(3) || house.run(3));
        assert_once(&house, &format!("step {step} refused"));
        failures += house.failures;
        if house.disk.steps() < step {
            break;
        }
    }
    assert!(failures > 20 / EVERY, "{failures} failures prove little");
}

#[test]
fn only_so_many_rotated_files_are_kept_and_all_of_them_are_compressed() {
    let mut house = house();
    house.rotation = Some(Rotation { keep: Some(2), ..ROTATION.unwrap() });
    house.disk.cut_at(Cut::Never);
    assert!(house.run(3));
    // The next start does what this one did not come to.
    let done = |house: &House| house.count("Z.gz") == 2 && house.count(".ndjson.2") == 2;
    for _ in 0..1_000 {
        if done(&house) {
            break;
        }
        assert!(house.run(3));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(done(&house), "{:?}", house.disk.files().keys());
    let numbers = &house.written()[&1];
    assert!(numbers.is_sorted() && numbers.ends_with(&[LAST]), "the oldest went: {numbers:?}");
}

/// A power cut that kept a name and lost what it stood for leaves a `.gz` that is none, beside the
/// plain file that it was to replace.
#[test]
fn a_compressed_file_beside_its_plain_one_is_not_trusted_but_made_again() {
    let mut house = house();
    house.rotation = Some(Rotation { compress: false, ..ROTATION.unwrap() });
    house.disk.cut_at(Cut::Never);
    assert!(house.run(3));
    let plain: Vec<_> = house.disk.files().into_keys().filter(|path| is_plain(path)).collect();
    assert!(plain.len() >= 3, "{plain:?}");
    for path in &plain {
        let compressed = format!("{}.gz", path.display());
        let file = house.disk.create(Path::new(&compressed)).unwrap();
        file.write_at(&[0; 10], 0).unwrap();
        file.sync().unwrap();
    }
    house.rotation = ROTATION;
    for _ in 0..1_000 {
        assert!(house.run(3));
        if !house.disk.files().keys().any(|path| is_plain(path)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(house.count("Z.gz"), plain.len(), "{:?}", house.disk.files().keys());
    assert_eq!(house.count(".ndjson.2"), plain.len(), "{:?}", house.disk.files().keys());
    assert_once(&house, "with bad .gz");
}

/// A large file is being compressed when the handler stops: what is there of it does not pass for whole.
#[test]
fn a_handler_that_stops_while_it_compresses_leaves_the_file_as_it_was_and_finishes_it_later() {
    let mut house = house();
    house.disk.cut_at(Cut::Never);
    // Noise, which takes long to compress.
    let mut noise = 1_u64;
    let whole: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.to_be_bytes()[0]
    })
    .take(8 << 20)
    .collect();
    let plain = format!("{}.{}", common::OUT, clock::file_stamp(1_700_000_000_000));
    let compressed = format!("{plain}.gz");
    let file = house.disk.create(Path::new(&plain)).unwrap();
    file.write_at(&whole, 0).unwrap();
    file.sync().unwrap();
    drop(file);
    let mut stopped_in_between = false;
    for _ in 0..100 {
        assert!(house.run(3));
        let files = house.disk.files();
        assert!(files.get(Path::new(&plain)) == Some(&whole), "{:?}", files.keys());
        assert!(!files.contains_key(Path::new(&compressed)), "it cannot be done yet");
        stopped_in_between = files.contains_key(Path::new(&format!("{compressed}.tmp")));
        if stopped_in_between {
            break;
        }
    }
    assert!(stopped_in_between, "it always stopped before it began: that proves nothing");
    actix_rt::System::new().block_on(async {
        let (store, alive) = house.start();
        let alive = alive.unwrap();
        for _ in 0..60_000 {
            if !house.disk.files().contains_key(Path::new(&plain)) {
                break;
            }
            actix_rt::time::sleep(Duration::from_millis(1)).await;
        }
        house.stop(alive).await;
        store.close().unwrap();
    });
    let files = house.disk.files();
    assert!(!files.contains_key(Path::new(&plain)), "{:?}", files.keys());
    let mut text = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&files[Path::new(&compressed)][..]);
    decoder.read_to_end(&mut text).unwrap();
    assert!(text == whole, "{} bytes of {}", text.len(), whole.len());
    assert!(!files.contains_key(Path::new(&format!("{compressed}.tmp"))), "{:?}", files.keys());
}

fn is_plain(path: &Path) -> bool {
    path.display().to_string().ends_with('Z')
}

/// The steps at which something happens: some of them, or all of them with `FILE_CUTS=all`.
fn steps(first: u64) -> impl Iterator<Item = u64> {
    let all = std::env::var("FILE_CUTS").is_ok_and(|cuts| cuts == "all");
    let (first, every) = if all { (first, 1) } else { (first + seed() % EVERY, EVERY) };
    (first..).step_by(every as usize)
}

/// Without all of them. Prime to two and three: the sides of a step, and the fates of what is not synced.
const EVERY: u64 = 5;

/// Another number here makes another run: `FILE_SEED`.
fn seed() -> u64 {
    std::env::var("FILE_SEED").map_or(0, |seed| seed.parse().unwrap())
}

fn assert_once(house: &House, when: &str) {
    let written = house.written();
    for lane in 1..=LANES {
        let expected: Vec<_> = (1..=LAST).collect();
        let names = house.disk.files().into_keys().collect::<Vec<_>>();
        assert_eq!(written[&lane], expected, "lane {lane}, {when}, {names:?}");
    }
    assert_eq!(house.count(".before-"), 0, "{when}: a crash is no restored ledger");
}

fn unsynced(step: u64) -> Unsynced {
    let seed = step + seed() * 1_000;
    match seed % 3 {
        0 => Unsynced::Lost,
        1 => Unsynced::Kept,
        _ => Unsynced::Torn(seed),
    }
}

fn put_back(copy_of: &Path, ledger: &Path) {
    std::fs::remove_dir_all(ledger).unwrap();
    copy(copy_of, ledger);
}
