//! Space: whether what the config allows to be kept fits on the disk.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::statvfs;

use super::finding::Verdict;

const MIB: u64 = 1024 * 1024;
/// A store's smallest step: below this the next commit may already fail.
const LEAST: u64 = 16 * MIB;
/// A segment and its next doubling.
const LITTLE: u64 = 128 * MIB;
/// Segments and outputs are few: below this the disk is full of other people's small files.
const INODES_LITTLE: u64 = 1_000;
/// Levels of directories that are walked: stores have two.
const DEPTH_MAX: usize = 4;

/// How much room there is on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that this user may still write.
    pub(super) available: u64,
    /// Bytes in all.
    pub(super) total: u64,
    /// Files that may still be made.
    pub(super) inodes_free: u64,
    /// Files in all; 0 where nobody counts.
    pub(super) inodes: u64,
}

impl Space {
    /// The room where `dir` lies.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let disk = statvfs(dir)?;
        Ok(Self {
            available: disk.f_bavail.saturating_mul(disk.f_frsize),
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            inodes_free: disk.f_favail,
            inodes: disk.f_files,
        })
    }
}

/// The bytes of a file, or of all files below a directory; what cannot be read counts as nothing.
pub(super) fn bytes_in(path: &Path) -> u64 {
    bytes_below(path, DEPTH_MAX)
}

fn bytes_below(path: &Path, depth: usize) -> u64 {
    let Ok(facts) = fs::symlink_metadata(path) else { return 0 };
    if !facts.is_dir() {
        return facts.len();
    }
    if depth == 0 {
        return 0;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| bytes_below(&entry.path(), depth - 1));
    sizes.fold(0, u64::saturating_add)
}

pub(super) fn judge_space(space: &Space) -> Verdict {
    let found = format!("{} of {} are free", words(space.available), words(space.total));
    if space.available < LEAST {
        let meaning = "the next commit may fail, and nothing is stored then; free some space";
        return Verdict::problem(found, meaning);
    }
    if space.available < LITTLE {
        let meaning = "this lasts for a short outage only; free some space";
        return Verdict::warning(found, meaning);
    }
    Verdict::ok(found, "nothing has to be done")
}

pub(super) fn judge_inodes(space: &Space) -> Verdict {
    if space.inodes == 0 {
        let meaning = "this file system makes room for files as they come";
        return Verdict::ok("files are not counted", meaning);
    }
    let found = format!("{} of {} files are free", space.inodes_free, space.inodes);
    match space.inodes_free {
        0 => Verdict::problem(found, "no file can be made, so no segment; remove some files"),
        1..INODES_LITTLE => {
            Verdict::warning(found, "soon no segment can be made; remove some files")
        }
        _ => Verdict::ok(found, "nothing has to be done"),
    }
}

/// Whether the spool can become as large as it may.
pub(super) fn judge_quota(space: &Space, max_bytes: u64, used: u64) -> Verdict {
    let (quota, used_words) = (words(max_bytes), words(used));
    let found = format!("client.spool.max_bytes is {quota}, of which {used_words} are used");
    let missing = max_bytes.saturating_sub(used).saturating_sub(space.available);
    if missing == 0 {
        return Verdict::ok(found, "the spool can become as large as it may");
    }
    let meaning = format!(
        "the disk is full before the spool is: {} are missing; senders are told \"disk-full\" then, \
         and other programs suffer, too; make max_bytes smaller or the disk larger",
        words(missing)
    );
    Verdict::warning(found, meaning)
}

/// Dead letters have no quota in this version: they end where the disk does.
pub(super) fn judge_dead_letters(space: &Space, used: u64) -> Verdict {
    let found = format!("dead letters take {}, and have no quota in this version", words(used));
    if used > space.available {
        let meaning = "they take more than is left, and a full disk stops the server; see why so many \
                       packets are rejected or have no handler";
        return Verdict::warning(found, meaning);
    }
    let meaning = "watch paquebot_server_dead_letters: a full disk stops the server";
    Verdict::note(found, meaning)
}

/// One decimal is enough for people.
fn words(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const GIB: u64 = 1024 * MIB;

    fn space(available: u64) -> Space {
        Space { available, total: 100 * GIB, inodes_free: 5_000, inodes: 10_000 }
    }

    #[test]
    fn space_is_judged_by_what_a_store_needs_next() {
        for (available, level) in [
            (0, Level::Problem),
            (LEAST - 1, Level::Problem),
            (LEAST, Level::Warning),
            (LITTLE - 1, Level::Warning),
            (LITTLE, Level::Ok),
        ] {
            assert_eq!(judge_space(&space(available)).level, level, "{available}");
        }
    }

    #[test]
    fn a_quota_must_fit_beside_what_is_used_of_it() {
        for (available, max, used, level) in [
            (GIB, GIB, 0, Level::Ok),
            (GIB - 1, GIB, 0, Level::Warning),
            (GIB - 1, GIB, 1, Level::Ok),
            (0, GIB, GIB, Level::Ok),
            (0, GIB, 2 * GIB, Level::Ok),
            (u64::MAX, u64::MAX, 0, Level::Ok),
            (5, u64::MAX, 0, Level::Warning),
        ] {
            let judged = judge_quota(&space(available), max, used);
            assert_eq!(judged.level, level, "{available} {max} {used}");
        }
        assert!(judge_quota(&space(GIB), 3 * GIB, GIB).meaning.contains("1.0 GiB are missing"));
    }

    #[test]
    fn files_are_judged_where_they_are_counted() {
        for (inodes_free, inodes, level) in [
            (0, 0, Level::Ok),
            (0, 100, Level::Problem),
            (999, 5_000, Level::Warning),
            (1_000, 5_000, Level::Ok),
        ] {
            let space = Space { inodes_free, inodes, ..space(GIB) };
            assert_eq!(judge_inodes(&space).level, level, "{inodes_free} of {inodes}");
        }
    }

    #[test]
    fn dead_letters_are_judged_by_what_is_left() {
        assert_eq!(judge_dead_letters(&space(GIB), GIB).level, Level::Note);
        assert_eq!(judge_dead_letters(&space(GIB), GIB + 1).level, Level::Warning);
    }

    #[test]
    fn sizes_read_well() {
        let found = [0, 1023, 1024, 1536, 5 * MIB, 10 * GIB].map(words);
        assert_eq!(found, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "10.0 GiB"]);
    }
}
