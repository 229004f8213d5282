//! The stage: what every part of the torture shares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use paquebot_actors::clock;
use tokio::sync::watch;

use super::offence::{Kind, Offences};
use super::tally::Tally;
use crate::print::remark;

/// Whether faults happen and writers write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// They do.
    Storm,
    /// They do not: everything has to drain.
    Calm,
}

/// What every part shares.
#[derive(Debug)]
pub(super) struct Stage {
    /// Where all chance comes from.
    pub(super) seed: u64,
    /// What happened, counted.
    pub(super) tally: Tally,
    phase: watch::Sender<Phase>,
    began: Instant,
    offences: Mutex<Offences>,
}

impl Stage {
    /// A stage on which nothing happens yet.
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            tally: Tally::default(),
            phase: watch::Sender::new(Phase::Calm),
            began: clock::instant(),
            offences: Mutex::default(),
        })
    }

    /// From now on it is so.
    pub(super) fn turn(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Whether it storms.
    pub(super) fn storms(&self) -> bool {
        *self.phase.borrow() == Phase::Storm
    }

    /// Until it is calm, but no longer than `most`.
    pub(super) async fn storm(&self, most: Duration) {
        let mut phase = self.phase.subscribe();
        // Either way the storm is over for who asked.
        drop(tokio::time::timeout(most, phase.wait_for(|phase| *phase == Phase::Calm)).await);
    }

    /// How long the torture has lasted.
    pub(super) fn elapsed(&self) -> Duration {
        clock::instant().duration_since(self.began)
    }

    /// Something is wrong; it is said at once.
    pub(super) fn accuse(&self, kind: Kind, what: impl FnOnce() -> String) {
        let mut offences = self.offences.lock().unwrap_or_else(PoisonError::into_inner);
        offences.add(kind, || {
            let what = what();
            remark(&format!("torture: {}: {what}", kind.word()));
            what
        });
    }

    /// What was found to be wrong so far.
    pub(super) fn take_offences(&self) -> Offences {
        std::mem::take(&mut *self.offences.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
