//! One commit: everything that is staged, the drops that wait, and what is moved, in one redb
//! transaction with one fsync; then the promises, in order, and then the facts (R1, R2).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::sync::Arc;

use paquebot_protocol::retention::deadline;
use paquebot_protocol::{Lane, Millis, Number, Run};
use redb::{Table, WriteTransaction};

use super::bury;
use super::catalog::Piece;
use super::envelope::{ENVELOPE_BYTES, Envelope};
use super::facts::{Committed, StoredRun, Tombstone};
use super::keys::KeyChanges;
use super::lanes::LaneEntry;
use super::letters;
use super::mark::Row;
use super::release::Moved;
use super::shared::KnownLane;
use super::size;
use super::stage::{Stage, Waiting};
use super::writer::{Waived, Writer};
use crate::clock;
use crate::error::AppendError;
use crate::fault::Fault;
use crate::schema;

pub(super) type Runs<'t> = Table<'t, (u64, u64), &'static [u8]>;

/// What a transaction changed, to be put in place once it is durable.
#[derive(Default)]
pub(super) struct Written {
    pub(super) lanes: BTreeMap<Lane, LaneEntry>,
    /// Pieces of sealed segments that nobody needs any more.
    pub(super) done: Vec<(Lane, u64, Piece)>,
    /// What is left of some of them.
    pub(super) left: Vec<(Lane, u64, Piece)>,
    /// Tombstones that are acknowledged, or have become part of another one.
    pub(super) settled: Vec<(Lane, Number)>,
    /// Tombstones as they stand there now, and as they were asked for.
    pub(super) raised: Vec<(Lane, Tombstone)>,
    pub(super) buried: Vec<(Lane, Tombstone)>,
    /// Lanes that have ended, and those that are forgotten.
    pub(super) retiring: Vec<Lane>,
    pub(super) retired: Vec<Lane>,
    runs: Vec<StoredRun>,
    keys: KeyChanges,
    added: u64,
    pub(super) removed: u64,
}

impl Writer {
    /// Commits what waits.
    pub(super) fn commit(&mut self) {
        let started = clock::now();
        let mut stage = mem::take(&mut self.stage);
        if let Err(error) = self.make_room(&stage) {
            self.moved = None;
            self.is_full(&error, &[], true);
            refuse(mem::take(&mut stage), &error);
            // A segment that failed meanwhile is not written to, or an older manifest might count
            // on what is removed here.
            let idle = !self.frees() && self.burials.is_empty();
            if idle || self.failed.is_some() {
                return self.refuse_burials(&error);
            }
            // What may go goes all the same: that is what makes room.
        }
        let now = self.shared.now();
        let counts = self.count_in(&mut stage);
        match self.write(&stage, now) {
            Ok(mut written) => {
                self.counted(counts);
                let mut buried = mem::take(&mut written.buried);
                let retiring = mem::take(&mut written.retiring);
                let retired = self.states_of(&written.retired);
                if !self.clock_is_kept() {
                    self.clock_kept = now;
                }
                let runs = self.put_in_place(written, stage.new_lanes());
                self.shared.positions().put_in_place(mem::take(&mut stage.positions));
                let answers = stage.waiting.iter().flat_map(|waiting| &waiting.answers);
                let packets = answers.filter(|one| !one.again).map(|one| one.count).sum();
                // Whoever waits hears first: when the connection hears, the ack may be back at once.
                keep(stage);
                self.keep_burials(&buried);
                // Nobody sends what has become of dead letters.
                let own = self.letters().map(|letters| letters.lane);
                buried.retain(|(lane, _)| Some(*lane) != own);
                self.let_go_of_letters();
                let notes = mem::take(&mut self.notes);
                let ended = !retiring.is_empty() || !retired.is_empty();
                if !runs.is_empty() || !buried.is_empty() || !notes.is_empty() || ended {
                    let took = started.elapsed();
                    (self.on_commit)(Committed {
                        runs,
                        packets,
                        buried,
                        retiring,
                        retired,
                        notes,
                        took,
                    });
                }
            }
            Err(fault) => {
                // Whether the commit is on the disk is not known: "repeat with the same key".
                let unknown = AppendError::Failed(fault.to_string());
                self.fail(fault);
                self.adopt_drops();
                refuse(stage, &unknown);
                self.adopt_burials(&unknown);
                self.heal();
            }
        }
    }

