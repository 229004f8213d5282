//! File systems: which of them keep what was synced, and which mount options take that back.

use super::device::Cache;
use super::finding::Verdict;
use super::mount::Mount;

/// Where a file system keeps its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// On a disk of this machine.
    Disk,
    /// On a disk, without a journal.
    WithoutJournal,
    /// In memory.
    Memory,
    /// In a layer that goes with its container.
    Layer,
    /// At another machine, or in another program.
    Elsewhere,
    /// Not known to this program.
    Unknown,
}

/// What a kind of file system is.
pub(super) fn keeps(kind: &str) -> Keeps {
    match kind {
        "ext3" | "ext4" | "xfs" | "btrfs" | "zfs" | "f2fs" | "bcachefs" | "jfs" | "reiserfs"
        | "nilfs2" | "ubifs" => Keeps::Disk,
        "ext2" | "vfat" | "msdos" | "exfat" | "hfsplus" | "ntfs" | "ntfs3" | "udf" => {
            Keeps::WithoutJournal
        }
        "tmpfs" | "ramfs" | "devtmpfs" | "rootfs" | "hugetlbfs" => Keeps::Memory,
        "overlay" | "aufs" => Keeps::Layer,
        "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "9p" | "virtiofs" | "ceph" | "afs"
        | "glusterfs" | "vboxsf" | "vmhgfs" | "fuse" | "fuseblk" => Keeps::Elsewhere,
        _ if kind.starts_with("fuse.") => Keeps::Elsewhere,
        _ => Keeps::Unknown,
    }
}

/// Whether what was synced there is still there after a power cut.
pub(super) fn judge_kind(mount: Option<&Mount>) -> Verdict {
    let Some(mount) = mount else {
        return Verdict::note(
            "the system does not say which file system this is",
            "whether fsync persists here cannot be told; see to it that it is a local disk",
        );
    };
    let kind = mount.kind.as_str();
    let found = format!("{kind} ({}) at {}", mount.source.display(), mount.point.display());
    match keeps(kind) {
        Keeps::Disk => Verdict::ok(found, "fsync is meant to persist on this file system"),
        Keeps::WithoutJournal => Verdict::warning(
            found,
            "this file system has no journal for its names or is not made for servers: a power cut \
             can cost a whole file; use ext4 or xfs",
        ),
        Keeps::Memory => Verdict::problem(
            found,
            "this is memory: what is stored is gone after a reboot; use a directory on a disk",
        ),
        Keeps::Layer => Verdict::problem(
            found,
            "this layer goes with its container or live system: what is stored is gone when that is \
             made anew; mount a volume there",
        ),
        Keeps::Elsewhere => Verdict::warning(
            found,
            "another machine or program decides what fsync and locks mean here, and may be away; \
             use a local disk",
        ),
        Keeps::Unknown => Verdict::note(
            found,
            "this program knows nothing about this file system; see to it that fsync persists",
        ),
    }
}

/// Whether an option of the mount takes back what the file system promises.
pub(super) fn judge_options(mount: Option<&Mount>, cache: Option<Cache>) -> Verdict {
    let options = mount.map_or(&[][..], |mount| &mount.options);
    let has = |names: &[&'static str]| {
        names.iter().copied().find(|name| options.iter().any(|option| option == name))
    };
    if has(&["ro"]).is_some() {
        return Verdict::problem("mounted read-only", "nothing can be stored; mount it read-write");
    }
    if let Some(option) = has(&["volatile"]) {
        let meaning = "every fsync is skipped; mount it without this option";
        return Verdict::problem(format!("mounted with {option}"), meaning);
    }
    if let Some(option) = has(&["nobarrier", "barrier=0", "barrier=none"]) {
        let found = format!("mounted with {option}");
        return match cache {
            Some(Cache::WriteThrough) => Verdict::note(
                found,
                "no flush is sent to the disk, which says that it needs none; if its cache is not \
                 backed by a battery, remove this option",
            ),
            _ => Verdict::problem(
                found,
                "what is synced may stay in the disk's cache and is lost in a power cut; remove \
                 this option",
            ),
        };
    }
    if has(&["data=writeback"]).is_some() {
        return Verdict::note(
            "mounted with data=writeback",
            "files that nobody synced may show old bytes after a crash; the stores sync all that \
             they rely on, so nothing has to be done",
        );
    }
    if has(&["sync", "dirsync"]).is_some() {
        let meaning = "every write waits for the disk: safe and slow; the stores do not need it";
        return Verdict::note("mounted with sync or dirsync", meaning);
    }
    match mount {
        Some(_) => Verdict::ok("no option that weakens fsync", "nothing has to be done"),
        None => Verdict::note("not known", "look for nobarrier in /etc/fstab"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        Mount {
            device: (8, 1),
            point: "/data".into(),
            kind: kind.to_owned(),
            source: "/dev/sda1".into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    #[test]
    fn file_systems_are_judged_by_where_they_keep_files() {
        for (kind, level) in [
            ("ext4", Level::Ok),
            ("xfs", Level::Ok),
            ("btrfs", Level::Ok),
            ("ext2", Level::Warning),
            ("vfat", Level::Warning),
            ("tmpfs", Level::Problem),
            ("ramfs", Level::Problem),
            ("overlay", Level::Problem),
            ("nfs4", Level::Warning),
            ("cifs", Level::Warning),
            ("9p", Level::Warning),
            ("fuse.sshfs", Level::Warning),
            ("fuseblk", Level::Warning),
            ("brandnewfs", Level::Note),
        ] {
            assert_eq!(judge_kind(Some(&mount(kind, &[]))).level, level, "{kind}");
        }
        assert_eq!(judge_kind(None).level, Level::Note);
    }

    #[test]
    fn options_are_judged_together_with_the_cache_beneath() {
        let (back, through) = (Some(Cache::WriteBack), Some(Cache::WriteThrough));
        for (options, cache, level) in [
            (&["rw", "relatime"][..], back, Level::Ok),
            (&["rw", "barrier=1"], back, Level::Ok),
            (&["rw", "nobarrier"], back, Level::Problem),
            (&["rw", "nobarrier"], None, Level::Problem),
            (&["rw", "barrier=0"], through, Level::Note),
            (&["rw", "data=writeback"], back, Level::Note),
            (&["rw", "volatile"], None, Level::Problem),
            (&["ro"], through, Level::Problem),
            (&["rw", "sync"], back, Level::Note),
            // The word within another is another word.
            (&["rw", "errors=remount-ro", "nobarriers"], back, Level::Ok),
        ] {
            let judged = judge_options(Some(&mount("ext4", options)), cache);
            assert_eq!(judged.level, level, "{options:?} {cache:?}");
        }
        assert_eq!(judge_options(None, None).level, Level::Note);
    }
}
