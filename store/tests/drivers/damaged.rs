//! Stores with damaged files: what is read of them is what was written, or an error (R10). A panic
//! below the store comes out of here as one, for the caller to judge.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use paquebot_protocol::{
    Batch, Chain, ClientId, Lane, LaneKey, Number, Packet, Run, SpoolId, TargetId,
};
use paquebot_store::{
    Append, DeadLetter, DeadLetterLimits, Fence, FileDisk, Ledger, LedgerOptions, Mark, Reply,
    Spool, SpoolOptions, Stretch,
};
use tempfile::TempDir;

/// Longer than any answer takes; a store whose thread is gone answers at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is found where nothing was changed, and what must be found or refused elsewhere.
type Packets = BTreeMap<(Lane, Number), Vec<u8>>;

/// Which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Spool,
    Ledger,
}

/// A store that was closed cleanly, file by file.
#[derive(Debug, Clone)]
pub(crate) struct Golden {
    kind: Kind,
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    packets: Packets,
}

/// What became of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Everything was there: the byte counts for nothing, or was made good.
    Whole,
    /// It was opened, and what is not there was reported.
    Reported,
    /// It was opened as it had been before its last commits, and nothing was said.
    Older,
    /// It was not opened.
    Refused,
    /// It was opened, and a dead letter in it is not the one that was recorded.
    Altered,
}

fn ask<T: Send + 'static>(question: impl FnOnce(Reply<T>)) -> Option<T> {
    let (answer, answered) = mpsc::channel();
    question(Box::new(move |found| drop(answer.send(found))));
    answered.recv_timeout(PATIENCE).ok()
}

/// In memory where there is some to be had: nothing here is about power.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a directory")
}

fn target(lane: u64) -> TargetId {
    format!("lane.{lane}").parse().expect("a target id")
}

fn data(lane: Lane, number: u64) -> Vec<u8> {
    format!("{lane}/{number};").repeat(20).into_bytes()
}

fn options(dir: &Path) -> SpoolOptions {
    let mut options = SpoolOptions::new(dir, 1 << 30, 100);
    options.segment_bytes = 64 << 10;
    options
}

const FENCE: Fence = Fence { spool: SpoolId([7; 16]), opened: 1, nonce: 5 };

impl Golden {
    /// A spool of two lanes and some segments.
    pub(crate) fn spool() -> Self {
        let dir = folder();
        let heard = Box::new(|_| ());
        let opened = Spool::open(options(dir.path()), Arc::new(FileDisk), heard);
        let (spool, _) = opened.expect("a new spool");
        let mut packets = Packets::new();
        for round in 0..12_u64 {
            for lane in 1..=2 {
                let mut batch = Batch::default();
                for number in round * 20 + 1..=round * 20 + 20 {
                    let data = data(Lane(lane), number);
                    batch.push(&Packet { created_ms: number, data: &data, ..Packet::default() });
                    packets.insert((Lane(lane), Number(number)), data);
                }
                let target = target(lane);
                let stored = ask(|reply| spool.append(Append { target, batch, reply }));
                stored.expect("an answer").expect("room");
            }
        }
        spool.close().expect("a clean end");
        Self { kind: Kind::Spool, files: files_of(dir.path()), packets }
    }

    /// A ledger of one lane with cursors and dead letters.
    pub(crate) fn ledger() -> Self {
        let dir = folder();
        let (ledger, _) = open_ledger(dir.path()).expect("a new ledger");
        let client: ClientId = "till-17".parse().expect("a client id");
        let admitted = ask(|reply| ledger.admit(FENCE, None, client.clone(), reply));
        admitted.expect("an answer").expect("admitted");
        let mut packets = Packets::new();
        for number in 1..=20_u64 {
            let (from, through) = (Number(number - 1), Number(number));
            let (chain, lane) = (Chain(number * 1_000), Lane(1));
            let mark = Mark { fence: FENCE, lane, from, through, chain, handled: 0, skipped: 0 };
            let dead = letter(&client, lane, through);
            packets.insert((lane, through), dead.record.to_vec());
            let recorded = ask(|reply| {
                let (marks, dead, handler) = (vec![mark], vec![dead], "orders".into());
                ledger.record(paquebot_store::Record {
                    handler,
                    marks,
                    file: None,
                    dead,
                    replays: paquebot_store::Replays::default(),
                    reply,
                });
            });
            recorded.expect("an answer").expect("recorded");
        }
        ledger.close().expect("a clean end");
        Self { kind: Kind::Ledger, files: files_of(dir.path()), packets }
    }

