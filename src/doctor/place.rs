//! A place: a directory in which the program keeps something, with all that is looked at there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

use super::device::{self, Device};
use super::file_system;
use super::finding::{Finding, Verdict};
use super::fsync::{self, Latency};
use super::mount::{self, Mount};
use super::probe::Probe;
use super::space::{self, Space};
use crate::config::{Config, HandlerKind};

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A client's spool, with its quota in bytes.
    Spool { max_bytes: u64 },
    /// A server's ledger.
    Ledger,
    /// A handler's output.
    Output,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its key in the config, and its path.
    pub(super) name: String,
    /// The directory.
    pub(super) dir: PathBuf,
    /// What it is for.
    pub(super) used: Use,
}

impl Place {
    /// Every directory that the config names; an output's directory once, for all its handlers.
    pub(super) fn of(config: &Config) -> Vec<Self> {
        let mut places = Vec::new();
        if let Some(client) = &config.client {
            let used = Use::Spool { max_bytes: client.spool.max_bytes };
            places.push(Self::new("client.data_dir", &client.data_dir, used));
        }
        let Some(server) = &config.server else { return places };
        places.push(Self::new("server.data_dir", &server.data_dir, Use::Ledger));
        let mut outputs: Vec<(&Path, Vec<&str>)> = Vec::new();
        for handler in &server.handlers {
            let HandlerKind::File { path, .. } = &handler.kind else { continue };
            let dir = path.folder();
            match outputs.iter_mut().find(|(known, _)| *known == dir) {
                Some((_, names)) => names.push(&handler.name),
                None => outputs.push((dir, vec![&handler.name])),
            }
        }
        places.extend(outputs.into_iter().map(|(dir, names)| {
            Self::new(&format!("output of {}", names.join(", ")), dir, Use::Output)
        }));
        places
    }

    fn new(key: &str, dir: &Path, used: Use) -> Self {
        Self { name: format!("{key} {}", dir.display()), dir: dir.to_owned(), used }
    }

    /// Looks at all of it.
    pub(super) fn look(&self, mounts: &[Mount], findings: &mut Vec<Finding>) {
        let mut say =
            |check: &'static str, verdict: Verdict| findings.push(verdict.on(&self.name, check));
        let there = match nearest(&self.dir) {
            Ok(there) => there,
            Err(error) => return say("directory", unusable(&error)),
        };
        say("directory", judge_directory(&self.dir, &there));
        say("owner", judge_owner(&there));
        let mount = mount::covering(mounts, &there.dir, there.device);
        let device = mount.and_then(|mount| Device::beneath(mount, Path::new(device::SYS)));
        let kind = mount.map(|mount| file_system::keeps(&mount.kind));
        say("file-system", file_system::judge_kind(mount));
        let cache = device.as_ref().and_then(|device| device.cache);
        say("mount-options", file_system::judge_options(mount, cache));
        say("write-cache", device::judge(device.as_ref()));
        match Probe::new(&there.dir) {
            Ok(mut probe) => {
                say("writable", Verdict::ok("a file was written and synced", "nothing to do"));
                let on_a_disk = device.is_some() && kind == Some(file_system::Keeps::Disk);
                let latency = Latency::measure(&mut probe);
                say(
                    "fsync",
                    latency.map_or_else(
                        |error| failed("syncing appended bytes", &error),
                        |latency| fsync::judge(latency, on_a_disk),
                    ),
                );
                say("rename", judge_rename(probe.rename()));
            }
            Err(error) => {
                say("writable", failed("writing and syncing a file", &error));
                let skipped = || Verdict::note("not tried", "the directory cannot be written");
                say("fsync", skipped());
                say("rename", skipped());
            }
        }
        self.look_at_space(&there.dir, &mut say);
    }

    fn look_at_space(&self, there: &Path, say: &mut impl FnMut(&'static str, Verdict)) {
        match Space::of(there) {
            Ok(space) => {
                say("space", space::judge_space(&space));
                say("inodes", space::judge_inodes(&space));
                match self.used {
                    Use::Spool { max_bytes } => {
                        let used = space::bytes_in(&self.dir.join("spool"));
                        say("quota", space::judge_quota(&space, max_bytes, used));
                    }
                    Use::Ledger => {
                        let used = space::bytes_in(&self.dir.join("dead-letters.redb"));
                        say("dead-letters", space::judge_dead_letters(&space, used));
                    }
                    Use::Output => {}
                }
            }
            Err(error) => say("space", failed("asking for free space", &error)),
        }
    }
}

/// The directory, or the nearest one above it that exists.
#[derive(Debug)]
struct There {
    /// Without symbolic links.
    dir: PathBuf,
    device: (u32, u32),
    owner: u32,
    group: u32,
    mode: u32,
}

fn nearest(dir: &Path) -> io::Result<There> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for dir in dir.ancestors() {
        match fs::canonicalize(dir).and_then(|dir| Ok((fs::metadata(&dir)?, dir))) {
            Ok((facts, _)) if !facts.is_dir() => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok((facts, dir)) => {
                let device = (rustix::fs::major(facts.dev()), rustix::fs::minor(facts.dev()));
                let (owner, group, mode) = (facts.uid(), facts.gid(), facts.mode() & 0o7777);
                return Ok(There { dir, device, owner, group, mode });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            Err(error) => return Err(error),
        }
    }
    Err(missing)
}

fn unusable(error: &io::Error) -> Verdict {
    let meaning = "nothing can be stored there; name another directory, or put this right";
    Verdict::problem(format!("cannot be used: {error}"), meaning)
}

fn judge_directory(wanted: &Path, there: &There) -> Verdict {
    let is_there = fs::metadata(wanted).is_ok();
    if is_there {
        return Verdict::ok("is there", "nothing has to be done");
    }
    Verdict::note(
        format!("does not exist yet; {} was looked at in its place", there.dir.display()),
        "`run` makes it; whatever is mounted there later was not looked at",
    )
}

fn judge_owner(there: &There) -> Verdict {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let There { owner, group: its_group, mode, .. } = there;
    let found = format!(
        "owned by user {owner}, group {its_group}, mode {mode:04o}; looked at as user {user}, \
         group {group}"
    );
    if *owner == user {
        return Verdict::ok(found, "nothing has to be done");
    }
    let meaning = "another user owns it; run the doctor as the user that the program runs as";
    Verdict::note(found, meaning)
}

fn judge_rename(renamed: io::Result<()>) -> Verdict {
    match renamed {
        Ok(()) => {
            let meaning = "a new file's name survives a crash as well as its bytes";
            Verdict::ok("a file was renamed and its directory synced", meaning)
        }
        Err(error) => failed("renaming a file and syncing its directory", &error),
    }
}

fn failed(doing: &str, error: &io::Error) -> Verdict {
    let meaning = match error.kind() {
        io::ErrorKind::PermissionDenied => "the program's user needs the right to write here",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "there is no room: nothing can be stored until space is freed"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it read-write; it may have become so by an error"
        }
        _ => "nothing can be stored here; the system's log may say why",
    };
    Verdict::problem(format!("{doing} failed: {error}"), meaning)
}
