//! `client`: names the client that the spool was made for. It is a label, so that a renamed client is
//! noticed: nothing about packets depends on it, and what goes wrong with it is a note, no failure.

use std::io;

use paquebot_protocol::ClientId;

use super::segment::Paths;
use crate::disk::Disk;

/// More than the longest client id has.
const BYTES_MAX: u64 = 256;

/// Whom the spool was made for. A spool that does not say so yet says from now on: for `client`.
pub(super) fn find(
    disk: &dyn Disk,
    paths: &Paths,
    client: Option<&ClientId>,
    notes: &mut Vec<String>,
) -> Option<ClientId> {
    let path = paths.client();
    let found = match read(disk, paths) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let client = client?;
            write(disk, paths, client).map(|()| client.clone())
        }
        found => found,
    };
    found.map_err(|error| notes.push(format!("{}: {error}", path.display()))).ok()
}

fn read(disk: &dyn Disk, paths: &Paths) -> io::Result<ClientId> {
    let file = disk.open_to_read(&paths.client())?;
    let mut text = vec![0; usize::try_from(file.len()?.min(BYTES_MAX)).unwrap_or(0)];
    file.read(0, &mut text)?;
    String::from_utf8_lossy(&text).trim_end().parse().map_err(io::Error::other)
}

fn write(disk: &dyn Disk, paths: &Paths, client: &ClientId) -> io::Result<()> {
    let temporary = paths.client().with_extension("tmp");
    let file = disk.open(&temporary, true)?;
    file.write(0, format!("{client}\n").as_bytes())?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, &paths.client())?;
    disk.sync_dir(&paths.segments())
}
