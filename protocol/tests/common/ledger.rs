//! The model ledger, whose cursors move by compare-and-set, and the model handler, which keeps a
//! note of every effect that it ever had.

use std::collections::{BTreeMap, BTreeSet};

use paquebot_protocol::{Chain, Lane, LaneKey, Number, Packet};

/// One packet's effect: where it came from, and the serial number in its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Effect {
    pub(crate) key: LaneKey,
    pub(crate) number: Number,
    pub(crate) serial: u64,
}

impl Effect {
    /// Reads the packet that stands under `number` in the lane; its data says where it belongs.
    pub(crate) fn of(key: LaneKey, number: Number, record: &[u8]) -> Self {
        let packet = Packet::decode(record).expect("the record that was stored");
        Self { key, number, serial: read_serial(packet.data) }
    }
}

/// A packet's data: a serial number, and some bytes so that packets differ in length.
pub(crate) fn data_of(serial: u64) -> Vec<u8> {
    let mut data = serial.to_be_bytes().to_vec();
    data.resize(8 + usize::try_from(serial % 7).unwrap_or_default(), b'.');
    data
}

fn read_serial(data: &[u8]) -> u64 {
    data.first_chunk().map_or(0, |serial| u64::from_be_bytes(*serial))
}

/// What survives a crash of the server.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    cursors: BTreeMap<LaneKey, (Number, Option<Chain>)>,
    /// The highest cursor that ever was durable, whatever was forgotten since.
    reached: BTreeMap<LaneKey, Number>,
    /// Numbers that a cursor jumped over, because their outcome was in another ledger.
    pub(crate) elsewhere: u64,
    /// Outcomes that it did not record, because the cursor was elsewhere.
    pub(crate) refused: u64,
}

impl Ledger {
    /// Where a lane goes on, of which the client holds everything from `first` on.
    pub(crate) fn look_up(&mut self, key: LaneKey, first: Number) -> (Number, Option<Chain>) {
        let before = first.before();
        let found = self.cursors.entry(key).or_insert((Number::NONE, None));
        if found.0 < before {
            self.elsewhere += before.since(found.0);
            *found = (before, None);
        }
        let reached = self.reached.entry(key).or_default();
        *reached = (*reached).max(found.0);
        *found
    }

    /// Moves a cursor, if it is still where the attempt began.
    pub(crate) fn record(
        &mut self,
        key: LaneKey,
        from: Number,
        through: Number,
        chain: Chain,
    ) -> bool {
        let moves = self.cursors.get(&key).is_some_and(|(cursor, _)| *cursor == from);
        if moves {
            self.cursors.insert(key, (through, Some(chain)));
            let reached = self.reached.entry(key).or_default();
            *reached = (*reached).max(through);
        } else {
            self.refused += 1;
        }
        moves
    }

    pub(crate) fn forget(&mut self, key: LaneKey) {
        self.cursors.remove(&key);
    }

    pub(crate) fn cursor(&self, key: LaneKey) -> Option<Number> {
        self.cursors.get(&key).map(|(cursor, _)| *cursor)
    }

    pub(crate) fn reached(&self, key: LaneKey) -> Number {
        self.reached.get(&key).copied().unwrap_or_default()
    }
}

/// How the handler treats a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

#[derive(Debug)]
pub(crate) struct Handler {
    /// Whether an effect is recorded in the transaction of the cursor; otherwise it comes before.
    pub(crate) exactly_once: bool,
    pub(crate) effects: Vec<Effect>,
    moods: BTreeMap<Lane, Mood>,
    handled_through: BTreeMap<LaneKey, Number>,
    forgiven: BTreeSet<LaneKey>,
}

impl Handler {
    pub(crate) fn new(exactly_once: bool) -> Self {
        Self {
            exactly_once,
            effects: Vec::new(),
            moods: BTreeMap::new(),
            handled_through: BTreeMap::new(),
            forgiven: BTreeSet::new(),
        }
    }

    pub(crate) fn mood(&self, lane: Lane) -> Mood {
        self.moods.get(&lane).copied().unwrap_or_default()
    }

    pub(crate) fn set_mood(&mut self, lane: Lane, mood: Mood) {
        self.moods.insert(lane, mood);
    }

    pub(crate) fn be_well(&mut self) {
        self.moods.clear();
    }

    /// From now on this lane's effects may repeat: its ledger has lost its memory.
    pub(crate) fn forgive(&mut self, key: LaneKey) {
        self.forgiven.insert(key);
    }

    /// Notes the effects of an attempt; they come in order, and once where that is promised.
    pub(crate) fn apply(&mut self, effects: Vec<Effect>) {
        let once = |key: &LaneKey| self.exactly_once && !self.forgiven.contains(key);
        for effect in effects {
            let through = self.handled_through.entry(effect.key).or_default();
            let again = effect.number <= *through;
            assert!(!again || !once(&effect.key), "handled a second time: {effect:?}");
            *through = effect.number;
            self.effects.push(effect);
        }
    }
}
