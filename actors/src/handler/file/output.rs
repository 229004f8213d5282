//! The file that is being written, and how far it is recorded: each step from packets to the
//! marker, in order. The reasoning is in `mod.rs`.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use paquebot_protocol::{Packet, PacketId};
use paquebot_store::{FileId, FileState};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::OutputFile;
use super::marker::MarkerFile;
use super::place::{FileError, FileFormat, Place, Rotation, failed};
use crate::attempt::Attempt;
use crate::clock;
use crate::handler::ndjson::Lines;

/// A packet that cannot be read: its id, its record, and why.
pub(super) type Unreadable = (PacketId, Vec<u8>, String);

/// The open file.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) place: Arc<Place>,
    pub(super) marker: MarkerFile,
    pub(super) id: FileId,
    /// What the ledger has recorded of it.
    pub(super) state: FileState,
    pub(super) file: Box<dyn OutputFile>,
    tail: Tail,
    gathered: Vec<u8>,
    lines: Lines,
}

impl Output {
    /// Goes on behind `state.length`: the ledger records that, then the marker does.
    pub(super) fn begin(
        place: &Arc<Place>,
        mut marker: MarkerFile,
        file: Box<dyn OutputFile>,
        mut state: FileState,
    ) -> Result<Self, FileError> {
        let id = file.id().map_err(failed("reading the metadata of", &place.path))?;
        let tail = Tail::read(&*file, state.length).map_err(failed("reading", &place.path))?;
        state.check = tail.check();
        file.sync().map_err(failed("syncing", &place.path))?;
        place.sync_dir()?;
        place.record(id, state.clone())?;
        state.replaces.clear();
        let marked = marker.write(place.ledger, id, state.generation);
        marked.map_err(failed("writing the marker beside", &place.path))?;
        let (place, gathered, lines) = (Arc::clone(place), Vec::new(), Lines::default());
        Ok(Self { place, marker, id, state, file, tail, gathered, lines })
    }

    /// Adds an attempt's packets to what is written next; gives those that cannot be read, with why.
    /// Adds nothing, and gives nothing, when no file would hold them together with what is gathered
    /// already.
    pub(super) fn gather(&mut self, attempt: &Attempt) -> Option<Vec<Unreadable>> {
        let (mut unreadable, before) = (Vec::new(), self.gathered.len());
        for (id, record) in attempt.records() {
            match (Packet::decode(record), self.place.format) {
                (Ok(packet), FileFormat::Raw) => self.gathered.extend_from_slice(packet.data),
                (Ok(packet), FileFormat::Ndjson) => {
                    let line =
                        self.lines.next(id, &attempt.origin.client, &attempt.target, &packet);
                    line.write(&mut self.gathered);
                }
                (Err(error), _) => unreadable.push((id, record.to_vec(), error.to_string())),
            }
        }
        let size = self.place.rotation.and_then(|rotation| rotation.size);
        if before > 0 && size.is_some_and(|size| self.gathered.len() as u64 > size) {
            self.gathered.truncate(before);
            return None;
        }
        Some(unreadable)
    }

    /// Takes over what another one gathered: the file was rotated in between.
    pub(super) fn adopt(&mut self, gathered: Vec<u8>) {
        self.gathered = gathered;
    }

    /// What was gathered and not yet written.
    pub(super) fn hand_over(&mut self) -> Vec<u8> {
        mem::take(&mut self.gathered)
    }

    /// Writes and syncs what was gathered, behind what is recorded.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.place.format == FileFormat::Ndjson && self.tail.is_cut_short() {
            // Whoever cut the file left half a line, which must not spoil ours.
            self.gathered.insert(0, b'\n');
        }
        self.file.write_at(&self.gathered, self.state.length)?;
        self.file.sync()
    }

    /// What the ledger has to record for what was written.
    pub(super) fn written(&self) -> (FileId, FileState) {
        let mut state = self.state.clone();
        if state.length == 0 {
            state.began_ms = clock::wall_ms();
        }
        state.length += self.gathered.len() as u64;
        state.generation += 1;
        state.check = self.tail.after(&self.gathered).check();
        (self.id, state)
    }

    /// The ledger has recorded `state`.
    pub(super) fn recorded(&mut self, state: FileState) {
        self.tail = self.tail.after(&self.gathered);
        self.gathered.clear();
        self.state = state;
    }

    /// Lets the marker say so. Nobody may be told "handled" before this is durable.
    pub(super) fn confirm(&mut self) -> io::Result<()> {
        self.marker.write(self.place.ledger, self.id, self.state.generation)
    }

    /// It is certain that it was not recorded: the file ends again where the ledger says.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.gathered.clear();
        self.file.set_length(self.state.length)
    }

    /// Whether the path still means this file, and the file ends where we left it.
    pub(super) fn is_as_left(&self) -> io::Result<bool> {
        let here = self.place.disk.find(&self.place.path)? == Some(self.id);
        Ok(here && self.file.length()? == self.state.length)
    }

    /// Whether another file has to begin before what was gathered is written.
    pub(super) fn is_due(&self) -> bool {
        let Some(Rotation { size, .. }) = self.place.rotation else { return false };
        let length = self.state.length.saturating_add(self.gathered.len() as u64);
        let full = size.is_some_and(|size| length > size) && self.state.length > 0;
        full || self.due_in() == Some(Duration::ZERO)
    }

    /// When another file has to begin, even if nothing comes.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let every = self.place.rotation?.every?;
        let age = clock::wall_ms().saturating_sub(self.state.began_ms);
        (self.state.length > 0).then(|| every.saturating_sub(Duration::from_millis(age)))
    }
}

/// The last bytes of what is recorded: by their hash the file is known again.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Vec<u8>);

/// Enough that no two states of a file agree by chance: a line has its packet's id.
const TAIL_BYTES: usize = 4096;

impl Tail {
    /// The tail of a file that ends at `length`.
    pub(super) fn read(file: &dyn OutputFile, length: u64) -> io::Result<Self> {
        let bytes = usize::try_from(length).map_or(TAIL_BYTES, |length| length.min(TAIL_BYTES));
        let mut tail = vec![0; bytes];
        file.read_at(&mut tail, length - bytes as u64)?;
        Ok(Self(tail))
    }

    pub(super) fn check(&self) -> u64 {
        xxh3_64(&self.0)
    }

    /// The tail once `more` is written.
    fn after(&self, more: &[u8]) -> Self {
        let from_more = more.len().min(TAIL_BYTES);
        let from_self = self.0.len().min(TAIL_BYTES - from_more);
        let mut tail = Vec::with_capacity(from_self + from_more);
        tail.extend_from_slice(self.0.get(self.0.len() - from_self..).unwrap_or_default());
        tail.extend_from_slice(more.get(more.len() - from_more..).unwrap_or_default());
        Self(tail)
    }

    fn is_cut_short(&self) -> bool {
        self.0.last().is_some_and(|last| *last != b'\n')
    }
}