    /// Opens the store with one of its files replaced, and reads everything.
    pub(crate) fn with(&self, file: usize, bytes: &[u8]) -> Outcome {
        let dir = folder();
        for (at, (path, whole)) in self.files.iter().enumerate() {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("room");
            fs::write(path, if at == file { bytes } else { whole }).expect("room");
        }
        match self.kind {
            Kind::Spool => self.read_spool(dir.path()),
            Kind::Ledger => self.read_ledger(dir.path()),
        }
    }

    fn read_spool(&self, dir: &Path) -> Outcome {
        let opened = Spool::open(options(dir), Arc::new(FileDisk), Box::new(|_| ()));
        let Ok((spool, _)) = opened else { return Outcome::Refused };
        let mut outcome = Outcome::Whole;
        for lane in [Lane(1), Lane(2)] {
            let states = spool.lane_states();
            let state = states.into_iter().find(|state| state.lane == lane);
            let next = state.map_or(Number(1), |state| state.next);
            let mut from = Number(1);
            while from < next {
                let read = ask(|reply| spool.read(lane, from, 64 << 10, reply));
                let stretches = match read {
                    Some(Ok(stretches)) if !stretches.is_empty() => stretches,
                    _ => {
                        // It says so; whoever asks goes on after it.
                        outcome = outcome.max(Outcome::Reported);
                        from = from.next();
                        continue;
                    }
                };
                for stretch in stretches {
                    match &stretch {
                        Stretch::Run { run, .. } => self.compare(lane, run),
                        // What damage took is declared in its place.
                        Stretch::Tombstone(_) => outcome = outcome.max(Outcome::Reported),
                    }
                    from = from.max(stretch.last().next());
                }
            }
            if !self.packets.contains_key(&(lane, next.before()))
                || self.packets.contains_key(&(lane, next))
            {
                outcome = outcome.max(Outcome::Older);
            }
        }
        let mut batch = Batch::default();
        batch.push(&Packet { data: b"one more", ..Packet::default() });
        let _ = ask(|reply| spool.append(Append { target: target(1), batch, reply }));
        let _ = spool.close();
        outcome
    }

    fn compare(&self, lane: Lane, run: &Run) {
        for (number, record) in run.records() {
            let packet = Packet::decode(record).expect("what was verified");
            let expected = self.packets.get(&(lane, number)).map(Vec::as_slice);
            assert_eq!(Some(packet.data), expected, "{lane}/{number} is another");
        }
    }

    fn read_ledger(&self, dir: &Path) -> Outcome {
        let Ok((ledger, _)) = open_ledger(dir) else { return Outcome::Refused };
        let mut outcome = Outcome::Whole;
        let key = LaneKey { spool: FENCE.spool, lane: Lane(1) };
        match ask(|reply| ledger.cursor(key, Number(1), reply)) {
            Some(Ok(at)) => {
                assert!(at.cursor <= Number(20), "a cursor that never was: {at:?}");
                let chain = (at.cursor > Number(0)).then_some(Chain(at.cursor.0 * 1_000));
                assert_eq!(at.chain, chain, "a chain that never was");
                if at.cursor < Number(20) {
                    outcome = Outcome::Older;
                }
            }
            _ => outcome = Outcome::Reported,
        }
        let _ = ledger.close();
        outcome
    }
}

fn open_ledger(
    dir: &Path,
) -> Result<(Ledger, paquebot_store::LedgerOpened), paquebot_store::OpenError> {
    let (dir, dead_letters) = (dir.to_owned(), DeadLetterLimits::default());
    Ledger::open(LedgerOptions { dir, dead_letters }, Arc::new(FileDisk))
}

fn letter(client: &ClientId, lane: Lane, number: Number) -> DeadLetter {
    DeadLetter {
        id: paquebot_protocol::PacketId { spool: FENCE.spool, lane, number },
        client: client.clone(),
        target: target(lane.0),
        handler: "orders".to_owned(),
        reason: "no such article".to_owned(),
        attempts: 3,
        first_attempt_ms: 1_000,
        last_attempt_ms: 2_000,
        record: data(lane, number.0).into(),
    }
}

/// Every file below `dir` that has bytes, by its path from there.
fn files_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut files, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            let bytes = fs::read(&path).expect("a file");
            let name = path.strip_prefix(dir).expect("below it").to_owned();
            files.extend((!bytes.is_empty()).then_some((name, bytes)));
        }
    }
    files.sort();
    files
}
