//! A spool or a ledger with one of its files changed in some places, cut off, or replaced.
//!
//! Panics of redb on damaged pages are known and passed over; what the store makes of them is tested
//! in `store/tests/hostile_files.rs`. A panic of ours ends the run.
#![no_main]

#[path = "../../store/tests/drivers/damaged.rs"]
mod damaged;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use damaged::Golden;

static GOLDEN: LazyLock<[Golden; 2]> = LazyLock::new(|| {
    // libfuzzer-sys's own hook ends the process at any panic, before it can be caught.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if !place.contains("/redb-") {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
    [Golden::spool(), Golden::ledger()]
});

#[derive(Debug, Arbitrary)]
enum Change {
    /// So many bytes at this place, each xored.
    Flip(u32, u8, u8),
    /// These bytes at this place.
    Put(u32, Vec<u8>),
    /// A page of 4 KiB from one place to another.
    Copy(u16, u16),
    /// Everything from here on goes.
    Cut(u32),
    /// All of it goes for this.
    Replace(Vec<u8>),
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let (Ok(which), Ok(file)) = (u8::arbitrary(&mut bytes), u8::arbitrary(&mut bytes)) else {
        return;
    };
    let golden = &GOLDEN[usize::from(which % 2)];
    let file = usize::from(file) % golden.files.len();
    let mut content = golden.files[file].1.clone();
    for _ in 0..8 {
        if bytes.is_empty() {
            break;
        }
        if let Ok(change) = Change::arbitrary(&mut bytes) {
            apply(change, &mut content);
        }
    }
    let _ = catch_unwind(AssertUnwindSafe(|| golden.with(file, &content)));
});

fn apply(change: Change, content: &mut Vec<u8>) {
    if content.is_empty() {
        return;
    }
    let place = |at: u32| at as usize % content.len();
    match change {
        Change::Flip(at, count, mask) => {
            let from = place(at);
            let count = usize::from(count % 16) + 1;
            content.iter_mut().skip(from).take(count).for_each(|byte| *byte ^= mask);
        }
        Change::Put(at, new) => {
            let from = place(at);
            content.iter_mut().skip(from).zip(new).for_each(|(byte, new)| *byte = new);
        }
        Change::Copy(from, to) => {
            let pages = content.len() / 4096;
            if pages > 0 {
                let (from, to) = (usize::from(from) % pages, usize::from(to) % pages);
                content.copy_within(from * 4096..(from + 1) * 4096, to * 4096);
            }
        }
        Change::Cut(at) => content.truncate(place(at)),
        Change::Replace(new) => *content = new,
    }
}
