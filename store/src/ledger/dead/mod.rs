//! Dead letters: packets that ended without being handled, in segments of bounded size (R8, R9).
//!
//! ```text
//! <dir>/dead-letters/NNNNNNNN.seg   the highest number takes new ones
//! <dir>/quarantine/                 where a damaged segment goes
//! ```
//!
//! A letter has a *position*, which goes up through all segments: the order of the list. A segment
//! is removed whole when its last letter is gone.
//!
//! Letters are durable before the cursor that passes them (R4). Until the ledger's transaction is
//! durable, too, a letter is *unsettled*: it does not count, nobody sees it, and when its packet
//! comes again it is overwritten, or removed if the packet is handled then. After a crash those
//! beyond their lane's cursor are unsettled.
//!
//! A letter that was *replayed* goes by word of the ledger's transaction, which names it in its table
//! `replayed`; it is unsettled from then on, and removed from its segment as soon as possible. While
//! that transaction is not durable the letter is *leaving*: unsettled, and counted again if it fails.
//!
//! What fails here never takes the ledger with it for good: a segment whose write failed is written
//! anew from what was durable, one that cannot be read is set aside and counted as lost (R10).
//!
//! | file | does |
//! |---|---|
//! | `file.rs` | one segment's tables |
//! | `open.rs` | looks through the segments at the start |
//! | `write.rs` | adds, settles and removes letters |
//! | `replay.rs` | lets letters go that were handled after all |
//! | `mend.rs` | goes on after a failure, sets damage aside |
//! | `list.rs` | finds letters |
//! | `tally.rs` | counts |

mod file;
mod list;
mod mend;
mod open;
mod replay;
mod tally;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use file::SegmentFile;
pub(super) use open::{Opened, Rows};
pub(super) use tally::Tally;
use tally::{Brief, Tallies};

use crate::disk::Disk;
use crate::fault::Fault;

/// Spool of the session, lane, number.
pub(super) type DeadKey = (u128, u64, u64);

/// Where a letter stands, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placed {
    position: u64,
    key: DeadKey,
}

/// Segments that are kept open: the one that takes letters, and those that were used last.
const OPEN_MAX: usize = 4;

/// What is known of a segment without reading it.
#[derive(Debug, Default)]
struct Segment {
    /// All letters in it, even those that do not count.
    rows: u64,
    /// The bytes of their records.
    bytes: u64,
    /// The highest position that was ever durable here.
    last: u64,
    /// The bytes of its file when it was last open.
    file_bytes: u64,
    /// The numbers of each lane lie between these.
    lanes: BTreeMap<(u128, u64), (u64, u64)>,
    /// When the oldest was last tried.
    oldest_ms: u64,
    /// Those that count.
    tallies: Tallies,
    /// A write failed: nothing is done to it before it is mended.
    failed: bool,
}

/// The dead letters.
#[derive(Debug)]
pub(super) struct DeadLetters {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    segment_bytes: u64,
    segments: BTreeMap<u64, Segment>,
    /// The one used last stands last.
    open: VecDeque<(u64, SegmentFile)>,
    unsettled: BTreeMap<DeadKey, Brief>,
    leaving: Vec<DeadKey>,
    /// Those that the ledger's table names.
    replayed: BTreeSet<DeadKey>,
    tallies: Tallies,
    /// Never used twice, not even for a segment that was not made.
    next_segment: u64,
    next_position: u64,
    /// What the ledger has yet to write down: segments that changed, and letters that are gone.
    changed: BTreeSet<u64>,
    gone: BTreeMap<&'static str, u64>,
    /// What happened that somebody should know of.
    notes: Vec<String>,
    /// Whether the tallies have changed since somebody last asked.
    recount: bool,
}

impl DeadLetters {
    /// The directory of the segments.
    pub(super) fn dir(root: &Path) -> PathBuf {
        root.join("dead-letters")
    }

    /// The number that a segment's name says.
    pub(super) fn number(name: &str) -> Option<u64> {
        name.strip_suffix(".seg")?.parse().ok()
    }

    /// A segment's file in the ledger's directory `root`.
    pub(super) fn path_of(root: &Path, number: u64) -> PathBuf {
        Self::dir(root).join(format!("{number:08}.seg"))
    }

