//! The dead letters of a server: its ledger keeps them, and its handlers get them again.

use paquebot_actors::clock;
use paquebot_actors::replay::{ReplayDesk, ReplayError, Replayed};
use paquebot_actors::source::Problem;
use paquebot_protocol::PacketId;
use paquebot_store::{DeadLetter, DeadLetterFilter, DeadLetterPage, Ledger, ListedLetter};
use serde_json::Value;

use super::{PAGE_MAX, in_full, not_found};
use crate::admin::ServerView;
use crate::admin::answers::DeadLetterFacts;
use crate::admin::store::{ask_ledger, of_ledger, unavailable};

/// The ledger looks at so many rows for a page and gives a short one then; so often it is asked to go on.
const SHORT_PAGES_MAX: usize = 100;

/// Whom is asked.
pub(super) struct ServerDesk {
    ledger: Ledger,
    replays: ReplayDesk,
}

impl ServerDesk {
    pub(super) fn of(server: &ServerView) -> Self {
        Self { ledger: server.store.clone(), replays: server.replays.clone() }
    }

    /// `filter.limit` letters, if there are as many, and where to go on.
    pub(super) async fn page(
        &self,
        mut filter: DeadLetterFilter,
    ) -> Result<(Vec<DeadLetterFacts>, Option<u64>), Problem> {
        let (limit, mut letters, mut next) = (filter.limit, Vec::new(), None);
        for _ in 0..SHORT_PAGES_MAX {
            filter.limit = limit - letters.len();
            let page = self.letters(filter.clone()).await?;
            letters.extend(page.letters.iter().map(in_list));
            next = page.next;
            if next.is_none() || letters.len() >= limit {
                break;
            }
            filter.after = next;
        }
        Ok((letters, next))
    }

    /// The letter of a packet, in full.
    pub(super) async fn one(&self, id: PacketId) -> Result<Value, Problem> {
        let filter = DeadLetterFilter { id: Some(id), limit: 1, ..DeadLetterFilter::default() };
        let page = self.letters(filter).await?;
        let listed = page.letters.into_iter().next().ok_or_else(|| not_found(id))?;
        let DeadLetter { id, client, target, record, .. } = &listed.letter;
        Ok(in_full(&in_list(&listed), (*id, client, target), record))
    }

    pub(super) async fn discard_one(&self, id: PacketId) -> Result<u64, Problem> {
        ask_ledger(|reply| self.ledger.discard_dead_letters(vec![id], reply)).await
    }

    pub(super) async fn discard(&self, mut filter: DeadLetterFilter) -> Result<u64, Problem> {
        let (mut left, mut discarded) = (filter.limit, 0);
        while left > 0 {
            filter.limit = left.min(PAGE_MAX);
            let DeadLetterPage { letters, next, newest } = self.letters(filter.clone()).await?;
            filter.through.get_or_insert(newest);
            left -= letters.len().min(left);
            if !letters.is_empty() {
                let ids = letters.iter().map(|one| one.letter.id).collect();
                discarded +=
                    ask_ledger(|reply| self.ledger.discard_dead_letters(ids, reply)).await?;
            }
            match next {
                Some(next) => filter.after = Some(next),
                None => break,
            }
        }
        Ok(discarded)
    }

    pub(super) async fn replay(&self, filter: DeadLetterFilter) -> Result<Replayed, Problem> {
        self.replays.replay(filter).await.map_err(|error| of_replay(&error))
    }

    async fn letters(&self, filter: DeadLetterFilter) -> Result<DeadLetterPage, Problem> {
        ask_ledger(|reply| self.ledger.list_dead_letters(filter, reply)).await
    }
}

fn in_list(listed: &ListedLetter) -> DeadLetterFacts {
    let DeadLetter { id, client, target, handler, reason, attempts, .. } = &listed.letter;
    DeadLetterFacts {
        side: "server",
        id: id.to_string(),
        client: client.to_string(),
        target: target.to_string(),
        handler: handler.clone(),
        reason: reason.clone(),
        attempts: *attempts,
        first_attempt: clock::rfc3339(listed.letter.first_attempt_ms),
        last_attempt: clock::rfc3339(listed.letter.last_attempt_ms),
        size: listed.size,
    }
}

fn of_replay(error: &ReplayError) -> Problem {
    let code = if matches!(error, ReplayError::Busy) { "busy" } else { "stopping" };
    match error {
        ReplayError::Ledger(error) => of_ledger(error),
        _ => unavailable(code, error.to_string()),
    }
}
