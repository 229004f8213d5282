//! Where a handler writes: its path, what is beneath it, and the ledger's rows about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use paquebot_protocol::LedgerId;
use paquebot_store::{
    FileId, FileState, Ledger as Store, LedgerError, Record, RecordError, Replays,
};

use super::disk::{OutputDisk, OutputFile};
use crate::clock;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file system said no.
    #[error("{doing} {path} failed: {source}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("expected to be the only writer of {path}, found it locked", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The ledger could not say what it knows of the file.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger could not record what became of the file.
    #[error("recording what became of the file failed: {0}")]
    Record(#[from] RecordError),
    /// No thread could be started.
    #[error("starting the handler's thread failed: {0}")]
    Thread(io::Error),
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    LedgerStopped,
}

/// What is written for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A line of JSON with the packet's facts and data.
    Ndjson,
    /// The data alone, exactly, with nothing between packets.
    Raw,
}

/// When a file ends and the next one begins, and what becomes of those that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would pass this size, in bytes.
    pub size: Option<u64>,
    /// When its first packet is this old.
    pub every: Option<Duration>,
    /// How many that have ended stay; all, if not set.
    pub keep: Option<u64>,
    /// Whether they are compressed.
    pub compress: bool,
}

/// The place.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) disk: Arc<dyn OutputDisk>,
    pub(super) path: PathBuf,
    pub(super) format: FileFormat,
    pub(super) rotation: Option<Rotation>,
    pub(super) store: Store,
    pub(super) ledger: LedgerId,
}

impl Place {
    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// A path beside the output.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    /// A path beside the output that nobody has: `<path>.<what>-<milliseconds since 1970>`.
    pub(super) fn free(&self, what: &str) -> Result<PathBuf, FileError> {
        let mut stamp = clock::wall_ms();
        loop {
            let path = self.beside(&format!("{what}-{stamp}"));
            if self.disk.find(&path).map_err(failed("looking for", &path))?.is_none() {
                return Ok(path);
            }
            stamp += 1;
        }
    }

    pub(super) fn open(&self, path: &Path) -> Result<Option<Box<dyn OutputFile>>, FileError> {
        self.disk.open(path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => FileError::Locked { path: path.to_owned() },
            _ => failed("opening", path)(source),
        })
    }

    pub(super) fn create(&self, path: &Path) -> Result<Box<dyn OutputFile>, FileError> {
        self.disk.create(path).map_err(failed("creating", path))
    }

    pub(super) fn sync_dir(&self) -> Result<(), FileError> {
        self.disk.sync_dir(self.dir()).map_err(failed("syncing", self.dir()))
    }

    /// What the ledger knows of files.
    pub(super) fn rows(&self) -> Result<Vec<(FileId, FileState)>, FileError> {
        rows(&self.store)
    }

    /// Has the ledger record what became of a file, without any packet.
    pub(super) fn record(&self, id: FileId, state: FileState) -> Result<(), FileError> {
        let (answer, answered) = mpsc::channel();
        self.store.record(Record {
            handler: "".into(),
            marks: Vec::new(),
            file: Some((id, state)),
            dead: Vec::new(),
            replays: Replays::default(),
            reply: Box::new(move |outcome| answer.send(outcome).unwrap_or_default()),
        });
        Ok(answered.recv().map_err(|_| FileError::LedgerStopped)??)
    }
}

/// What the ledger knows of the files of all handlers.
pub(super) fn rows(store: &Store) -> Result<Vec<(FileId, FileState)>, FileError> {
    let (answer, answered) = mpsc::channel();
    store.files(Box::new(move |rows| answer.send(rows).unwrap_or_default()));
    Ok(answered.recv().map_err(|_| FileError::LedgerStopped)??)
}

pub(super) fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { doing, path: path.to_owned(), source }
}
