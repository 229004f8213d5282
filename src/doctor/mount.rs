//! Mounts: which file system a directory lies on, read from `/proc/self/mountinfo` (proc(5)).
//!
//! A parser of twenty lines, because the crates that read this file read all of `/proc`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where the kernel tells this process its mounts.
const MOUNT_INFO: &str = "/proc/self/mountinfo";

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Major and minor number of its device; of none that exists, for what lies on no block device.
    pub(super) device: (u32, u32),
    /// The directory that it is mounted at.
    pub(super) point: PathBuf,
    /// `ext4`, `tmpfs`, …
    pub(super) kind: String,
    /// What is mounted: a device's path, or whatever the kind wants.
    pub(super) source: PathBuf,
    /// The options of the mount, then those of the file system.
    pub(super) options: Vec<String>,
}

/// The mounts that this process sees; none where the system does not tell.
pub(super) fn here() -> Vec<Mount> {
    parse(&std::fs::read(MOUNT_INFO).unwrap_or_default())
}

/// Reads the file; lines that cannot be read are left out.
pub(super) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// The mount that `path` lies on, whose device number is `device`.
///
/// `path` has no symbolic links in it. Of mounts on top of each other the last one is seen. The
/// device number goes first because a mount may hide what lies below it; btrfs gives its
/// subvolumes numbers of their own, so that none may fit.
pub(super) fn covering<'a>(
    mounts: &'a [Mount],
    path: &Path,
    device: (u32, u32),
) -> Option<&'a Mount> {
    let covers = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    covers.max_by_key(|mount| (mount.device == device, mount.point.components().count()))
}

/// `27 1 254:0 / /data rw,relatime shared:1 - ext4 /dev/vda rw,discard`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let point = PathBuf::from(unescape(fields.nth(1)?));
    let mut options = list(fields.next()?);
    // Optional fields follow, however many, up to a dash.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = unescape(fields.next()?).to_string_lossy().into_owned();
    let source = PathBuf::from(unescape(fields.next()?));
    options.extend(list(fields.next().unwrap_or_default()));
    Some(Mount { device, point, kind, source, options })
}

fn list(field: &[u8]) -> Vec<String> {
    let options = field.split(|byte| *byte == b',').filter(|option| !option.is_empty());
    options.map(|option| unescape(option).to_string_lossy().into_owned()).collect()
}

/// Blanks, tabs, line breaks and backslashes stand there as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', left @ ..] if byte == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = left;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &[u8] = b"\
        22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,data=ordered\n\
        42 27 254:1 /sub /with\\040blank\\134slash rw,noatime shared:1 master:7 - xfs /dev/vdb1 rw\n\
        43 27 0:50 / /data rw - tmpfs first rw\n\
        44 27 0:51 / /data rw - ext4 /dev/vdc rw\n\
        45 27 nonsense\n\
        \n\
        46 27 0:60 / /short rw - tmpfs\n\
        47 27 0:61 / /odd\\04 rw - fuse.sshfs me@there:/x";

    fn point_of(path: &str, device: (u32, u32)) -> Option<(String, String)> {
        let mounts = parse(EXAMPLE);
        let mount = covering(&mounts, Path::new(path), device)?;
        Some((mount.point.display().to_string(), mount.kind.clone()))
    }

    #[test]
    fn each_readable_line_is_a_mount() {
        let mounts = parse(EXAMPLE);
        let points: Vec<_> = mounts.iter().map(|mount| mount.point.display().to_string()).collect();
        assert_eq!(points, ["/proc", "/", "/with blank\\slash", "/data", "/data", "/odd\\04"]);
        let Some(blank) = mounts.get(2) else { panic!("it is there") };
        assert_eq!((blank.device, blank.kind.as_str()), ((254, 1), "xfs"));
        assert_eq!(blank.source, Path::new("/dev/vdb1"));
        assert_eq!(blank.options, ["rw", "noatime", "rw"]);
    }

    #[test]
    fn a_path_lies_on_the_mount_with_its_device_else_on_the_longest() {
        let found = |point: &str, kind: &str| Some((point.to_owned(), kind.to_owned()));
        assert_eq!(point_of("/data/spool", (0, 51)), found("/data", "ext4"));
        assert_eq!(point_of("/data/spool", (0, 50)), found("/data", "tmpfs"));
        assert_eq!(point_of("/data/spool", (9, 9)), found("/data", "ext4"), "the upper one");
        assert_eq!(point_of("/database", (9, 9)), found("/", "ext4"), "no part of a name");
        assert_eq!(point_of("/with blank\\slash/x", (254, 1)), found("/with blank\\slash", "xfs"));
        assert_eq!(point_of("relative", (9, 9)), None);
    }

    #[test]
    fn no_bytes_cause_a_panic() {
        for length in 0..EXAMPLE.len() {
            parse(&EXAMPLE[..length]);
            parse(&EXAMPLE[length..]);
        }
        assert!(parse(b"\\\xff\xff - \\999 \\").is_empty());
    }
}
