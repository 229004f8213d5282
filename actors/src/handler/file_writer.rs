//! The file beneath the handler `file`, kept in line with the ledger.
//!
//! The ledger knows the file by device and inode, with the length up to which every byte belongs to
//! a recorded outcome. A marker beside the file names the ledger and counts its openings. On opening:
//!
//! - bytes past the recorded length were written and never recorded: they go to a quarantine file
//!   and are cut off (R10), for their packets will come again;
//! - a file shorter than recorded lost bytes to someone else: this is reported, nothing is extended;
//! - a marker that is ahead of the ledger, or names another one, means that the ledger was restored
//!   or lost: nothing is cut, the file is set aside under another name and a new one is begun.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use paquebot_protocol::{LedgerId, Packet, PacketId};
use paquebot_store::{FileId, FileState, Ledger as Store, LedgerError, Record, RecordError};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::ndjson::Line;
use crate::attempt::Attempt;
use crate::clock;

/// What is written for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A line of JSON with the packet's facts and data.
    Ndjson,
    /// The data alone, exactly, with nothing between packets.
    Raw,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenFileError {
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
    /// The ledger could not record the opening.
    #[error("recording the opening failed: {0}")]
    Record(#[from] RecordError),
    /// No thread could be started.
    #[error("starting the handler's thread failed: {0}")]
    Thread(io::Error),
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    LedgerStopped,
}

/// The file and how far it is recorded.
#[derive(Debug)]
pub(super) struct FileWriter {
    path: PathBuf,
    format: FileFormat,
    file: File,
    id: FileId,
    generation: u64,
    recorded_bytes: u64,
    gathered: Vec<u8>,
    store: Store,
    /// Whether the ledger may have recorded what it did not confirm.
    doubt: bool,
}

/// What stands beside the file, so that a restored ledger is noticed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    ledger: String,
    device: u64,
    inode: u64,
    generation: u64,
}

impl FileWriter {
    /// Opens the file, or begins a new one.
    pub(super) fn open(
        path: &Path,
        format: FileFormat,
        store: &Store,
        ledger: LedgerId,
    ) -> Result<Self, OpenFileError> {
        let parent = parent_of(path);
        fs::create_dir_all(&parent).map_err(failed("creating", &parent))?;
        let (mut file, mut id) = open_locked(path)?;
        let mut known = look_up(store, id)?;
        let marker = read_marker(path)?;
        let length = length_of(&file, path)?;
        if !agrees(marker.as_ref(), known.as_ref(), ledger, id, length) {
            let aside = beside(path, &format!("before-{}", clock::wall_ms()));
            tracing::error!(file = %path.display(), kept_as = %aside.display(),
                "the ledger does not know how this file was written last (was it restored?): the \
                 file is set aside whole and a new one is begun; packets may be in both");
            fs::rename(path, &aside).map_err(failed("setting aside", path))?;
            sync_dir(&parent)?;
            (file, id) = open_locked(path)?;
            known = look_up(store, id)?;
        }
        let length = length_of(&file, path)?;
        let recorded = known.as_ref().map_or(length, |state| state.length);
        if length > recorded {
            set_tail_aside(&mut file, path, recorded, length)?;
        } else if length < recorded {
            tracing::error!(file = %path.display(), expected = recorded, found = length,
                "the file is shorter than recorded: someone else cut it, those lines are lost");
        }
        let generation = known.map_or(0, |state| state.generation) + 1;
        let writer = Self {
            path: path.to_owned(),
            format,
            file,
            id,
            generation,
            recorded_bytes: recorded.min(length),
            gathered: Vec::new(),
            store: store.clone(),
            doubt: false,
        };
        writer.announce(store, ledger, &parent)?;
        Ok(writer)
    }

    /// Adds an attempt's packets to what is written next; gives those that cannot be read, with why.
    pub(super) fn gather(&mut self, attempt: &Attempt) -> Vec<(PacketId, Vec<u8>, String)> {
        let mut unreadable = Vec::new();
        for (id, record) in attempt.records() {
            match (Packet::decode(record), self.format) {
                (Ok(packet), FileFormat::Raw) => self.gathered.extend_from_slice(packet.data),
                (Ok(packet), FileFormat::Ndjson) => {
                    let line = Line::new(id, &attempt.origin.client, &attempt.target, &packet);
                    line.write(&mut self.gathered);
                }
                (Err(error), _) => unreadable.push((id, record.to_vec(), error.to_string())),
            }
        }
        unreadable
    }