    /// One transaction.
    fn write(&self, stage: &Stage, now: Millis) -> Result<Written, Fault> {
        let transaction = self.active.db.begin_write()?;
        let mut written = Written::default();
        {
            let mut runs = transaction.open_table(schema::RUNS)?;
            self.write_appends(stage, now, &mut runs, &mut written)?;
            self.write_moved(&mut runs, &mut written)?;
            self.write_drops(&mut runs, &mut written)?;
            self.write_burials(&stage.burials, &mut runs, &mut written)?;
            self.write_retirements(stage, &mut runs, &mut written)?;
        }
        self.write_rows(&transaction, stage, &written)?;
        self.shared.positions().write(&transaction, &stage.positions)?;
        written.keys = self.keys.changes(&stage.keys, now);
        let (added, removed) = written.keys.write(&transaction)?;
        (written.added, written.removed) = (written.added + added, written.removed + removed);
        self.write_clock(&transaction)?;
        transaction.commit()?;
        Ok(written)
    }

    fn write_appends(
        &self,
        stage: &Stage,
        now: Millis,
        runs: &mut Runs<'_>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        let origin = self.origin();
        for staged in &stage.lanes {
            let (lane, target) = (staged.lane, &staged.target);
            // The lane as it is now: its pieces may have been sealed since it was staged.
            let known = self.lanes.get(lane).cloned();
            let mut entry = known.unwrap_or_else(|| LaneEntry::new(lane, target.clone()));
            let (cut, chain) = staged.cut(origin);
            (entry.next, entry.chain, entry.stored) = (staged.next, chain, now);
            let expires = staged.ttl_min_ms.map(|ttl_ms| deadline(now, ttl_ms));
            entry.expires = [entry.expires, expires].into_iter().flatten().min();
            for run in cut {
                let (first, last, opened) = (run.first(), run.last(), self.identity.opened);
                let envelope = Envelope { lane, first, last, opened, stored: now, expires };
                written.added += insert(runs, envelope, &run, &mut entry)?;
                if !letters::is_own(target) {
                    written.runs.push(StoredRun { lane, target: target.clone(), run, expires });
                }
            }
            written.lanes.insert(lane, entry);
        }
        Ok(())
    }

    fn write_moved(&self, runs: &mut Runs<'_>, written: &mut Written) -> Result<(), Fault> {
        let Some(Moved { segment, pieces }) = &self.moved else { return Ok(()) };
        for (moving, moved) in pieces {
            let Some(entry) = self.changed(moving.lane, &mut written.lanes) else { continue };
            if !self.shared.files().catalog.has_piece(*segment, moving.lane, moving.piece) {
                // Acknowledged meanwhile: it is gone already.
                continue;
            }
            for (envelope, run) in moved {
                // What a run has before its piece is hidden, or a piece of its own.
                let cut = run.part(moving.from, run.last()).filter(|_| run.first() < moving.from);
                written.added += insert(runs, *envelope, cut.as_ref().unwrap_or(run), entry)?;
            }
            let through = moved.last().map_or(Number::NONE, |(_, run)| run.last());
            let left = moving.piece.after(through);
            let left_bytes = left.map_or(0, |left| left.bytes);
            let taken = moving.piece.bytes.saturating_sub(left_bytes);
            entry.sealed_bytes = entry.sealed_bytes.saturating_sub(taken);
            written.done.push((moving.lane, *segment, moving.piece));
            written.left.extend(left.map(|left| (moving.lane, *segment, left)));
        }
        Ok(())
    }

