//! Packets that are damaged where they are stored: their bytes go into the quarantine, and a
//! tombstone takes their place, so that the lane goes on by itself (R10).
//!
//! The reader finds it, because it verifies whatever it reads, and keeps the bytes; the writer
//! declares it, in one transaction with the totals. Whoever asked for the packets is answered after
//! that, with the tombstone. What lies beside them is untouched.

use std::sync::Arc;

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Chain, Held, Lane, Number};
use redb::ReadTransaction;

use super::bury::Burial;
use super::envelope::Envelope;
use super::facts::Tombstone;
use super::quarantine::{self, Report};
use super::read::{Ask, LOOKS_MAX, Reader, Trouble};
use super::scan;
use super::view::View;
use super::writer::{Order, Writer};
use crate::error::ReadError;
use crate::fault::Fault;
use crate::reply::Promise;
use crate::schema;

/// Packets that were found to be damaged.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) lane: Lane,
    pub(super) tombstone: Tombstone,
    /// Segments in which they should have been and could not even be found: they are not trusted.
    pub(super) condemned: Vec<u64>,
    /// What to say of it.
    pub(super) notes: Vec<String>,
}

/// A part of what is damaged.
struct Lost {
    segment: Option<u64>,
    first: Number,
    last: Number,
    found: String,
    /// Nothing when nobody knows where they are.
    bytes: Option<Vec<u8>>,
}

impl Reader {
    /// The packet at `at` cannot be read: keeps what there is of it and has it declared. `ask` is
    /// asked again when that is durable.
    pub(super) fn declare(&mut self, lane: Lane, at: Number, ask: Option<Ask>) {
        let damage = match self.assess(lane, at) {
            Ok(Some((tombstone, lost))) => self.keep(lane, tombstone, lost),
            // It was on its way into another segment.
            Ok(None) if self.agains < LOOKS_MAX => {
                (self.again, self.agains) = (ask, self.agains + 1);
                return;
            }
            Ok(None) => Err(Fault::Broken("packets that were moved meanwhile".into())),
            Err(Trouble::Missing(_)) => Err(Fault::damaged("a lane", "no end of the damage")),
            Err(Trouble::Fault(fault)) => Err(fault),
        };
        let orders = self.orders.upgrade();
        match (damage, orders) {
            (Ok(damage), Some(orders)) => {
                // When there is no room for it, whoever asked hears "closed" from its promise, and asks
                // again.
                let _ = orders.try_send(Order::Damaged(damage, ask));
            }
            (Err(fault), _) => {
                if let Some(ask) = ask {
                    ask.refuse(&ReadError::Failed(fault.to_string()));
                }
            }
            (Ok(_), None) => {}
        }
    }

    /// What is damaged from `at` on; nothing when it can be read after all.
    fn assess(
        &mut self,
        lane: Lane,
        at: Number,
    ) -> Result<Option<(Tombstone, Vec<Lost>)>, Trouble> {
        let Some(mut view) = self.view(lane, at.before())? else { return Ok(None) };
        let chain = if at.before() > view.acked {
            match self.chain_after(&mut view, lane, at.before()) {
                Ok(Held::Chain(chain)) => Some(chain),
                _ => None,
            }
        } else {
            None
        };
        let (mut lost, mut from) = (Vec::new(), at);
        loop {
            let Some(view) = self.view(lane, from)? else { return Ok(None) };
            let Some(end) = self.gap(&view, lane, from, &mut lost)? else { return Ok(None) };
            if let Some(chain_after) = self.chain_before(lane, end.next())? {
                let (first, last, reason) = (at, end, SkipReason::Damaged);
                return Ok(Some((Tombstone { first, last, chain, chain_after, reason }, lost)));
            }
            from = end.next();
        }
    }

    /// How far the damage goes that begins at `from`; adds what it is to `lost`. Nothing when
    /// `from` can be read, or was never stored.
    fn gap(
        &mut self,
        view: &View,
        lane: Lane,
        from: Number,
        lost: &mut Vec<Lost>,
    ) -> Result<Option<Number>, Trouble> {
        if from <= view.acked || from >= view.next {
            return Ok(None);
        }
        let tombstone = view.tombstone_after(lane, from)?;
        if tombstone.is_some_and(|tombstone| tombstone.first <= from) {
            return Ok(None);
        }
        let limit = tombstone.map_or(view.next.before(), |tombstone| tombstone.first.before());
        let piece = view.pieces.iter().find(|(_, piece)| piece.last >= from).copied();
        match (piece, &view.active) {
            (Some((segment, piece)), _) if piece.first <= from => {
                let limit = limit.min(piece.last);
                let sealed = self.sealed.get(segment, &self.shared)?;
                let there = sealed.first_from(lane, from);
                if there == Some(from) {
                    return Ok(None);
                }
                let end = there.map_or(limit, |there| there.before().min(limit));
                let mut known = from;
                for (Envelope { first, last, .. }, bytes) in sealed.damaged(lane, from, end)? {
                    if first <= known {
                        known = known.max(last.next());
                    }
                    let found = "a run with damaged bytes".to_owned();
                    lost.push(Lost {
                        segment: Some(segment),
                        first,
                        last,
                        found,
                        bytes: Some(bytes),
                    });
                }
                if known <= end {
                    let found = "no such run in its segment".to_owned();
                    let segment = Some(segment);
                    lost.push(Lost { segment, first: known, last: end, found, bytes: None });
                }
                Ok(Some(end))
            }
            (next, active) => {
                let before = next.map_or(Number(u64::MAX), |(_, piece)| piece.first.before());
                gap_in_active(active.as_ref(), lane, from, limit.min(before), lost)
            }
        }
    }

