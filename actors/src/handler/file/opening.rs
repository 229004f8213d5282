//! Opening the output, and finding out what happened to it since: a crash between any two steps, a
//! restored ledger, or somebody else at work. The reasoning is in `mod.rs`.

use std::sync::Arc;

use paquebot_store::{FileId, FileState};

use super::disk::OutputFile;
use super::marker::{Marker, MarkerFile};
use super::output::{Output, Tail};
use super::place::{FileError, Place, failed};
use super::rotation;
use crate::clock;

/// What is known when the file is opened.
struct Facts {
    marker: Option<Marker>,
    /// The row of the file at the path.
    row: Option<FileState>,
    /// Rows of other files that were at the path.
    others: Vec<(FileId, FileState)>,
}

/// Opens the file at the place, or begins a new one.
pub(super) fn open(place: &Arc<Place>) -> Result<Output, FileError> {
    place.disk.create_dir_all(place.dir()).map_err(failed("creating", place.dir()))?;
    let (marker_file, marker) = MarkerFile::open(place)?;
    let mut rows = place.rows()?;
    let file = place.open(&place.path)?;
    let id = file.as_ref().map(|file| file.id()).transpose();
    let id = id.map_err(failed("reading the metadata of", &place.path))?;
    let at = rows.iter().position(|(known, _)| Some(*known) == id);
    let row = at.map(|at| rows.swap_remove(at).1);
    let path = place.path.display().to_string();
    rows.retain(|(_, state)| state.path == path);
    let mut facts = Facts { marker, row, others: rows };
    let replaces = facts.others.iter().map(|(id, _)| *id).collect();
    // The generation goes on above all that is known, so that this opening is in step again.
    let state = FileState {
        path,
        length: 0,
        generation: facts.generation(place) + 1,
        check: 0,
        began_ms: 0,
        rotating: None,
        replaces,
    };
    let Some((file, id)) = file.zip(id) else {
        facts.tell_what_became_of_others(place)?;
        return begin_new(place, marker_file, state);
    };
    let length = file.length().map_err(failed("reading the metadata of", &place.path))?;
    facts.recognise(&*file, length);
    if !facts.in_step(place) {
        let inode = facts.marker.as_ref().map(|marker| marker.inode);
        let ours = facts.row.is_some() || inode == Some(id.inode);
        if ours && length > 0 {
            let why = "the ledger does not know how this file was written last (was it restored \
                       or lost?)";
            return set_aside(place, marker_file, file, id, state, why);
        }
        tell_out_of_step(place);
    } else if facts.row.is_none() {
        facts.tell_what_became_of_others(place)?;
    }
    // A row of another path that does not fit is of a file that once had this inode.
    let moved_here = |row: &FileState| row.path == state.path || fits(&*file, row, length);
    let Some(row) = facts.row.filter(moved_here) else {
        // A file that was there before us: we go on behind it.
        let began_ms = if length > 0 { clock::wall_ms() } else { 0 };
        return Output::begin(place, marker_file, file, FileState { length, began_ms, ..state });
    };
    let mut state = FileState { began_ms: row.began_ms, length: row.length, ..state };
    if length < row.length {
        tracing::error!(file = %place.path.display(), expected = row.length, found = length,
            "the file is shorter than recorded: someone else cut it, what was there is lost");
        state.length = length;
    } else if !fits(&*file, &row, length) {
        let why = "the file does not hold what was written to it (did someone else write it?)";
        return set_aside(place, marker_file, file, id, state, why);
    } else if length > row.length {
        cut_tail(place, &*file, row.length, length)?;
    }
    match row.rotating {
        Some(to) => rotation::carry_on(place, marker_file, file, (id, state), &to),
        None => Output::begin(place, marker_file, file, state),
    }
}

/// Begins an empty file at the path.
pub(super) fn begin_new(
    place: &Arc<Place>,
    marker: MarkerFile,
    state: FileState,
) -> Result<Output, FileError> {
    let file = place.create(&place.path)?;
    Output::begin(place, marker, file, FileState { length: 0, began_ms: 0, ..state })
}

