//! The quarantine: a folder that damaged bytes are put into before anything is declared gone (R10),
//! with a line about each in `report.ndjson`. Nothing here is ever removed; whoever looks after the
//! machine may.

use std::io;
use std::path::Path;

use paquebot_protocol::{Lane, Number, TargetId};
use serde::Serialize;

use super::segment::Paths;
use crate::disk::Disk;
use crate::fault::Fault;

/// What is written down about damaged bytes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// RFC 3339, in UTC.
    pub(super) time: String,
    pub(super) segment: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lane: Option<Lane>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<TargetId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Number>,
    pub(super) bytes: u64,
    pub(super) found: String,
    /// The file in the quarantine that holds the bytes, if their place is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
}

impl Report {
    /// The report in a sentence, for the log.
    pub(super) fn sentence(&self) -> String {
        let mut said = match (self.first, self.last, &self.target) {
            (Some(first), Some(last), Some(target)) => {
                format!("packets {first} to {last} to {target} are damaged: {}", self.found)
            }
            _ => self.found.clone(),
        };
        if let Some(file) = &self.file {
            said.push_str(&format!("; the bytes are in quarantine/{file}"));
        }
        said
    }
}

/// A time as it is written down.
pub(super) fn time(wall_ms: u64) -> String {
    let at = i64::try_from(wall_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| wall_ms.to_string(), |at| format!("{at:.3}"))
}

/// Keeps bytes under a name, durably; whether they were not there yet.
pub(super) fn keep(disk: &dyn Disk, paths: &Paths, name: &str, bytes: &[u8]) -> io::Result<bool> {
    let path = paths.quarantine().join(name);
    if disk.size(&path).is_ok_and(|size| size == bytes.len() as u64) {
        return Ok(false);
    }
    let file = disk.open(&path, true)?;
    file.write(0, bytes)?;
    file.sync_data()?;
    disk.sync_dir(&paths.quarantine())?;
    Ok(true)
}

/// Moves a file of the spool into the quarantine, durably; gives the name that it has there, or
/// nothing when there is no such file.
pub(super) fn take(disk: &dyn Disk, paths: &Paths, path: &Path) -> io::Result<Option<String>> {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Ok(None);
    };
    let there = disk.list(&paths.quarantine())?;
    let mut free = name.clone();
    for again in 2_u32.. {
        if !there.contains(&free) {
            break;
        }
        free = format!("{name}.{again}");
    }
    match disk.rename(path, &paths.quarantine().join(&free)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        moved => moved?,
    }
    disk.sync_dir(&paths.quarantine())?;
    disk.sync_dir(&paths.segments())?;
    Ok(Some(free))
}

/// Adds a line to the report, durably.
pub(super) fn report(disk: &dyn Disk, paths: &Paths, report: &Report) -> Result<(), Fault> {
    let mut line = serde_json::to_vec(report).map_err(|error| Fault::Broken(error.to_string()))?;
    line.push(b'\n');
    let path = paths.quarantine().join("report.ndjson");
    let (file, new) = match disk.open(&path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (disk.open(&path, true)?, true),
        opened => (opened?, false),
    };
    let len = file.len()?;
    let mut last = [b'\n'];
    if len > 0 {
        file.read(len - 1, &mut last)?;
    }
    if last != [b'\n'] {
        // A crash left a part of a line.
        line.insert(0, b'\n');
    }
    file.write(len, &line)?;
    file.sync_data()?;
    if new {
        disk.sync_dir(&paths.quarantine())?;
    }
    Ok(())
}

/// How many files are kept here.
pub(super) fn count(disk: &dyn Disk, paths: &Paths) -> usize {
    let names = disk.list(&paths.quarantine()).unwrap_or_default();
    names.iter().filter(|name| name.as_str() != "report.ndjson").count()
}