    /// The chain before packet `number`, from what stands there; nothing when that is damaged too.
    fn chain_before(&mut self, lane: Lane, number: Number) -> Result<Option<Chain>, Trouble> {
        let Some(mut view) = self.view(lane, number)? else { return Ok(None) };
        if number >= view.next {
            return Ok(Some(view.chain));
        }
        let tombstone = view.tombstone_after(lane, number)?;
        if let Some(next) = tombstone.filter(|next| next.first <= number) {
            // What is not known any more is the same for both: whoever passes one passes the other.
            return Ok(next.chain.filter(|_| next.first == number).or(Some(next.chain_after)));
        }
        let found = self.fetch(&mut view, lane, number, number, 0)?;
        Ok(found.first().and_then(|(_, run)| run.chain_at(number.before())))
    }

    /// Keeps the damaged bytes and writes the report.
    fn keep(&self, lane: Lane, tombstone: Tombstone, lost: Vec<Lost>) -> Result<Damage, Fault> {
        let (disk, paths) = self.sealed.place();
        let target = self.shared.lanes().get(&lane).map(|known| known.state.target.clone());
        let (mut condemned, mut notes) = (Vec::new(), Vec::new());
        self.shared.now();
        let time = quarantine::time(self.shared.clock_row().reading.wall_ms);
        for Lost { segment, first, last, found, bytes } in lost {
            let stem = segment.map_or("active".to_owned(), |segment| format!("{segment:08}"));
            let name = format!("{stem}-{lane}-{first}-{last}.run");
            let size = bytes.as_ref().map_or(0, Vec::len) as u64;
            let new = match &bytes {
                Some(bytes) => quarantine::keep(disk, paths, &name, bytes)?,
                None => true,
            };
            let file = bytes.is_some().then_some(name);
            if file.is_none() {
                condemned.extend(segment);
            }
            let (lane, target) = (Some(lane), target.clone());
            let (first, last, bytes, time) = (Some(first), Some(last), size, time.clone());
            let report = Report { time, segment, lane, target, first, last, bytes, found, file };
            if new {
                quarantine::report(disk, paths, &report)?;
                notes.push(report.sentence());
            }
        }
        Ok(Damage { lane, tombstone, condemned, notes })
    }
}

/// How far damage goes that begins at `from` in the active segment.
fn gap_in_active(
    active: Option<&ReadTransaction>,
    lane: Lane,
    from: Number,
    limit: Number,
    lost: &mut Vec<Lost>,
) -> Result<Option<Number>, Trouble> {
    let none = |last| {
        let found = "no such run".to_owned();
        Lost { segment: None, first: from, last, found, bytes: None }
    };
    let Some(active) = active else {
        lost.push(none(limit));
        return Ok(Some(limit));
    };
    let table = active.open_table(schema::RUNS)?;
    let next = table.range_owned((lane.0, from.0)..=(lane.0, u64::MAX))?.next().transpose()?;
    let Some((key, value)) = next else {
        lost.push(none(limit));
        return Ok(Some(limit));
    };
    let (last, value) = (Number(key.value().1), value.value());
    match scan::open(lane, last, value) {
        Ok((_, run)) if run.first() <= from => Ok(None),
        Ok((_, run)) => {
            let end = run.first().before().min(limit);
            lost.push(none(end));
            Ok(Some(end))
        }
        Err(found) => {
            let (last, bytes) = (last.min(limit), Some(value.to_vec()));
            lost.push(Lost { segment: None, first: from, last, found, bytes });
            Ok(Some(last))
        }
    }
}

impl Writer {
    /// Declares what the reader found damaged, with the next commit, and has `ask` asked again.
    pub(super) fn damaged(&mut self, damage: Damage, ask: Option<Ask>) {
        let Damage { lane, tombstone, condemned, notes } = damage;
        self.tell(notes);
        for segment in condemned {
            self.condemn(segment, true);
        }
        let (reader, shared) = (self.reader.clone(), Arc::clone(&self.shared));
        let promise = Promise::new(Box::new(move |declared| {
            let Some(ask) = ask else { return };
            let (first, last) = (tombstone.first, tombstone.last);
            let damaged = |found: String| ReadError::Damaged { lane, first, last, found };
            match declared {
                // When nobody takes it, its promise says that the spool is closed.
                Ok(1..) => drop(reader.send(ask)),
                // Two asked at once, and it was declared, or acknowledged, for the other one.
                Ok(0) if shared.is_settled(lane, first) => drop(reader.send(ask)),
                Ok(0) => ask.refuse(&damaged("nothing that could be declared".into())),
                Err(error) => ask.refuse(&damaged(format!("damage not declared yet: {error}"))),
            }
        }));
        self.bury(Burial { lane, tombstones: vec![tombstone], promise });
    }

    /// Says something with the next commit, and in the status.
    pub(super) fn tell(&mut self, notes: Vec<String>) {
        if let Some(last) = notes.last() {
            let mut status = self.shared.status();
            status.quarantine.files = quarantine::count(&*self.disk, &self.paths);
            status.quarantine.last = Some(last.clone());
        }
        self.notes.extend(notes);
    }
}
