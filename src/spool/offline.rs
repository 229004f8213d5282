//! A spool that is opened without a client around it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use paquebot_protocol::{ClientId, Lane, Number};
use paquebot_store::{
    Committed, Disk, FileDisk, LaneState, Opened, Reply, Shadow, Spool, SpoolOptions, Stretch,
};

use super::args::PlaceArgs;
use crate::exit::{Code, Failure};
use crate::run;
use crate::wiring::store_failure;

/// How much of a lane is read at once.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Without a config nobody says how large a spool may become: the disk does.
const MAX_BYTES: u64 = 1 << 40;

/// Whether its files may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// They stay as they are.
    Nothing,
    /// They are its files.
    Files,
}

/// The directory of a spool, and how large it may be.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) client: Option<ClientId>,
    max_bytes: u64,
    lanes_max: usize,
    /// Nothing when nobody says.
    retire_after: Option<Duration>,
}

/// An open spool.
pub(super) struct Offline {
    pub(super) spool: Spool,
    pub(super) opened: Opened,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Place {
    /// The one that was named, or the config's.
    pub(super) fn of(args: &PlaceArgs) -> Result<Self, Failure> {
        if let Some(dir) = &args.dir {
            return Ok(Self::at(dir));
        }
        let config = run::load(&args.config)?.config;
        let client = config.client.ok_or_else(|| {
            Failure::new(Code::Config, "expected a [client] part in the config, found none")
        })?;
        Ok(Self {
            dir: client.data_dir,
            client: Some(client.id),
            max_bytes: client.spool.max_bytes,
            lanes_max: usize::try_from(client.spool.max_lanes).unwrap_or(usize::MAX),
            retire_after: Some(client.spool.retire_after),
        })
    }

    /// A directory of which nothing else is known.
    pub(super) fn at(dir: &Path) -> Self {
        let (max_bytes, lanes_max) = (MAX_BYTES, usize::MAX);
        Self { dir: dir.to_owned(), client: None, max_bytes, lanes_max, retire_after: None }
    }

    /// Opens the spool that must be there.
    pub(super) fn open(&self, touch: Touch) -> Result<Offline, Failure> {
        if !self.dir.join("spool").is_dir() {
            let message = format!("expected a spool in {}, found none", self.dir.display());
            return Err(Failure::new(Code::Data, message));
        }
        self.open_or_make(touch)
    }

    /// Opens the spool, or makes it.
    pub(super) fn open_or_make(&self, touch: Touch) -> Result<Offline, Failure> {
        let mut options = SpoolOptions::new(self.dir.clone(), self.max_bytes, self.lanes_max);
        options.client.clone_from(&self.client);
        options.retire_after = self.retire_after.unwrap_or(options.retire_after);
        let disk: Arc<dyn Disk> = match touch {
            Touch::Nothing => Arc::new(Shadow::new(Arc::new(FileDisk))),
            Touch::Files => Arc::new(FileDisk),
        };
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hearing = Arc::clone(&heard);
        let on_commit = Box::new(move |committed: Committed| {
            hearing.lock().unwrap_or_else(PoisonError::into_inner).extend(committed.notes);
        });
        let opened = Spool::open(options, disk, on_commit);
        let (spool, opened) = opened.map_err(|error| store_failure(&error))?;
        Ok(Offline { spool, opened, heard })
    }
}

impl Offline {
    /// Tells `take` of everything that is pending in a lane, in order.
    pub(super) fn walk(
        &self,
        state: &LaneState,
        mut take: impl FnMut(Stretch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut next = state.acked_through.next();
        while next < state.next {
            let stretches = self.read(state.lane, next, READ_BYTES)?;
            if stretches.is_empty() {
                break;
            }
            for stretch in stretches {
                next = stretch.last().next();
                take(stretch)?;
            }
        }
        Ok(())
    }

    /// Reads a part of a lane.
    pub(super) fn read(
        &self,
        lane: Lane,
        from: Number,
        bytes_max: usize,
    ) -> Result<Vec<Stretch>, Failure> {
        ask(|reply| self.spool.read(lane, from, bytes_max, reply))?
            .map_err(Failure::of(Code::Io, "reading the spool failed"))
    }

    /// Ends it; gives what was damaged, in sentences.
    pub(super) fn close(self) -> Result<Vec<String>, Failure> {
        self.spool.close().map_err(Failure::of(Code::Io, "closing the spool failed"))?;
        let mut damage = self.opened.damage;
        damage.append(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(damage)
    }
}

/// Asks the store, and waits for its answer.
pub(super) fn ask<T: Send + 'static>(question: impl FnOnce(Reply<T>)) -> Result<T, Failure> {
    let (answer, answered) = mpsc::channel();
    question(Box::new(move |found| drop(answer.send(found))));
    answered.recv().map_err(Failure::of(Code::Internal, "the store did not answer"))
}