/// Nothing is cut on doubt: the file keeps every byte under another name, and a new one begins.
fn set_aside(
    place: &Arc<Place>,
    marker: MarkerFile,
    file: Box<dyn OutputFile>,
    id: FileId,
    mut state: FileState,
    why: &str,
) -> Result<Output, FileError> {
    let aside = place.free("before")?;
    tracing::error!(file = %place.path.display(), kept_as = %aside.display(),
        "{why}: the file is set aside whole and a new one is begun; packets may be in both");
    let renamed = place.disk.rename(&place.path, &aside);
    renamed.map_err(failed("setting aside", &place.path))?;
    place.sync_dir()?;
    drop(file);
    state.replaces.push(id);
    begin_new(place, marker, state)
}

/// Copies what lies past the recorded length into a file of its own, syncs that, and cuts.
fn cut_tail(place: &Place, file: &dyn OutputFile, from: u64, to: u64) -> Result<(), FileError> {
    let aside = place.free("quarantine")?;
    tracing::warn!(file = %place.path.display(), bytes = to - from, kept_as = %aside.display(),
        "bytes that were never recorded are set aside; packets among them come again");
    let out = place.create(&aside)?;
    let copy = || {
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = from;
        while at < to {
            let bytes = usize::try_from(to - at).map_or(COPY_BYTES, |rest| rest.min(COPY_BYTES));
            let part = buffer.get_mut(..bytes).unwrap_or_default();
            file.read_at(part, at)?;
            out.write_at(part, at - from)?;
            at += bytes as u64;
        }
        out.sync()
    };
    copy().map_err(failed("setting bytes aside from", &place.path))?;
    place.sync_dir()?;
    let cut = file.set_length(from).and_then(|()| file.sync());
    cut.map_err(failed("cutting", &place.path))
}

const COPY_BYTES: usize = 64 * 1024;

/// Whether the file holds what its row says, as far as the last recorded bytes tell.
fn fits(file: &dyn OutputFile, row: &FileState, length: u64) -> bool {
    length >= row.length && Tail::read(file, row.length).is_ok_and(|tail| tail.check() == row.check)
}

fn tell_out_of_step(place: &Place) {
    tracing::error!(file = %place.path.display(),
        "the ledger does not know how this handler wrote last (was it restored or lost?), and the \
         file is not there any more: packets may be in both");
}

impl Facts {
    /// A file that was moved to another disk, or whose disk has another number since the machine
    /// started, is known by what it holds.
    fn recognise(&mut self, file: &dyn OutputFile, length: u64) {
        if self.row.is_none() {
            let same = |(_, row): &(_, FileState)| row.length > 0 && fits(file, row, length);
            let at = self.others.iter().position(same);
            self.row = at.map(|at| self.others.swap_remove(at).1);
        }
    }

    /// Whether the ledger knows at least what it knew when something was acknowledged last.
    fn in_step(&self, place: &Place) -> bool {
        let Some(marker) = &self.marker else { return true };
        marker.is_of(place.ledger) && marker.generation <= self.recorded()
    }

    /// The highest generation that the ledger has on record for the path.
    fn recorded(&self) -> u64 {
        let others = self.others.iter().map(|(_, state)| state.generation);
        others.chain(self.row.iter().map(|row| row.generation)).max().unwrap_or(0)
    }

    fn generation(&self, place: &Place) -> u64 {
        let marker = self.marker.as_ref().filter(|marker| marker.is_of(place.ledger));
        marker.map_or(0, |marker| marker.generation).max(self.recorded())
    }

    /// The path has another file than before: because it was being rotated, or because someone
    /// else renamed or removed it. Under its new name it keeps only what was recorded.
    fn tell_what_became_of_others(&self, place: &Place) -> Result<(), FileError> {
        if !self.in_step(place) {
            tell_out_of_step(place);
            return Ok(());
        }
        for (id, row) in self.others.iter().filter(|(_, row)| row.rotating.is_none()) {
            let found = place.disk.list(place.dir()).map_err(failed("listing", place.dir()))?;
            let mut paths = found.into_iter().map(|name| place.dir().join(name));
            let now = paths.find(|path| place.disk.find(path).is_ok_and(|at| at == Some(*id)));
            tracing::error!(file = %place.path.display(), bytes = row.length,
                found_as = now.as_ref().map(|now| now.display().to_string()),
                "someone else renamed or removed the file; it goes on in a new one");
            if let Some(now) = now
                && let Some(file) = place.open(&now)?
            {
                let length = file.length().map_err(failed("reading the metadata of", &now))?;
                if length > row.length && fits(&*file, row, length) {
                    cut_tail(place, &*file, row.length, length)?;
                }
            }
        }
        Ok(())
    }
}
