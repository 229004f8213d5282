//! The checker: nothing lost, nothing twice, order kept, data unchanged (R1, R3, R4, R5, R6).
//!
//! It looks at evidence alone and trusts no process: what writers were told, what is in the files,
//! what receivers got, what the dead letters hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::evidence::{Evidence, Place, Seen, Sent, Stored, Visit};
use super::offence::{Kind, Offences};
use super::route::{self, End, Keep};

/// The lanes of one client and target, one after the other: its order, as it is seen from outside.
type Lane = (Arc<str>, Arc<str>);

/// A packet that may be there, without its id.
type Likeness = (Arc<str>, Arc<str>, u64, u64);

/// The checker at work.
struct Checker<'e> {
    stored: HashMap<&'e str, &'e Stored>,
    /// How many packets of each likeness got no answer and have not come out yet.
    unknown: HashMap<Likeness, u64>,
    /// The ids that unknown packets turned out to have.
    revealed: HashSet<&'e str>,
    /// Where each id came out.
    found: HashMap<&'e str, Vec<End>>,
    /// How far each lane got at each end.
    reached: HashMap<(Lane, End), Place>,
    /// What receivers were asked to take, whether they took it or not.
    visits: HashMap<&'e str, &'e Visit>,
    offences: Offences,
}

/// Looks at everything.
pub(super) fn check(evidence: &Evidence) -> Offences {
    let mut checker = Checker {
        stored: HashMap::with_capacity(evidence.stored.len()),
        unknown: HashMap::new(),
        revealed: HashSet::new(),
        found: HashMap::with_capacity(evidence.stored.len()),
        reached: HashMap::new(),
        visits: evidence.visits.iter().map(|visit| (visit.seen.id.as_str(), visit)).collect(),
        offences: Offences::default(),
    };
    checker.hear(evidence);
    for (file, lines) in &evidence.files {
        checker.read_file(file, lines);
    }
    checker.read_visits(&evidence.visits);
    checker.read_dead(&evidence.dead);
    if evidence.complete {
        checker.look_for(&evidence.stored);
    }
    checker.offences
}

impl<'e> Checker<'e> {
    /// What writers were told: each id once, and each writer's packets in its order.
    fn hear(&mut self, evidence: &'e Evidence) {
        let mut last: HashMap<(Lane, u64), (Place, u64)> = HashMap::new();
        for stored in &evidence.stored {
            let sent = &stored.sent;
            if let Some(other) = self.stored.insert(&stored.id, stored) {
                self.offences.add(Kind::Twice, || {
                    let (one, two) = (described(&other.sent), described(sent));
                    format!("{}: the id of two packets, {one} and {two}", stored.id)
                });
            }
            let before = last.entry((lane(sent), sent.writer)).or_default();
            let place = Place::of(&stored.id);
            if (place > before.0) != (sent.sequence > before.1) {
                let before = before.0;
                self.offences.add(Kind::OutOfOrder, || {
                    let packet = described(sent);
                    format!("{}: {packet} was posted after {before:?}", stored.id)
                });
            }
            *before = (place, sent.sequence);
        }
        for sent in &evidence.unknown {
            *self.unknown.entry(likeness(sent)).or_default() += 1;
        }
    }

    /// A file has each line once, and each lane's in order.
    fn read_file(&mut self, file: &str, lines: &'e [Seen]) {
        let mut last: BTreeMap<Lane, Place> = BTreeMap::new();
        let mut here: HashSet<&str> = HashSet::with_capacity(lines.len());
        for (at, seen) in lines.iter().enumerate() {
            let line = at + 1;
            if !here.insert(&seen.id) {
                self.offences.add(Kind::Twice, || format!("{}: again in {file}:{line}", seen.id));
                continue;
            }
            self.in_order(&mut last, seen, || format!("{file}:{line}"));
            self.came_out(seen, End::File, || format!("{file}:{line}"));
        }
    }

    /// Receivers see each lane's packets in order, as each comes for the first time.
    fn read_visits(&mut self, visits: &'e [Visit]) {
        let mut last: BTreeMap<Lane, Place> = BTreeMap::new();
        for visit in visits {
            let seen = &visit.seen;
            self.in_order(&mut last, seen, || "the receiver".to_owned());
            if visit.accepted > 0 {
                self.came_out(seen, End::Http, || "the receiver".to_owned());
            } else {
                self.is_what_was_sent(seen, || "the receiver".to_owned());
            }
        }
    }

