//! The house stays in order: who may name whom, how long a file may be, and which words it uses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A file beyond this has a second noun in it.
const LINES_MAX: usize = 400;

/// Nobody scrolls sideways. rustfmt keeps code within 100; what it cannot break may pass that a bit.
const COLUMNS_MAX: usize = 112;

#[test]
fn each_heavy_dependency_stays_in_its_room() {
    let allowed: [(&str, &[&str]); 5] = [
        ("redb", &["store"]),
        ("actix", &["actors", "src/wiring", "src/bench/load.rs", "src/run.rs"]),
        ("axum", &["actors/src/source", "src/admin", "src/bench/empty_http.rs"]),
        ("tokio", &["actors", "src"]),
        ("ratatui", &["src/top"]),
    ];
    for (name, rooms) in allowed {
        let uses = [format!("use {name}::"), format!("{name}::"), format!("use {name}_rt")];
        for (path, text) in sources() {
            let inside = rooms.iter().any(|room| path.starts_with(room));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let named = code.filter(|line| {
                uses.iter().any(|word| {
                    let mut found = line.match_indices(word.as_str());
                    found.any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()))
                })
            });
            let named: Vec<_> = named.collect();
            assert!(inside || named.is_empty(), "{} names {name}: {named:?}", path.display());
        }
    }
}

#[test]
fn the_law_has_no_clock_no_randomness_and_no_io() {
    for (path, text) in sources().filter(|(path, _)| path.starts_with("protocol/src")) {
        for word in
            ["std::fs", "std::net", "std::thread", "Instant::now", "SystemTime", "getrandom"]
        {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn files_are_short_and_lines_are_narrow() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines, look for the second noun", path.display());
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{}:{}: {columns} columns", path.display(), at + 1);
        }
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} has no header", path.display());
    }
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    for (path, text) in sources().filter(|(path, _)| !path.ends_with("tidy.rs")) {
        for word in ["TODO", "FIXME", "XXX", "HACK"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

/// Every Rust file of the repository, by its path from the root.
fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> =
        ["protocol", "store", "actors", "src", "tests", "fuzz/fuzz_targets"]
            .map(|room| root.join(room))
            .into();
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path.strip_prefix(root).unwrap().to_owned(), text));
        }
    }
    assert!(files.len() > 50, "the sources were found");
    files.into_iter()
}
