//! `[[client.policy]]`: how packets to some targets are kept and how early they are sent; the first that
//! matches counts.
//!
//! Decides what a policy may say. Never decides when a packet expires or makes way: that is the
//! spool's.

use std::ops::RangeInclusive;
use std::time::Duration;

use paquebot_protocol::outbox::Priority;
use paquebot_protocol::{TargetId, TargetPattern};

use super::claim::Claim;
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;
use super::size::size_in_words;
use super::spool::{WHEN_FULL, WhenFull};

/// A packet that lives for less is gone before a connection is made.
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 365 * 100);
/// The largest packet must fit.
const MAX_BYTES: RangeInclusive<u64> = 64 * 1024..=u64::MAX;

/// The words for each.
const PRIORITY: [(&str, Priority); 3] =
    [("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];

/// How packets to some targets are kept, and how early they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The targets; never empty.
    pub targets: Vec<TargetPattern>,
    /// How early packets are sent, compared with those to other targets.
    pub priority: Priority,
    /// For how long a packet is worth sending; without it, for ever.
    pub ttl: Option<Duration>,
    /// What happens to a packet for which there is no room; without it, what the spool says.
    pub when_full: Option<WhenFull>,
    /// The most bytes that packets to one target may take; without it, half of the spool.
    pub max_bytes: Option<u64>,
}

impl Policy {
    /// Reads every policy of a client.
    ///
    /// `spool_bytes` is what all packets together may take.
    pub(super) fn read_all(
        client: &mut Section<'_>,
        spool_bytes: Option<u64>,
    ) -> Result<Vec<Self>, Reported> {
        let sections = client.tables("policy")?;
        let count = sections.len();
        let read = |(at, section)| Self::read(section, at + 1 == count, spool_bytes);
        let policies: Vec<_> = sections.into_iter().enumerate().map(read).collect();
        policies.into_iter().collect()
    }

    /// The first of `policies` that matches.
    #[must_use]
    pub fn of<'p>(policies: &'p [Self], target: &TargetId) -> Option<&'p Self> {
        policies.iter().find(|policy| policy.targets.iter().any(|targets| targets.matches(target)))
    }

    fn read(
        mut section: Section<'_>,
        is_last: bool,
        spool_bytes: Option<u64>,
    ) -> Result<Self, Reported> {
        let targets = section.full_list("targets", &kind::pattern());
        let policy = targets.items.first().map(|first| first.key.clone()).unwrap_or_default();
        for target in &targets.items {
            let (policy, targets) = (policy.clone(), target.value.clone());
            section.claim_item(target, Claim::Policy { policy, targets });
        }
        let ttl = read_ttl(&mut section);
        let when_full = section.maybe("when_full", &kind::choice(&WHEN_FULL, &[]));
        let max_bytes = section.maybe("max_bytes", &kind::size(MAX_BYTES));
        let priority =
            section.optional("priority", &kind::choice(&PRIORITY, &[]), Priority::Normal);
        if let (Ok(Some(most)), Some(all)) = (&max_bytes, spool_bytes)
            && *most > all
        {
            let all = size_in_words(all);
            let expected = format!("no more than `client.spool.max_bytes`, which is {all}");
            section.complain("max_bytes", Fault::Value { expected, found: size_in_words(*most) });
        }
        // Before others it exempts its targets from what they say.
        if is_last
            && !["ttl", "when_full", "max_bytes", "priority"].iter().any(|key| section.has(key))
        {
            let reason = "it says nothing about these targets, and no policy follows it";
            section.complain("targets", Fault::NoEffect { reason });
        }
        section.finish();
        Ok(Self {
            targets: targets.into_values()?,
            priority: priority?,
            ttl: ttl?,
            when_full: when_full?,
            max_bytes: max_bytes?,
        })
    }
}

/// For how long packets are worth sending.
pub(super) fn read_ttl(section: &mut Section<'_>) -> Result<Option<Duration>, Reported> {
    section.maybe("ttl", &kind::duration(TTL))
}