    /// Reads all of a segment's file without writing to it; gives its format, how many letters are in
    /// it and their highest position.
    pub(super) fn look_at(disk: &dyn Disk, path: &Path) -> Result<(u64, u64, u64), Fault> {
        let (mut letters, mut last) = (0, 0);
        let format = SegmentFile::look(disk, path, |position, _| {
            letters += 1;
            last = position.max(last);
        })?;
        Ok((format, letters, last))
    }

    /// How many count, and the bytes of their records.
    pub(super) fn all(&self) -> Tally {
        self.tallies.all
    }

    /// The same by handler.
    pub(super) fn by_handler(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.tallies.handlers.iter().map(|(handler, tally)| (handler.as_str(), *tally))
    }

    /// What there is of a client.
    pub(super) fn of_client(&self, client: &paquebot_protocol::ClientId) -> Tally {
        self.tallies.clients.get(client).copied().unwrap_or_default()
    }

    /// The bytes of all segments' files.
    pub(super) fn file_bytes(&self) -> u64 {
        let open = |number: u64| self.open.iter().find(|(open, _)| *open == number);
        let bytes = self.segments.iter().map(|(number, segment)| {
            open(*number).map_or(segment.file_bytes, |(_, file)| file.bytes())
        });
        bytes.sum()
    }

    /// Whether a segment waits to be mended.
    pub(super) fn failed(&self) -> bool {
        self.segments.values().any(|segment| segment.failed)
    }

    /// What happened since somebody last asked.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Whether the counts have changed since somebody last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.recount)
    }

    /// Closes what is open.
    pub(super) fn close(mut self) -> Result<(), Fault> {
        let mut closed = Ok(());
        for (_, file) in self.open.drain(..) {
            closed = file.close().and(closed);
        }
        closed
    }

    fn path(&self, number: u64) -> PathBuf {
        Self::path_of(&self.root, number)
    }

    /// A segment's file, opened if need be; none when it is gone, or has just been set aside.
    fn file(&mut self, number: u64) -> Result<Option<&SegmentFile>, Fault> {
        let Some(segment) = self.segments.get(&number) else { return Ok(None) };
        if segment.failed {
            return Err(Fault::damaged("a segment of dead letters", "one that waits to be mended"));
        }
        let place = self.open.iter().position(|(open, _)| *open == number);
        let file = match place.and_then(|place| self.open.remove(place)) {
            Some((_, file)) => file,
            None => match SegmentFile::open(&*self.disk, &self.path(number), |_, _| {}) {
                Ok((file, _)) => file,
                Err(Fault::Full) => return Err(Fault::Full),
                Err(fault @ (Fault::Damaged(_) | Fault::Broken(_))) => {
                    self.set_aside(number, &fault)?;
                    return Ok(None);
                }
            },
        };
        self.keep_open(number, file);
        Ok(self.open.back().map(|(_, file)| file))
    }

    /// Reads in a segment; nothing when it is gone. A file that fails is opened anew by the next, who
    /// sets it aside if it is damaged.
    fn read<T>(
        &mut self,
        number: u64,
        read: impl FnOnce(&SegmentFile) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let Some(file) = self.file(number)? else { return Ok(None) };
        let found = read(file);
        if found.is_err() {
            self.let_go(number);
        }
        found.map(Some)
    }

    fn keep_open(&mut self, number: u64, file: SegmentFile) {
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.file_bytes = file.bytes();
        }
        self.open.push_back((number, file));
    }

    fn let_go(&mut self, number: u64) {
        self.open.retain(|(open, _)| *open != number);
    }

    /// The segments that may hold numbers of a lane.
    fn segments_of(&self, lane: (u128, u64), first: u64, through: u64) -> Vec<u64> {
        let may = |segment: &Segment| {
            let held = segment.lanes.get(&lane);
            held.is_some_and(|(least, most)| *least <= through && first <= *most)
        };
        self.segments.iter().filter(|(_, segment)| may(segment)).map(|(n, _)| *n).collect()
    }
}

impl Segment {
    /// Takes note of a letter in it.
    fn hold(&mut self, key: DeadKey, position: u64, bytes: u64, last_attempt_ms: u64) {
        let (spool, lane, number) = key;
        if self.rows == 0 || last_attempt_ms < self.oldest_ms {
            self.oldest_ms = last_attempt_ms;
        }
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.last = self.last.max(position);
        let range = self.lanes.entry((spool, lane)).or_insert((number, number));
        *range = (range.0.min(number), range.1.max(number));
    }

    fn release(&mut self, bytes: u64) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
