//! The rig of the file handler's tests: the real handler and the real ledger, above a disk that can
//! lose power, and a client that keeps what is not acknowledged and sends it again.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "each test file uses some of the verbs; a rig that panics fails its test"
)]

pub mod sim_disk;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Recipient};
use paquebot_actors::attempt::{Attempt, Ended, Origin, Outcome};
use paquebot_actors::handler::{
    FileError, FileFormat, FileHandler, FileOptions, FinishFile, Handle, HandlerBoard,
    HandlerMeters, PathTemplate, Rotation,
};
use paquebot_actors::ledger::{Ledger, Record};
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{
    Batch, Chain, Lane, LaneKey, LedgerId, Number, Origin as Born, Packet, Run, SpoolId,
};
use paquebot_store::{
    DeadLetterLimits, Fence, FileDisk, HandlerTotals, Ledger as Store, LedgerOptions, Mark, Reply,
};
use serde_json::Value;

#[allow(unused_imports, reason = "not every test cuts the power")]
pub use sim_disk::{Cut, SimDisk, Unsynced};

pub const SPOOL: SpoolId = SpoolId([7; 16]);
pub const OUT: &str = "/out/orders.ndjson";

/// A lane's packets: how many there are, and how many were acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub last: u64,
    pub acked: u64,
}

/// A machine with a server, and a client elsewhere, which keeps its power.
pub struct House {
    pub disk: SimDisk,
    pub ledger_dir: tempfile::TempDir,
    pub rotation: Option<Rotation>,
    pub lanes: BTreeMap<u64, Held>,
    /// How often an attempt failed, or the handler did not start, with the power on.
    pub failures: u64,
}

/// The handler while it lives.
pub struct Alive {
    pub store: Store,
    handler: Addr<FileHandler>,
    client: Addr<Client>,
    outcomes: mpsc::Receiver<Outcome>,
}

impl House {
    pub fn new(lanes: u64, last: u64, rotation: Option<Rotation>) -> Self {
        let held = Held { last, acked: 0 };
        Self {
            disk: SimDisk::default(),
            ledger_dir: tempfile::tempdir().unwrap(),
            rotation,
            lanes: (1..=lanes).map(|lane| (lane, held)).collect(),
            failures: 0,
        }
    }

    /// Starts the server and sends packets, until all are handled or the power goes. Whether they
    /// are.
    pub fn run(&mut self, at_once: u64) -> bool {
        let system = actix_rt::System::new();
        system.block_on(async {
            let (store, alive) = self.start();
            let finished = match alive {
                Ok(alive) => self.send_all(alive, at_once).await,
                Err(_) => {
                    self.failures += u64::from(!self.disk.is_off());
                    false
                }
            };
            store.close().unwrap();
            finished
        })
    }

    pub fn start(&self) -> (Store, Result<Alive, FileError>) {
        self.start_with(|ledger| ledger)
    }

    /// Starts it with something between handler and ledger.
    pub fn start_with(
        &self,
        between: impl FnOnce(Recipient<Record>) -> Recipient<Record>,
    ) -> (Store, Result<Alive, FileError>) {
        let options = LedgerOptions {
            dir: self.ledger_dir.path().to_owned(),
            dead_letters: DeadLetterLimits::default(),
        };
        let (store, opened) = Store::open(options, Arc::new(FileDisk)).unwrap();
        let fence = fence();
        ask(|reply| store.admit(fence, None, "till-1".parse().unwrap(), reply)).unwrap();
        let ledger = between(Ledger::new(store.clone(), opened.ledger).start().recipient());
        let alive = self.start_handler(&store, opened.ledger, ledger);
        (store, alive)
    }

    fn start_handler(
        &self,
        store: &Store,
        id: LedgerId,
        ledger: Recipient<Record>,
    ) -> Result<Alive, FileError> {
        let options = FileOptions {
            name: "orders".to_owned(),
            path: PathTemplate::new(OUT.as_ref()).unwrap(),
            format: FileFormat::Ndjson,
            rotation: self.rotation,
            retry_initial: Duration::from_millis(1),
            retry_max: Duration::from_millis(1),
        };
        let meters = HandlerMeters::new(
            "orders",
            HandlerTotals::default(),
            &store.counts(),
            HandlerBoard::default(),
        );
        let disk = Arc::new(self.disk.clone());
        let handler = FileHandler::open(options, disk, store, id, ledger, meters)?.start();
        let (heard, outcomes) = mpsc::channel();
        let client = Client { heard }.start();
        Ok(Alive { store: store.clone(), handler, client, outcomes })
    }

    async fn send_all(&mut self, alive: Alive, at_once: u64) -> bool {
        for (lane, held) in &mut self.lanes {
            let key = LaneKey { spool: SPOOL, lane: Lane(*lane) };
            let first = Number(held.acked + 1);
            let found = ask(|reply| alive.store.cursor(key, first, reply)).unwrap();
            assert!(found.cursor.0 >= held.acked, "lane {lane}: acknowledged and not on record");
            held.acked = found.cursor.0;
        }
        while self.lanes.values().any(|held| held.acked < held.last) && !self.disk.is_off() {
            let mut out = 0;
            for (lane, held) in self.lanes.iter().filter(|(_, held)| held.acked < held.last) {
                let count = (1 + (lane + held.acked) % at_once).min(held.last - held.acked);
                alive.hand_over(*lane, held.acked, count);
                out += 1;
            }
            while out > 0 {
                match alive.outcomes.try_recv() {
                    Ok(Outcome { lane, ended: Ended::Settled { through, .. } }) => {
                        self.lanes.get_mut(&lane.0).unwrap().acked = through.0;
                        out -= 1;
                    }
                    Ok(Outcome { ended: Ended::Failed { .. }, .. }) => {
                        self.failures += u64::from(!self.disk.is_off());
                        out -= 1;
                    }
                    // What is not confirmed is not told before the end.
                    Err(_) if self.disk.is_off() => break,
                    Err(_) => actix_rt::time::sleep(Duration::from_micros(200)).await,
                }
            }
        }
        self.stop(alive).await;
        !self.disk.is_off()
    }