    /// Writes and syncs what was gathered, behind what is recorded.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.doubt {
            self.settle()?;
        }
        self.file.write_all_at(&self.gathered, self.recorded_bytes)?;
        self.file.sync_data()
    }

    /// What the ledger has to record for what was written.
    pub(super) fn written(&self) -> (FileId, FileState) {
        (self.id, self.state(self.recorded_bytes + self.gathered.len() as u64))
    }

    /// The ledger has recorded it.
    pub(super) fn recorded(&mut self) {
        self.recorded_bytes += self.gathered.len() as u64;
        self.gathered.clear();
    }

    /// Whether it was recorded is not known: the file stays as it is until the ledger can say. Were
    /// it cut back now, and the ledger found to have recorded it, its lines would be lost.
    pub(super) fn doubt(&mut self) {
        self.gathered.clear();
        self.doubt = true;
    }

    /// Asks the ledger how much of the file counts, and cuts off the rest.
    fn settle(&mut self) -> io::Result<()> {
        let known = look_up(&self.store, self.id).map_err(io::Error::other)?;
        self.recorded_bytes = known.map_or(self.recorded_bytes, |state| state.length);
        self.doubt = false;
        self.file.set_len(self.recorded_bytes)
    }

    /// It was not recorded: the file ends again where the ledger says.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.gathered.clear();
        if self.doubt {
            return Ok(());
        }
        self.file.set_len(self.recorded_bytes)?;
        self.file.sync_data()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn state(&self, length: u64) -> FileState {
        let path = self.path.display().to_string();
        FileState { path, length, generation: self.generation }
    }

    /// Counts this opening in the ledger, and then beside the file: a crash between leaves the
    /// marker one behind, which is not a restored ledger.
    fn announce(
        &self,
        store: &Store,
        ledger: LedgerId,
        parent: &Path,
    ) -> Result<(), OpenFileError> {
        self.file.sync_all().map_err(failed("syncing", &self.path))?;
        sync_dir(parent)?;
        let (answer, answered) = mpsc::channel();
        store.record(Record {
            handler: "".into(),
            marks: Vec::new(),
            file: Some((self.id, self.state(self.recorded_bytes))),
            dead: Vec::new(),
            reply: Box::new(move |outcome| answer.send(outcome).unwrap_or_default()),
        });
        answered.recv().map_err(|_| OpenFileError::LedgerStopped)??;
        let marker = Marker {
            ledger: ledger.to_string(),
            device: self.id.device,
            inode: self.id.inode,
            generation: self.generation,
        };
        write_marker(&self.path, &marker)?;
        sync_dir(parent)
    }
}

/// Whether the ledger's knowledge of the file and the marker beside it belong together.
fn agrees(
    marker: Option<&Marker>,
    known: Option<&FileState>,
    ledger: LedgerId,
    id: FileId,
    length: u64,
) -> bool {
    match (marker, known) {
        // A file that was there before us, or an empty one: we go on behind it.
        (None, None) => true,
        (Some(marker), None) => {
            length == 0 || (marker.device, marker.inode) != (id.device, id.inode)
        }
        // Someone removed the marker; the ledger's word is all there is.
        (None, Some(_)) => true,
        (Some(marker), Some(state)) => {
            let ours = marker.ledger == ledger.to_string() && marker.inode == id.inode;
            let in_step = [state.generation, state.generation.saturating_sub(1)];
            ours && in_step.contains(&marker.generation)
        }
    }
}

fn open_locked(path: &Path) -> Result<(File, FileId), OpenFileError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(failed("opening", path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| OpenFileError::Locked { path: path.to_owned() })?;
    let facts = file.metadata().map_err(failed("reading the metadata of", path))?;
    Ok((file, FileId { device: facts.dev(), inode: facts.ino() }))
}

fn look_up(store: &Store, id: FileId) -> Result<Option<FileState>, OpenFileError> {
    let (answer, answered) = mpsc::channel();
    store.file(id, Box::new(move |state| answer.send(state).unwrap_or_default()));
    Ok(answered.recv().map_err(|_| OpenFileError::LedgerStopped)??)
}

/// Copies what lies past the recorded length into a file of its own, syncs that, and cuts.
fn set_tail_aside(file: &mut File, path: &Path, from: u64, to: u64) -> Result<(), OpenFileError> {
    let aside = beside(path, &format!("quarantine-{}", clock::wall_ms()));
    tracing::warn!(file = %path.display(), bytes = to - from, kept_as = %aside.display(),
        "bytes that were written and never recorded are set aside; their packets come again");
    let copy = |file: &mut File| -> io::Result<()> {
        file.seek(SeekFrom::Start(from))?;
        let mut out = File::create_new(&aside)?;
        io::copy(&mut file.take(to - from), &mut out)?;
        out.flush()?;
        out.sync_all()
    };
    copy(file).map_err(failed("setting bytes aside from", path))?;
    sync_dir(&parent_of(path))?;
    file.set_len(from).and_then(|()| file.sync_all()).map_err(failed("cutting", path))
}

fn read_marker(path: &Path) -> Result<Option<Marker>, OpenFileError> {
    let at = beside(path, "paquebot");
    match fs::read(&at) {
        // A marker that cannot be read says nothing; it is written anew.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", &at)(error)),
    }
}

fn write_marker(path: &Path, marker: &Marker) -> Result<(), OpenFileError> {
    let (at, new) = (beside(path, "paquebot"), beside(path, "paquebot.tmp"));
    let bytes = serde_json::to_vec(marker).unwrap_or_default();
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &at)
    };
    write().map_err(failed("writing", &at))
}

fn length_of(file: &File, path: &Path) -> Result<u64, OpenFileError> {
    Ok(file.metadata().map_err(failed("reading the metadata of", path))?.len())
}

fn sync_dir(dir: &Path) -> Result<(), OpenFileError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", dir))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenFileError + 'a {
    move |source| OpenFileError::Io { doing, path: path.to_owned(), source }
}
