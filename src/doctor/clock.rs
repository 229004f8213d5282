//! The clock: whether the wall clock can be right, and whether anything keeps it right.
//!
//! The kernel's own word (adjtimex) is not asked for: no well-kept crate offers the call without
//! `unsafe`. What time daemons leave in `/run` is looked at in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use paquebot_actors::clock;

use super::finding::{Finding, Verdict};
use super::place::Place;

/// 2026-01-01: no version of this program is older, so no clock that is right shows less.
const NOT_BEFORE_MS: u64 = 1_767_225_600_000;
/// A file may be newer than the clock by as much as a clock is corrected in one step.
const TOLERANCE_MS: u64 = 60_000;
/// Directories below a store, and files that are looked at there.
const DEPTH_MAX: usize = 3;

/// systemd-timesyncd touches it when it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// Daemons that keep the clock, and what is there while they run.
const DAEMONS: [(&str, &str); 5] = [
    ("chronyd", "/run/chrony/chronyd.pid"),
    ("chronyd", "/run/chronyd.pid"),
    ("ntpd", "/run/ntpd.pid"),
    ("ntpd", "/run/ntp/ntpd.pid"),
    ("systemd-timesyncd", "/run/systemd/timesync"),
];

/// What is known of time synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// It has set the clock since the system started.
    Synchronised,
    /// It runs.
    Runs(&'static str),
    /// None was seen.
    Unseen,
}

pub(super) fn look(places: &[Place], findings: &mut Vec<Finding>) {
    let newest = places.iter().filter_map(|place| newest_in(&place.dir, DEPTH_MAX)).max();
    findings.push(judge_time(clock::wall_ms(), newest).on("clock", "time"));
    findings.push(judge_keeper(keeper()).on("clock", "synchronised"));
}

/// The newest file below `dir`, with its time in milliseconds since 1970.
fn newest_in(dir: &Path, depth: usize) -> Option<(u64, PathBuf)> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let (facts, path) = (entry.metadata().ok()?, entry.path());
        if facts.is_dir() {
            return if depth > 0 { newest_in(&path, depth - 1) } else { None };
        }
        let since_1970 = facts.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some((u64::try_from(since_1970.as_millis()).ok()?, path))
    });
    times.max()
}

fn judge_time(now_ms: u64, newest: Option<(u64, PathBuf)>) -> Verdict {
    let found = format!("it is {}", clock::rfc3339(now_ms));
    let meaning = "packets carry this time, and their ages are measured by it; set the clock before \
                   the program starts";
    if now_ms < NOT_BEFORE_MS {
        return Verdict::problem(
            format!("{found}, which is before this program was made"),
            meaning,
        );
    }
    match newest {
        Some((newest_ms, path)) if newest_ms > now_ms.saturating_add(TOLERANCE_MS) => {
            let (newest, path) = (clock::rfc3339(newest_ms), path.display());
            let found = format!("{found}, but {path} was written at {newest}");
            Verdict::problem(found, meaning)
        }
        _ => Verdict::ok(found, "later than everything that was stored here"),
    }
}

fn keeper() -> Keeper {
    if Path::new(SYNCHRONISED).exists() {
        return Keeper::Synchronised;
    }
    let running = DAEMONS.iter().find(|(_, sign)| Path::new(sign).exists());
    running.map_or(Keeper::Unseen, |(name, _)| Keeper::Runs(name))
}

fn judge_keeper(keeper: Keeper) -> Verdict {
    match keeper {
        Keeper::Synchronised => {
            let meaning = "nothing has to be done";
            Verdict::ok("systemd-timesyncd has set the clock", meaning)
        }
        Keeper::Runs(name) => {
            let meaning = "it keeps the clock; whether it has reached a server, it can tell itself";
            Verdict::ok(format!("{name} is there"), meaning)
        }
        Keeper::Unseen => {
            let meaning = "order and delivery do not depend on the clock, times shown to people do; in \
                           a container or virtual machine the host may keep it; else run chrony";
            Verdict::note("nothing was seen that keeps the clock", meaning)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn the_clock_is_judged_by_the_program_and_by_what_was_written() {
        let file = |ms| Some((ms, PathBuf::from("/data/x")));
        let now = NOT_BEFORE_MS + 1_000_000;
        for (now_ms, newest, level) in [
            (now, None, Level::Ok),
            (NOT_BEFORE_MS, None, Level::Ok),
            (NOT_BEFORE_MS - 1, None, Level::Problem),
            (0, None, Level::Problem),
            (now, file(now - 1), Level::Ok),
            (now, file(now + TOLERANCE_MS), Level::Ok),
            (now, file(now + TOLERANCE_MS + 1), Level::Problem),
        ] {
            assert_eq!(judge_time(now_ms, newest.clone()).level, level, "{now_ms} {newest:?}");
        }
        assert!(judge_time(now, None).found.contains("2026-01-01T00:16:40.000Z"));
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_worth_a_note() {
        assert_eq!(judge_keeper(Keeper::Synchronised).level, Level::Ok);
        assert_eq!(judge_keeper(Keeper::Runs("chronyd")).level, Level::Ok);
        assert_eq!(judge_keeper(Keeper::Unseen).level, Level::Note);
    }
}