    fn write_drops(&self, runs: &mut Runs<'_>, written: &mut Written) -> Result<(), Fault> {
        for (lane, waived) in &self.drops {
            // Only what was durable before can have been acknowledged.
            let Some(stored) = self.lanes.get(*lane).map(|entry| entry.next.before()) else {
                continue;
            };
            let Some(entry) = self.changed(*lane, &mut written.lanes) else { continue };
            let waived = Waived { through: waived.through.min(stored), ..*waived };
            let settled = entry.acknowledge(waived);
            written.removed += remove(runs, *lane, entry, !settled.is_empty())?;
            written.settled.extend(settled.into_iter().map(|last| (*lane, last)));
            let files = self.shared.files();
            for (segment, piece) in files.catalog.pieces_through(*lane, entry.acked) {
                let moved = self.moved.is_some();
                if !moved || !written.done.contains(&(*lane, segment, piece)) {
                    entry.sealed_bytes = entry.sealed_bytes.saturating_sub(piece.bytes);
                    written.done.push((*lane, segment, piece));
                }
            }
        }
        Ok(())
    }

    fn write_rows(
        &self,
        transaction: &WriteTransaction,
        stage: &Stage,
        written: &Written,
    ) -> Result<(), Fault> {
        let mut lanes = transaction.open_table(schema::LANES)?;
        for (lane, entry) in &written.lanes {
            lanes.insert(lane.0, Row::Lane(*lane, entry.row()).encode()?.as_slice())?;
        }
        if !written.retired.is_empty() {
            for lane in &written.retired {
                lanes.remove(lane.0)?;
            }
            self.write_retired(transaction, &written.retired)?;
        }
        if !written.done.is_empty() {
            let mut manifest = transaction.open_table(schema::MANIFEST)?;
            for (lane, segment, piece) in &written.done {
                manifest.remove((*segment, lane.0, piece.first.0))?;
            }
            for (lane, segment, piece) in &written.left {
                let value = (piece.last.0, piece.bytes);
                manifest.insert((*segment, lane.0, piece.first.0), value)?;
            }
        }
        if !written.settled.is_empty() || !written.raised.is_empty() {
            let mut tombstones = transaction.open_table(schema::TOMBSTONES)?;
            for (lane, last) in &written.settled {
                tombstones.remove((lane.0, last.0))?;
            }
            for (lane, tombstone) in &written.raised {
                bury::insert(&mut tombstones, *lane, tombstone)?;
            }
        }
        if stage.new_lanes() > 0 {
            let mut row = self.spool_row(self.active.number);
            row.next_lane += stage.new_lanes() as u64;
            let mut meta = transaction.open_table(schema::META)?;
            meta.insert(schema::META_SPOOL, Row::Spool(row).encode()?.as_slice())?;
        }
        if self.condemned_anew {
            let mut meta = transaction.open_table(schema::META)?;
            meta.insert(schema::META_CONDEMNED, schema::encode(&self.condemned)?.as_slice())?;
        }
        Ok(())
    }

