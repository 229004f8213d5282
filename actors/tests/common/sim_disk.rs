//! A file system in memory that loses power at a chosen step: every change is a step, and what was
//! not synced by then may be there afterwards, or not, or in part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use paquebot_actors::handler::{OutputDisk, OutputFile};
use paquebot_store::FileId;

/// Where the power goes: before the step of this number, or when it is just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Before(u64),
    After(u64),
    /// The power stays, but this step is refused, undone or done.
    Refused {
        step: u64,
        done: bool,
    },
    Never,
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    Lost,
    Kept,
    /// Whatever this seed says, for each sector and each name by itself.
    Torn(u64),
}

type OnStep = Box<dyn Fn(u64) + Send>;

#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    on_step: Arc<Mutex<Option<OnStep>>>,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<Change>,
    open: BTreeSet<u64>,
    steps: u64,
    cut: Option<Cut>,
    off: bool,
    /// Goes up with every power cut: files that were open before it are not any more.
    epoch: u64,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Change {
    Created(PathBuf, u64),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Created(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Removed(path) => drop(names.remove(path)),
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    /// The power will go there; steps are counted from here.
    pub fn cut_at(&self, cut: Cut) {
        let mut state = self.state.lock().unwrap();
        (state.steps, state.cut) = (0, Some(cut));
    }

    /// Called before each step with its number.
    pub fn on_step(&self, call: impl Fn(u64) + Send + 'static) {
        *self.on_step.lock().unwrap() = Some(Box::new(call));
    }

    pub fn is_off(&self) -> bool {
        self.state.lock().unwrap().off
    }

    pub fn steps(&self) -> u64 {
        self.state.lock().unwrap().steps
    }

    /// The power is there again.
    pub fn power_on(&self, unsynced: Unsynced) {
        *self.on_step.lock().unwrap() = None;
        let mut state = self.state.lock().unwrap();
        let mut seed = match unsynced {
            Unsynced::Torn(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        };
        let mut keep = move || match unsynced {
            Unsynced::Lost => false,
            Unsynced::Kept => true,
            Unsynced::Torn(_) => {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed.is_multiple_of(2)
            }
        };
        let mut names = state.durable_names.clone();
        for change in std::mem::take(&mut state.pending) {
            if keep() {
                change.apply(&mut names);
            }
        }
        let there: BTreeSet<u64> = names.values().copied().collect();
        state.inodes.retain(|inode, _| there.contains(inode));
        for inode in state.inodes.values_mut() {
            let length = if keep() { inode.now.len() } else { inode.durable.len() };
            let mut after = vec![0; length];
            for (at, sector) in after.chunks_mut(512).enumerate() {
                let from = if keep() { &inode.now } else { &inode.durable };
                let from = from.get(at * 512..).unwrap_or_default();
                let bytes = sector.len().min(from.len());
                sector[..bytes].copy_from_slice(&from[..bytes]);
            }
            // What was synced is there, whatever became of the rest.
            let synced = inode.durable.iter().zip(&inode.now).take_while(|(a, b)| a == b).count();
            let synced = synced.min(length);
            after[..synced].copy_from_slice(&inode.durable[..synced]);
            *inode = Inode { now: after.clone(), durable: after };
        }
        (state.names, state.durable_names) = (names.clone(), names);
        state.open.clear();
        state.epoch += 1;
        (state.off, state.cut) = (false, None);
    }

    /// Every file by its path.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state.lock().unwrap();
        let of = |(path, inode): (&PathBuf, &u64)| (path.clone(), state.inodes[inode].now.clone());
        state.names.iter().map(of).collect()
    }

    fn step<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let number = self.state.lock().unwrap().steps + 1;
        if let Some(call) = &*self.on_step.lock().unwrap() {
            call(number);
        }
        let mut state = self.state.lock().unwrap();
        state.check()?;
        state.steps += 1;
        if state.cut == Some(Cut::Before(state.steps)) {
            state.off = true;
            return Err(no_power());
        }
        let refused = |done| Some(Cut::Refused { step: state.steps, done });
        let (undone_refused, done_refused) =
            (state.cut == refused(false), state.cut == refused(true));
        if undone_refused {
            return Err(io::Error::other("refused"));
        }
        let done = change(&mut state)?;
        if done_refused {
            drop(state);
            return Err(io::Error::other("refused when it was done"));
        }
        if state.cut == Some(Cut::After(state.steps)) {
            state.off = true;
            // A file that was just opened takes the lock when it is dropped.
            drop(state);
            return Err(no_power());
        }
        Ok(done)
    }

    fn look<T>(&self, at: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        let state = self.state.lock().unwrap();
        state.check()?;
        at(&state)
    }

    fn handle(&self, state: &mut State, inode: u64) -> io::Result<Box<dyn OutputFile>> {
        if !state.open.insert(inode) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimFile { disk: self.clone(), inode, epoch: state.epoch }))
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.off { Err(no_power()) } else { Ok(()) }
    }

    fn changed(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// The lowest number that nobody has: real file systems use them again at once, too.
    fn free_inode(&self) -> u64 {
        let pending = |inode: &u64| {
            let of = |change: &Change| matches!(change, Change::Created(_, it) if it == inode);
            self.pending.iter().any(of)
        };
        let used = |inode: &u64| {
            pending(inode)
                || self.names.values().chain(self.durable_names.values()).any(|used| used == inode)
                || self.open.contains(inode)
        };
        (100..).find(|inode| !used(inode)).unwrap()
    }
}

impl OutputDisk for SimDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.step(|state| {
            state.durable_names = state.names.clone();
            state.pending.clear();
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look(|state| {
            let here = state.names.keys().filter(|path| path.parent() == Some(dir));
            Ok(here.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
        })
    }

    fn find(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.look(|state| {
            Ok(state.names.get(path).map(|inode| FileId { device: 1, inode: *inode }))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn OutputFile>>> {
        let mut state = self.state.lock().unwrap();
        state.check()?;
        let Some(inode) = state.names.get(path).copied() else { return Ok(None) };
        self.handle(&mut state, inode).map(Some)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        self.step(|state| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = state.free_inode();
            state.inodes.insert(inode, Inode::default());
            state.changed(Change::Created(path.to_owned(), inode));
            self.handle(state, inode)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            assert!(!state.names.contains_key(to), "{} is overwritten", to.display());
            assert!(state.names.contains_key(from), "{} is not there", from.display());
            state.changed(Change::Renamed(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.changed(Change::Removed(path.to_owned()));
            Ok(())
        })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    epoch: u64,
}

impl SimFile {
    fn change<T>(&self, change: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        self.disk.step(|state| {
            if state.epoch != self.epoch {
                return Err(no_power());
            }
            Ok(change(state.inodes.get_mut(&self.inode).unwrap()))
        })
    }
}

impl OutputFile for SimFile {
    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 1, inode: self.inode })
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.look(|state| Ok(state.inodes[&self.inode].now.len() as u64))
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.look(|state| {
            let from = usize::try_from(offset).unwrap();
            let bytes = state.inodes[&self.inode].now.get(from..from + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|inode| {
            let from = usize::try_from(offset).unwrap();
            let end = from + bytes.len();
            inode.now.resize(inode.now.len().max(end), 0);
            inode.now[from..end].copy_from_slice(bytes);
        })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(|inode| inode.now.resize(usize::try_from(length).unwrap(), 0))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|inode| inode.durable.clone_from(&inode.now))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock().unwrap();
        if state.epoch == self.epoch {
            state.open.remove(&self.inode);
        }
    }
}
