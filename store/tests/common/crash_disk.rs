//! A disk in memory that loses power: whatever was not synced is kept or lost at random, block by
//! block and name by name, as a real one may do it. Writes after the cut fail, as in a dream.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

/// What the disk does when it is asked to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plan {
    /// It does it.
    #[default]
    Work,
    /// The power goes in the middle of the n-th sync from now, the first being 1.
    CutAt(u64),
    /// From the n-th sync from now on, so many fail, and take nothing of what they were to make
    /// durable.
    Fail(u64, u64),
    /// The n-th sync from now on fails, and the power goes in the middle of another.
    FailThenCut(u64, u64),
    /// From the n-th deed of a kind from now on, so many fail; of a write half is done.
    FailDeed(Deed, u64, u64),
}

/// What a disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Write,
    Sync,
    Len,
}

/// What a cut leaves of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// Block by block, kept or lost at random.
    #[default]
    Random,
    /// Sector by sector, so that blocks are torn.
    Torn,
    /// Nothing.
    All,
    /// Everything.
    Nothing,
}

/// Called in the middle of every sync with what a cut there would leave.
#[derive(Clone)]
struct OnSync(u64, Arc<Mutex<dyn FnMut(CrashDisk) + Send>>);

impl std::fmt::Debug for OnSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnSync")
    }
}

#[derive(Debug, Default, Clone)]
struct World {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Names that were given since the directory was synced, even if they were taken back.
    given: Vec<(PathBuf, usize)>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    plan: Plan,
    syncs: u64,
    deeds: [u64; 3],
    written_bytes: u64,
    off: bool,
    full: bool,
    capacity: Option<u64>,
    loss: Loss,
    on_sync: Option<OnSync>,
    random: u64,
}

#[derive(Debug, Default, Clone)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct CrashDisk(Arc<Mutex<World>>);

impl CrashDisk {
    /// An empty disk; `seed` decides what a cut keeps.
    pub fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(2).wrapping_add(1);
        Self(Arc::new(Mutex::new(World { random, ..World::default() })))
    }

    /// What is to happen, counted from now.
    pub fn plan(&self, plan: Plan) {
        let mut world = self.0.lock().unwrap();
        world.plan = plan;
        world.syncs = 0;
        world.deeds = [0; 3];
        world.written_bytes = 0;
    }

    /// Calls `cut` in the middle of every n-th sync with what the power's going there would leave: what
    /// was not synced is lost in each of the ways in turn.
    pub fn on_sync(&self, every: u64, cut: impl FnMut(CrashDisk) + Send + 'static) {
        self.0.lock().unwrap().on_sync = Some(OnSync(every, Arc::new(Mutex::new(cut))));
    }

    /// What a cut is to leave.
    pub fn set_loss(&self, loss: Loss) {
        self.0.lock().unwrap().loss = loss;
    }

    /// How many deeds of a kind there were since the plan was made.
    pub fn deeds(&self, deed: Deed) -> u64 {
        self.0.lock().unwrap().deeds[deed as usize]
    }

    /// How many bytes were written since the plan was made.
    pub fn written_bytes(&self) -> u64 {
        self.0.lock().unwrap().written_bytes
    }

    /// Has room for so many bytes of files, and says so; no file grows beyond that.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().unwrap().capacity = bytes;
    }

    /// How many syncs there were since the plan was made.
    pub fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.0.lock().unwrap().off
    }

    /// Says from now on that there is no room, or that there is again.
    pub fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// What is left after the power was cut, now or before: a new disk with a part of what was not
    /// synced.
    pub fn survivor(&self) -> Self {
        let mut world = self.0.lock().unwrap();
        world.off = true;
        let mut files = Vec::new();
        for at in 0..world.files.len() {
            let bytes = world.survive(at);
            files.push(Content { live: bytes.clone(), durable: bytes, pending: Vec::new() });
        }
        let names = world.surviving_names();
        let (random, dirs) = (world.random, world.dirs.clone());
        let durable_names = names.clone();
        let world = World { files, names, durable_names, dirs, random, ..World::default() };
        Self(Arc::new(Mutex::new(world)))
    }

    /// Another disk with the same files, nothing pending, and no locks.
    pub fn copy(&self) -> Self {
        let world = self.0.lock().unwrap();
        let durable = |file: &Content| {
            let bytes = file.live.clone();
            Content { live: bytes.clone(), durable: bytes, pending: Vec::new() }
        };
        let files = world.files.iter().map(durable).collect();
        let (names, dirs, random) = (world.names.clone(), world.dirs.clone(), world.random);
        let durable_names = names.clone();
        let world = World { files, names, durable_names, dirs, random, ..World::default() };
        Self(Arc::new(Mutex::new(world)))
    }

    /// The bytes of a file as they are read now.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.0.lock().unwrap();
        world.names.get(path).map(|file| world.files[*file].live.clone())
    }

    /// Puts bytes in place of a file's, durably.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut world = self.0.lock().unwrap();
        let file = world.names[path];
        world.files[file] = Content { live: bytes.clone(), durable: bytes, pending: Vec::new() };
    }

    /// How many bytes all files have.
    pub fn bytes_of_all(&self) -> u64 {
        let world = self.0.lock().unwrap();
        world.names.values().map(|file| world.files[*file].live.len() as u64).sum()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().names.keys().cloned().collect()
    }

    fn world(&self) -> io::Result<std::sync::MutexGuard<'_, World>> {
        let world = self.0.lock().unwrap();
        if world.off { Err(io::Error::other("the power is off")) } else { Ok(world) }
    }
}

