//! Rotation: the file gets another name, and the next one begins.
//!
//! The ledger records the intent, the file is renamed, the directory synced, the new file made, and
//! the ledger records that in place of the old one. Whoever opens the file after a crash in between
//! finds the intent in the ledger and goes on from there: the file is still at the path
//! ([`carry_on`]), or it is not, and then only the new one is missing (`opening.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use paquebot_store::{FileId, FileState};

use super::disk::OutputFile;
use super::marker::MarkerFile;
use super::opening::begin_new;
use super::output::Output;
use super::place::{FileError, Place, failed};
use super::rotated;

impl Output {
    /// Ends this file and begins the next one. What was gathered goes there.
    ///
    /// After an error the place has to be opened again.
    pub(super) fn rotate(mut self) -> Result<Self, FileError> {
        let gathered = self.hand_over();
        let to = next_path(&self.place)?;
        let Self { place, marker, id, mut state, file, .. } = self;
        state.rotating = Some(to.display().to_string());
        state.generation += 1;
        place.record(id, state.clone())?;
        state.generation += 1;
        let mut next = finish(&place, marker, file, (id, state), &to)?;
        next.adopt(gathered);
        Ok(next)
    }
}

/// Goes on with a rotation whose intent is recorded, and whose file is still at the path.
pub(super) fn carry_on(
    place: &Arc<Place>,
    marker: MarkerFile,
    file: Box<dyn OutputFile>,
    old: (FileId, FileState),
    to: &str,
) -> Result<Output, FileError> {
    let mut to = PathBuf::from(to);
    if place.disk.find(&to).map_err(failed("looking for", &to))?.is_some() {
        // Somebody took the name meanwhile; nothing is overwritten.
        to = next_path(place)?;
    }
    finish(place, marker, file, old, &to)
}

fn finish(
    place: &Arc<Place>,
    marker: MarkerFile,
    file: Box<dyn OutputFile>,
    (id, mut state): (FileId, FileState),
    to: &Path,
) -> Result<Output, FileError> {
    place.disk.rename(&place.path, to).map_err(failed("rotating", &place.path))?;
    place.sync_dir()?;
    drop(file);
    tracing::info!(file = %place.path.display(), rotated_to = %to.display(), bytes = state.length,
        "the file was rotated");
    state.rotating = None;
    state.replaces.push(id);
    begin_new(place, marker, state)
}

fn next_path(place: &Place) -> Result<PathBuf, FileError> {
    let name = rotated::next_name(place).map_err(failed("listing", place.dir()))?;
    Ok(place.dir().join(name))
}
