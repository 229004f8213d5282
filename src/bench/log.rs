//! A log that grows as fast as its lines are handled, for the source `tail`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::exit::{Code, Failure};

/// The file's name, beside the config.
pub(super) const LOG: &str = "bench.log";

/// The log.
#[derive(Debug)]
pub(super) struct GrowingLog {
    file: File,
    lines: u64,
}

impl GrowingLog {
    /// An empty log in `dir`.
    pub(super) fn make(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(LOG);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(Failure::of(Code::Io, &path.display().to_string()))?;
        Ok(Self { file, lines: 0 })
    }

    /// Adds lines of `size` bytes until there are `lines`.
    pub(super) fn grow_to(&mut self, lines: u64, size: u64) {
        let more = usize::try_from(lines.saturating_sub(self.lines)).unwrap_or_default();
        if more == 0 {
            return;
        }
        let mut line = "x".repeat(usize::try_from(size).unwrap_or_default());
        line.push('\n');
        // A log that cannot be written is seen by the packets that are missing.
        if self.file.write_all(line.repeat(more).as_bytes()).is_ok() {
            self.lines = lines;
        }
    }
}