    pub async fn stop(&mut self, alive: Alive) {
        let thread = alive.handler.send(FinishFile).await.unwrap().unwrap();
        actix_rt::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        actix_rt::time::sleep(Duration::from_micros(200)).await;
        while let Ok(outcome) = alive.outcomes.try_recv() {
            if let Ended::Settled { through, .. } = outcome.ended {
                self.lanes.get_mut(&outcome.lane.0).unwrap().acked = through.0;
            }
        }
    }

    /// The numbers in the files, by lane, in the order in which the files were written. What was
    /// set aside whole comes first.
    pub fn written(&self) -> BTreeMap<u64, Vec<u64>> {
        let files = self.disk.files();
        let name = |path: &Path| path.display().to_string();
        let mut ended: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut texts = Vec::new();
        for (path, bytes) in &files {
            let name = name(path);
            if name.contains(".before-") {
                // It has whatever was behind the last whole line, too.
                let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| {
                    serde_json::from_slice::<Value>(line).is_ok_and(|line| line.is_object())
                });
                texts.push(whole.collect::<Vec<_>>().concat());
            } else if let Some(plain) = name.strip_suffix(".gz") {
                let mut text = Vec::new();
                let read = flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text);
                read.unwrap_or_else(|error| {
                    panic!("{name}: {error}: {bytes:?} {:?}", files.keys())
                });
                if let Some(before) = files.get(&PathBuf::from(plain)) {
                    assert_eq!(*before, text, "{name} is not what it was made of");
                }
                ended.insert(plain.to_owned(), text);
            } else if name.starts_with(&format!("{OUT}.2")) && !name.ends_with(".tmp") {
                ended.entry(name).or_insert_with(|| bytes.clone());
            }
        }
        texts.extend(ended.into_values());
        texts.push(files[Path::new(OUT)].clone());
        let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for text in texts {
            for line in String::from_utf8(text).unwrap().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let lane = line["lane"].as_u64().unwrap();
                numbers.entry(lane).or_default().push(line["number"].as_u64().unwrap());
            }
        }
        numbers
    }

    /// How many files have this in their name.
    pub fn count(&self, what: &str) -> usize {
        let files = self.disk.files();
        files.keys().filter(|path| path.display().to_string().contains(what)).count()
    }
}

impl Alive {
    /// What becomes of the next attempt.
    pub async fn outcome(&self) -> Outcome {
        for _ in 0..60_000 {
            if let Ok(outcome) = self.outcomes.try_recv() {
                return outcome;
            }
            actix_rt::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("no outcome came");
    }

    pub fn hand_over(&self, lane: u64, from: u64, count: u64) {
        let run = run_of(lane, from, count);
        self.handler.do_send(Handle(Attempt {
            target: format!("orders.{lane}").parse().unwrap(),
            mark: Mark {
                fence: fence(),
                lane: Lane(lane),
                from: Number(from),
                through: Number(from + count),
                chain: Chain(from + count),
                handled: count,
                skipped: 0,
            },
            runs: vec![run],
            permit: Vec::new(),
            tried: None,
            replay: None,
            origin: Origin {
                session: SessionId(1),
                outcome: self.client.clone().recipient(),
                client: "till-1".parse().unwrap(),
            },
        }));
    }
}

pub fn fence() -> Fence {
    Fence { spool: SPOOL, opened: 1, nonce: 1 }
}

fn run_of(lane: u64, from: u64, count: u64) -> Run {
    let mut batch = Batch::default();
    for number in from + 1..=from + count {
        let data = format!("packet {number} of lane {lane}");
        batch.push(&Packet { created_ms: number, data: data.as_bytes(), ..Packet::default() });
    }
    let born = Born { spool: SPOOL, nonce: 1 };
    let mut builder = RunBuilder::new(born, Number(from + 1), Chain(from), batch.bytes());
    builder.fill(&batch, 0, usize::MAX);
    builder.finish().unwrap()
}

/// Hears what became of attempts.
struct Client {
    heard: mpsc::Sender<Outcome>,
}

impl Actor for Client {
    type Context = Context<Self>;
}

impl Handler<Outcome> for Client {
    type Result = ();

    fn handle(&mut self, outcome: Outcome, _: &mut Self::Context) {
        self.heard.send(outcome).unwrap_or_default();
    }
}

pub fn ask<T: Send + 'static>(question: impl FnOnce(Reply<T>)) -> T {
    let (answer, answered) = mpsc::channel();
    question(Box::new(move |found| drop(answer.send(found))));
    answered.recv_timeout(Duration::from_secs(60)).expect("an answer")
}

/// Copies a directory and what is in it, as a backup does.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}