    /// A dead letter is there once.
    fn read_dead(&mut self, dead: &'e [Seen]) {
        let mut here: HashSet<&str> = HashSet::new();
        for seen in dead {
            if here.insert(&seen.id) {
                self.came_out(seen, End::Dead, || "the dead letters".to_owned());
            } else {
                self.offences.add(Kind::Twice, || format!("{}: again a dead letter", seen.id));
            }
        }
    }

    /// Everything that was answered "stored" and is kept has come out, and only where it has to.
    fn look_for(&mut self, stored: &'e [Stored]) {
        for stored in stored.iter().filter(|stored| stored.sent.end != End::Discard) {
            let found = self.found.get(stored.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            if found == [stored.sent.end] || found.is_empty() && may_be_gone(&stored.sent.target) {
                continue;
            }
            let kind = if found.contains(&stored.sent.end) { Kind::Misplaced } else { Kind::Lost };
            let (visits, reached) = (&self.visits, &self.reached);
            self.offences.add(kind, || {
                let (packet, end) = (described(&stored.sent), stored.sent.end);
                let furthest = reached.get(&(lane(&stored.sent), end)).copied().unwrap_or_default();
                let came = visits.get(stored.id.as_str()).map_or(0, |visit| visit.times);
                format!(
                    "{}: {packet}: expected at {end:?}, found at {found:?}; it came to the \
                     receiver {came} times, and its lane got as far as {furthest:?}",
                    stored.id
                )
            });
        }
    }

    fn in_order(
        &mut self,
        last: &mut BTreeMap<Lane, Place>,
        seen: &Seen,
        place: impl FnOnce() -> String,
    ) {
        let lane = (Arc::clone(&seen.client), Arc::clone(&seen.target));
        let before = last.entry(lane).or_default();
        let found = Place::of(&seen.id);
        if found <= *before {
            let before = *before;
            self.offences.add(Kind::OutOfOrder, || {
                let place = place();
                format!("{}: {place}: {found:?} after {before:?}", seen.id)
            });
        }
        *before = found.max(*before);
    }

    fn came_out(&mut self, seen: &'e Seen, end: End, place: impl Fn() -> String) {
        self.is_what_was_sent(seen, &place);
        // What got no answer has its fate by its target alone; who knows whether it was poison is
        // the receiver, which decided it.
        if !self.stored.contains_key(seen.id.as_str()) {
            let expected = route::of(&seen.target).map(|route| route.end);
            if expected != Some(end) && (expected, end) != (Some(End::Http), End::Dead) {
                self.offences.add(Kind::Misplaced, || format!("{}: at {}", seen.id, place()));
            }
        }
        self.found.entry(&seen.id).or_default().push(end);
        let lane = (Arc::clone(&seen.client), Arc::clone(&seen.target));
        let furthest = self.reached.entry((lane, end)).or_default();
        *furthest = Place::of(&seen.id).max(*furthest);
    }

    /// The id was handed out for exactly this, or nobody heard which id it got.
    fn is_what_was_sent(&mut self, seen: &'e Seen, place: impl Fn() -> String) {
        if let Some(stored) = self.stored.get(seen.id.as_str()) {
            let sent = &stored.sent;
            let same = sent.client == seen.client
                && sent.target == seen.target
                && stored.number == seen.number
                && sent.digest == seen.digest
                && sent.bytes == seen.bytes;
            if !same {
                let sent = described(sent);
                self.offences.add(Kind::Changed, || {
                    format!("{}: {}: expected {sent}, found {seen:?}", seen.id, place())
                });
            }
            return;
        }
        if !self.revealed.insert(&seen.id) {
            return;
        }
        let likeness =
            (Arc::clone(&seen.client), Arc::clone(&seen.target), seen.digest, seen.bytes);
        match self.unknown.get_mut(&likeness) {
            Some(left) if *left > 0 => *left -= 1,
            _ => self.offences.add(Kind::Invented, || {
                format!("{}: {}: nobody sent it (or it is there again): {seen:?}", seen.id, place())
            }),
        }
    }
}

/// Whether a client may give such packets up; the accounts tell whether it did (R8).
fn may_be_gone(target: &str) -> bool {
    route::of(target).is_some_and(|route| route.keep != Keep::Always)
}

fn lane(sent: &Sent) -> Lane {
    (Arc::clone(&sent.client), Arc::clone(&sent.target))
}

fn likeness(sent: &Sent) -> Likeness {
    (Arc::clone(&sent.client), Arc::clone(&sent.target), sent.digest, sent.bytes)
}

fn described(sent: &Sent) -> String {
    let Sent { client, target, bytes, writer, sequence, .. } = sent;
    format!("packet {sequence} of writer {writer} at {client}, {bytes} bytes to {target}")
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
