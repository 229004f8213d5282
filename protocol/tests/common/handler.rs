//! The model handler, which keeps account of every effect that it ever had.

use std::collections::{BTreeMap, BTreeSet};

use paquebot_protocol::{Lane, LaneKey, Number};

use super::ledger::{Ledger, serial_of};

/// One packet's effect: where it came from, and the serial number in its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Effect {
    pub(crate) key: LaneKey,
    pub(crate) number: Number,
    pub(crate) serial: u64,
}

impl Effect {
    /// Reads the packet that stands under `number` in the lane.
    pub(crate) fn of(key: LaneKey, number: Number, record: &[u8]) -> Self {
        Self { key, number, serial: serial_of(record) }
    }
}

/// How the handler treats a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(crate) enum Mood {
    /// It handles what comes.
    #[default]
    Well,
    /// It handles nothing and says so.
    Failing,
    /// It handles the first half of what comes, then fails.
    Stumbling,
    /// It handles and records the first half of what is left, again and again, to the end.
    Creeping,
    /// It takes its time: nothing comes of an attempt before the mood changes.
    Slow,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Handler {
    /// Whether an effect is recorded in the transaction of the cursor; otherwise it comes before.
    pub(crate) exactly_once: bool,
    /// Every effect, in order.
    pub(crate) effects: Vec<Effect>,
    /// Packets that it can never take.
    pub(crate) poison: BTreeSet<u64>,
    /// Packets that it handled.
    pub(crate) handled: BTreeSet<u64>,
    /// Packets that became dead letters.
    pub(crate) dead: BTreeSet<u64>,
    /// Packets whose effects may repeat: their spool took a new name while it held them (R7), and both
    /// sides say so.
    pub(crate) may_repeat: BTreeSet<u64>,
    /// Whether it keeps `effects`.
    pub(crate) keeps_log: bool,
    moods: BTreeMap<Lane, Mood>,
}

impl Handler {
    pub(crate) fn new(exactly_once: bool) -> Self {
        Self {
            exactly_once,
            effects: Vec::new(),
            poison: BTreeSet::new(),
            handled: BTreeSet::new(),
            dead: BTreeSet::new(),
            may_repeat: BTreeSet::new(),
            keeps_log: true,
            moods: BTreeMap::new(),
        }
    }

    pub(crate) fn mood(&self, lane: Lane) -> Mood {
        self.moods.get(&lane).copied().unwrap_or_default()
    }

    pub(crate) fn set_mood(&mut self, lane: Lane, mood: Mood) {
        match mood {
            Mood::Well => self.moods.remove(&lane),
            other => self.moods.insert(lane, other),
        };
    }

    /// The lanes that it does not treat well.
    pub(crate) fn unwell(&self) -> impl Iterator<Item = Lane> {
        self.moods.keys().copied()
    }

    pub(crate) fn be_well(&mut self) {
        self.moods.clear();
    }

    /// Notes the effects of an attempt. Those that are recorded with the cursor come in order, and
    /// once, as far as the ledger that is there now can know: one that was restored or lost takes its
    /// memory of effects with it, and a spool that was restored, too, may then have its packets handled
    /// again, or other packets under their numbers. Nothing else excuses a repetition.
    pub(crate) fn apply(&mut self, effects: Vec<Effect>, ledger: &mut Ledger) {
        for effect in effects {
            if self.exactly_once {
                let may_repeat = self.may_repeat.contains(&effect.serial);
                let first = ledger.note(&effect, may_repeat);
                assert!(first, "handled a second time: {effect:?}");
            }
            self.handled.insert(effect.serial);
            if self.keeps_log {
                self.effects.push(effect);
            }
        }
    }
}