    /// The copy of a lane that this transaction changes.
    pub(super) fn changed<'w>(
        &self,
        lane: Lane,
        lanes: &'w mut BTreeMap<Lane, LaneEntry>,
    ) -> Option<&'w mut LaneEntry> {
        match lanes.entry(lane) {
            Entry::Occupied(changed) => Some(changed.into_mut()),
            Entry::Vacant(place) => Some(place.insert(self.lanes.get(lane)?.clone())),
        }
    }

    /// The transaction is durable: memory follows. Gives the runs that it stored.
    fn put_in_place(&mut self, written: Written, new_lanes: usize) -> Vec<StoredRun> {
        self.next_lane += new_lanes as u64;
        self.active.count(written.added, written.removed);
        self.keys.put_in_place(written.keys);
        self.drops.clear();
        self.drops_since = None;
        self.moved = None;
        self.condemned_anew = false;
        {
            let catalog = &mut self.shared.files().catalog;
            for (lane, _, piece) in &written.done {
                catalog.remove_piece(*lane, piece.last);
            }
            for (lane, segment, piece) in &written.left {
                // What a drop of this very commit let go of is not taken up again.
                let acked = written.lanes.get(lane).map(|entry| entry.acked).unwrap_or_default();
                if piece.last > acked {
                    catalog.add_piece(*segment, *lane, *piece);
                }
            }
        }
        for (lane, entry) in written.lanes {
            self.put_lane(lane, entry);
        }
        self.forget(&written.retired);
        self.remove_empty();
        self.publish_status();
        written.runs
    }

    /// Puts a lane in place, here and for everybody.
    pub(super) fn put_lane(&mut self, lane: Lane, mut entry: LaneEntry) {
        let before = self.lanes.get(lane);
        let expires = before.and_then(|before| before.expires);
        if entry.expires != expires || before.is_none() {
            self.aging.extend(entry.expires.map(|at| (at, lane)));
        }
        let packets = before.map_or(0, LaneEntry::pending_packets);
        let bytes = before.map_or(0, |before| before.pending_bytes);
        entry.pending_bytes = self.pending_bytes_of(lane, &entry);
        // Dead letters do not wait for anything.
        if !letters::is_own(&entry.target) {
            self.pending_packets = self.pending_packets - packets + entry.pending_packets();
            self.pending_bytes = self.pending_bytes - bytes + entry.pending_bytes;
        }
        let known = KnownLane {
            state: entry.state(lane),
            chain: entry.chain,
            gone: Arc::clone(&entry.gone),
        };
        self.shared.lanes().insert(lane, known);
        self.lanes.insert(lane, entry);
    }

    /// The bytes of a lane's runs, but for those of a sealed segment that are acknowledged.
    fn pending_bytes_of(&self, lane: Lane, entry: &LaneEntry) -> u64 {
        let active: u64 = entry.active.iter().map(|piece| piece.bytes).sum();
        let files = self.shared.files();
        let begun = files.catalog.pieces_from(lane, entry.acked.next()).next();
        let acked = begun.map_or(0, |(_, piece)| piece.bytes - piece.bytes_after(entry.acked));
        active + entry.sealed_bytes.saturating_sub(acked)
    }
}

/// Adds a run to the active segment and to its lane; gives what it takes of the file.
fn insert(
    runs: &mut Runs<'_>,
    envelope: Envelope,
    run: &Run,
    entry: &mut LaneEntry,
) -> Result<u64, Fault> {
    let bytes = run.encoded();
    let key = (envelope.lane.0, run.last().0);
    // It may be a part of the run that the envelope was made for.
    let envelope = Envelope { first: run.first(), last: run.last(), ..envelope };
    envelope.write(bytes, runs.insert_reserve(key, ENVELOPE_BYTES + bytes.len())?.as_mut());
    let whole = Piece { first: run.first(), last: run.last(), bytes: bytes.len() as u64 };
    entry.add_visible(whole);
    Ok(size::stored_bytes(bytes.len()))
}

/// Removes from the active segment what the lane has acknowledged; gives what it took of the file.
/// `hidden` says that it may hold runs that a tombstone hid until now.
fn remove(
    runs: &mut Runs<'_>,
    lane: Lane,
    entry: &mut LaneEntry,
    hidden: bool,
) -> Result<u64, Fault> {
    let (mut removed, mut bytes, acked) = (0, 0, entry.acked);
    if !hidden && entry.active.first().is_none_or(|piece| piece.first > acked) {
        return Ok(0);
    }
    runs.retain_in((lane.0, 0)..=(lane.0, acked.0), |_, run| {
        bytes += (run.len() - ENVELOPE_BYTES.min(run.len())) as u64;
        removed += size::stored_bytes(run.len().saturating_sub(ENVELOPE_BYTES));
        false
    })?;
    for piece in entry.active.iter_mut().take_while(|piece| piece.first <= acked) {
        let taken = bytes.min(piece.bytes);
        (piece.bytes, bytes) = (piece.bytes - taken, bytes - taken);
        piece.first = piece.first.max(acked.next());
    }
    entry.active.retain(|piece| piece.last > acked);
    Ok(removed)
}

/// Says to everyone who waits that it is stored.
fn keep(stage: Stage) {
    for Waiting { promise, answers } in stage.waiting {
        promise.keep(Ok(answers));
    }
}

/// Says to everyone who waits that it is not, or perhaps not.
fn refuse(stage: Stage, error: &AppendError) {
    for Waiting { promise, .. } in stage.waiting {
        promise.keep(Err(error.clone()));
    }
}