impl World {
    /// xorshift64*
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn coin(&mut self) -> bool {
        self.random().is_multiple_of(2)
    }

    /// Counts a deed; an error when it is the one that goes wrong.
    fn deed(&mut self, deed: Deed) -> io::Result<()> {
        self.deeds[deed as usize] += 1;
        match self.plan {
            Plan::FailDeed(bad, from, count)
                if bad == deed
                    && (from..from.saturating_add(count)).contains(&self.deeds[deed as usize]) =>
            {
                Err(io::Error::other(format!("{deed:?} failed")))
            }
            _ => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].live.len() as u64).sum()
    }

    /// Counts a sync; an error when it is the one that goes wrong.
    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if let Some(OnSync(every, cut)) = self.on_sync.clone()
            && self.syncs.is_multiple_of(every)
        {
            let loss =
                [Loss::Random, Loss::Torn, Loss::All, Loss::Nothing][self.syncs as usize % 4];
            let random = self.random();
            let (on_sync, plan) = (None, Plan::Work);
            let left = Self { on_sync, plan, loss, random, ..self.clone() };
            cut.lock().unwrap()(CrashDisk(Arc::new(Mutex::new(left))).survivor());
        }
        self.deed(Deed::Sync)?;
        match self.plan {
            Plan::FailThenCut(at, _) if at == self.syncs => Err(io::Error::other("a sync failed")),
            Plan::CutAt(at) | Plan::FailThenCut(_, at) if at == self.syncs => {
                self.off = true;
                Err(io::Error::other("the power went off"))
            }
            Plan::Fail(from, count) if (from..from.saturating_add(count)).contains(&self.syncs) => {
                Err(io::Error::other("a sync failed"))
            }
            _ => Ok(()),
        }
    }

    /// Whether something that was not synced is there after the cut.
    fn kept(&mut self) -> bool {
        match self.loss {
            Loss::Random | Loss::Torn => self.coin(),
            Loss::All => false,
            Loss::Nothing => true,
        }
    }

    /// A file after the cut: with some of what was not synced.
    fn survive(&mut self, at: usize) -> Vec<u8> {
        let mut bytes = self.files[at].durable.clone();
        for change in std::mem::take(&mut self.files[at].pending) {
            match change {
                Change::Len(len) if self.kept() => bytes.resize(len, 0),
                Change::Len(_) => {}
                Change::Write(offset, data) => {
                    let size = if self.loss == Loss::Torn { SECTOR } else { BLOCK };
                    for (block, part) in data.chunks(size).enumerate() {
                        if self.kept() {
                            write(&mut bytes, offset + block * size, part);
                        }
                    }
                }
            }
        }
        bytes
    }

    /// The names after the cut: of those that were not synced, some are as they were before.
    fn surviving_names(&mut self) -> BTreeMap<PathBuf, usize> {
        let mut names = self.durable_names.clone();
        let now = self.names.clone();
        for (name, file) in self.given.clone() {
            if !names.contains_key(&name) && !now.contains_key(&name) && self.kept() {
                names.insert(name, file);
                return names;
            }
        }
        let all: BTreeSet<PathBuf> = names.keys().chain(now.keys()).cloned().collect();
        for name in all {
            if self.kept() {
                match now.get(&name) {
                    Some(file) => names.insert(name, *file),
                    None => names.remove(&name),
                };
            }
        }
        names
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
