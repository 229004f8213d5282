//! The dead letters of a client: packets that its server can never take. Its spool keeps them; a replay
//! stores each as a new packet at the end of its target's lane, in the commit that takes the letter
//! away.

use std::ops::ControlFlow;

use paquebot_actors::clock;
use paquebot_actors::source::Problem;
use paquebot_protocol::{ClientId, Number, PacketId};
use paquebot_store::{DeadLetterFilter, Spool, SpoolLetter, SpoolLetters};
use serde_json::Value;

use super::{Resent, STORED_NAMED_MAX, in_full};
use crate::admin::ClientView;
use crate::admin::answers::DeadLetterFacts;
use crate::admin::store;

/// What is read, stored anew or removed at once.
const PAGE_BYTES: usize = 512 * 1024;

/// Whom is asked.
pub(super) struct ClientDesk {
    id: ClientId,
    spool: Spool,
}

impl ClientDesk {
    pub(super) fn of(client: &ClientView) -> Self {
        Self { id: client.id.clone(), spool: client.spool.clone() }
    }

    /// At most `limit` letters after a place, and the place after which to go on.
    pub(super) async fn page(
        &self,
        filter: &DeadLetterFilter,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<DeadLetterFacts>, Option<u64>), Problem> {
        let (mut found, mut last) = (Vec::new(), Some(Number(after)));
        while let Some(after) = last
            && found.len() < limit
        {
            let page = read(&self.spool, after).await?;
            last = page.next;
            for letter in page.letters {
                if found.len() >= limit {
                    // The rest of this page comes with the next.
                    return Ok((found, Some(letter.place.before().0)));
                }
                if self.is_meant(&letter, filter) {
                    found.push(self.in_list(&letter));
                }
            }
        }
        Ok((found, last.map(|last| last.0)))
    }

    /// The letter of a packet, in full.
    pub(super) async fn one(&self, id: PacketId) -> Result<Option<Value>, Problem> {
        let letter = find(&self.spool, id).await?;
        Ok(letter.map(|letter| {
            in_full(&self.in_list(&letter), (id, &self.id, &letter.target), &letter.record)
        }))
    }

    pub(super) async fn discard_one(&self, id: PacketId) -> Result<u64, Problem> {
        match find(&self.spool, id).await? {
            Some(letter) => self.discard_at(vec![letter.place]).await,
            None => Ok(0),
        }
    }

    pub(super) async fn discard(&self, filter: &DeadLetterFilter) -> Result<u64, Problem> {
        let mut pages = Pages::of(filter);
        let mut discarded = 0;
        while let Some(letters) = pages.next(self, filter).await? {
            let places: Vec<Number> = letters.iter().map(|letter| letter.place).collect();
            if !places.is_empty() {
                discarded += self.discard_at(places).await?;
            }
        }
        Ok(discarded)
    }

    pub(super) async fn replay_one(&self, id: PacketId) -> Result<Resent, Problem> {
        let mut resent = Resent::default();
        if let Some(letter) = find(&self.spool, id).await? {
            // Whether it had room stands in the answer.
            let _ended = self.replay_some(vec![letter], &mut resent).await?;
        }
        Ok(resent)
    }

    pub(super) async fn replay(&self, filter: &DeadLetterFilter) -> Result<Resent, Problem> {
        let mut pages = Pages::of(filter);
        let mut resent = Resent::default();
        let mut ended = false;
        while let Some(letters) = pages.next(self, filter).await? {
            if ended {
                resent.left += letters.len() as u64;
            } else {
                ended = self.replay_some(letters, &mut resent).await?.is_break();
            }
        }
        tracing::info!(
            stored = resent.stored,
            left = resent.left,
            "dead letters of the client are packets again"
        );
        Ok(resent)
    }

