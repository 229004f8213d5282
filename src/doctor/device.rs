//! Block devices: what is beneath a file system, and whether it has a cache that loses power.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::Verdict;
use super::mount::Mount;

/// Where the kernel tells about devices.
pub(super) const SYS: &str = "/sys";

/// What a disk says of its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// It forgets what it was not told to flush; the kernel tells it.
    WriteBack,
    /// There is none that forgets, so no flush is sent.
    WriteThrough,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// Its name in the kernel: `sda`, `nvme0n1`, `dm-0`.
    pub(super) name: String,
    /// What it says of its cache, if anything.
    pub(super) cache: Option<Cache>,
    /// Whether it can write a single block through its cache.
    pub(super) fua: bool,
}

impl Device {
    /// The disk beneath a mount, as `sys` tells; a partition's disk. None when there is none.
    pub(super) fn beneath(mount: &Mount, sys: &Path) -> Option<Self> {
        let (major, minor) = mount.device;
        let by_number = || sys.join("dev/block").join(format!("{major}:{minor}"));
        // btrfs and zfs have numbers of their own; the source still names a device, if it is one.
        let by_source = || -> Option<PathBuf> {
            let name = fs::canonicalize(&mount.source).ok()?.file_name()?.to_owned();
            mount.source.starts_with("/dev").then(|| sys.join("class/block").join(name))
        };
        let found = fs::canonicalize(by_number())
            .or_else(|missing| by_source().map_or(Err(missing), fs::canonicalize));
        let found = found.ok()?;
        let disk = found.ancestors().take(2).find(|path| path.join("queue").is_dir())?;
        let name = disk.file_name()?.to_string_lossy().into_owned();
        let says = |what: &str| fs::read_to_string(disk.join("queue").join(what)).ok();
        let cache = says("write_cache").and_then(|text| match text.trim() {
            "write back" => Some(Cache::WriteBack),
            "write through" => Some(Cache::WriteThrough),
            _ => None,
        });
        Some(Self { name, cache, fua: says("fua").is_some_and(|text| text.trim() == "1") })
    }

    /// Whether it is memory that looks like a disk.
    fn is_memory(&self) -> bool {
        let is_numbered = |prefix: &str| {
            let number = self.name.strip_prefix(prefix);
            number.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        is_numbered("ram") || is_numbered("zram")
    }
}

/// Whether what reaches the disk stays there.
pub(super) fn judge(device: Option<&Device>) -> Verdict {
    let Some(device) = device else {
        let meaning = "whether a flush reaches a disk cannot be told from here";
        return Verdict::note("no block device is seen beneath", meaning);
    };
    let name = &device.name;
    if device.is_memory() {
        let meaning = "this disk is memory: what is stored is gone after a reboot; use a real one";
        return Verdict::problem(format!("{name} is a disk in memory"), meaning);
    }
    match device.cache {
        Some(Cache::WriteBack) => {
            let fua = if device.fua { ", and can write through it (FUA)" } else { "" };
            Verdict::ok(
                format!("{name} has a cache that forgets{fua}"),
                "the kernel tells it to flush at each fsync; whether it obeys, only a power cut shows",
            )
        }
        Some(Cache::WriteThrough) => Verdict::ok(
            format!("{name} says that it has no cache that forgets"),
            "no flush is needed; if the disk is virtual, its host has to keep this promise",
        ),
        None => {
            let meaning = "whether a flush is sent cannot be told from here";
            Verdict::note(format!("{name} does not tell about its cache"), meaning)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn device(name: &str, cache: Option<Cache>) -> Device {
        Device { name: name.to_owned(), cache, fua: false }
    }

    #[test]
    fn devices_are_judged_by_their_cache_and_by_being_memory() {
        for (name, cache, level) in [
            ("vda", Some(Cache::WriteBack), Level::Ok),
            ("nvme0n1", Some(Cache::WriteThrough), Level::Ok),
            ("dm-0", None, Level::Note),
            ("zram0", Some(Cache::WriteThrough), Level::Problem),
            ("ram15", Some(Cache::WriteThrough), Level::Problem),
            ("ramdisk", Some(Cache::WriteThrough), Level::Ok),
        ] {
            assert_eq!(judge(Some(&device(name, cache))).level, level, "{name}");
        }
        assert_eq!(judge(None).level, Level::Note);
    }

    #[test]
    fn a_partition_is_judged_by_its_disk() {
        let Ok(sys) = tempfile::tempdir() else { panic!("a directory") };
        let disk = sys.path().join("devices/pci/sda");
        let made = fs::create_dir_all(disk.join("queue"))
            .and_then(|()| fs::create_dir_all(disk.join("sda1")))
            .and_then(|()| fs::create_dir_all(sys.path().join("dev/block")))
            .and_then(|()| fs::write(disk.join("queue/write_cache"), "write back\n"))
            .and_then(|()| fs::write(disk.join("queue/fua"), "1\n"))
            .and_then(|()| {
                let link = sys.path().join("dev/block/8:1");
                std::os::unix::fs::symlink(disk.join("sda1"), link)
            });
        assert!(made.is_ok(), "{made:?}");
        let mut mount = Mount {
            device: (8, 1),
            point: "/".into(),
            kind: "ext4".into(),
            source: "nowhere".into(),
            options: Vec::new(),
        };
        let found = Device::beneath(&mount, sys.path());
        let expected = Device { name: "sda".into(), cache: Some(Cache::WriteBack), fua: true };
        assert_eq!(found, Some(expected));
        mount.device = (0, 41);
        assert_eq!(Device::beneath(&mount, sys.path()), None);
    }
}