    /// Stores letters anew, in order; breaks where there is no room for one.
    async fn replay_some(
        &self,
        letters: Vec<SpoolLetter>,
        resent: &mut Resent,
    ) -> Result<ControlFlow<()>, Problem> {
        let places: Vec<Number> = letters.iter().map(|letter| letter.place).collect();
        if places.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let done = store::read(|reply| self.spool.resend_dead_letters(places, reply)).await?;
        resent.stored += done.stored.len() as u64;
        for (place, stored) in &done.stored {
            if resent.named.len() < STORED_NAMED_MAX
                && let Some(letter) = letters.iter().find(|letter| letter.place == *place)
            {
                resent.named.push((letter.id, stored.id_at(0)));
            }
        }
        let Some(error) = done.stopped else { return Ok(ControlFlow::Continue(())) };
        let through = done.stored.last().map_or(Number::NONE, |(place, _)| *place);
        let mut rest = letters.iter().filter(|letter| letter.place > through);
        let first = rest.next().map(|letter| letter.id);
        resent.left += u64::from(first.is_some()) + rest.count() as u64;
        resent.problems.push((first, error.to_string()));
        Ok(ControlFlow::Break(()))
    }

    async fn discard_at(&self, places: Vec<Number>) -> Result<u64, Problem> {
        store::read(|reply| self.spool.discard_dead_letters(places, reply)).await
    }

    fn is_meant(&self, letter: &SpoolLetter, filter: &DeadLetterFilter) -> bool {
        filter.handler.is_none()
            && filter.client.as_ref().is_none_or(|client| *client == self.id)
            && filter.target.as_ref().is_none_or(|pattern| pattern.matches(&letter.target))
            && filter.since_ms.is_none_or(|since| letter.at_ms >= since)
            && filter.until_ms.is_none_or(|until| letter.at_ms < until)
    }

    fn in_list(&self, letter: &SpoolLetter) -> DeadLetterFacts {
        let at = clock::rfc3339(letter.at_ms);
        DeadLetterFacts {
            side: "client",
            id: letter.id.to_string(),
            client: self.id.to_string(),
            target: letter.target.to_string(),
            handler: String::new(),
            reason: letter.reason.clone(),
            attempts: 1,
            first_attempt: at.clone(),
            last_attempt: at,
            size: letter.record.len() as u64,
        }
    }
}

/// The letters that are meant, page by page, but for those that come meanwhile.
struct Pages {
    after: Option<Number>,
    through: Option<Number>,
    left: usize,
}

impl Pages {
    fn of(filter: &DeadLetterFilter) -> Self {
        Self { after: Some(Number::NONE), through: None, left: filter.limit }
    }

    async fn next(
        &mut self,
        desk: &ClientDesk,
        filter: &DeadLetterFilter,
    ) -> Result<Option<Vec<SpoolLetter>>, Problem> {
        let Some(after) = self.after.filter(|_| self.left > 0) else { return Ok(None) };
        let page = read(&desk.spool, after).await?;
        let through = *self.through.get_or_insert(page.newest);
        self.after = page.next.filter(|next| *next < through);
        let meant = |letter: &SpoolLetter| letter.place <= through && desk.is_meant(letter, filter);
        let letters: Vec<SpoolLetter> =
            page.letters.into_iter().filter(meant).take(self.left).collect();
        self.left -= letters.len();
        Ok(Some(letters))
    }
}

/// The letter of a packet.
pub(in crate::admin) async fn find(
    spool: &Spool,
    id: PacketId,
) -> Result<Option<SpoolLetter>, Problem> {
    let mut next = Some(Number::NONE);
    while let Some(after) = next {
        let page = read(spool, after).await?;
        if let Some(letter) = page.letters.into_iter().find(|letter| letter.id == id) {
            return Ok(Some(letter));
        }
        next = page.next;
    }
    Ok(None)
}

async fn read(spool: &Spool, after: Number) -> Result<SpoolLetters, Problem> {
    store::read(|reply| spool.dead_letters(after, PAGE_BYTES, reply)).await
}
