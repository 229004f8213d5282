//! Recipes: how the events of a source become packets, as its config says.
//!
//! Decides which events become packets, to whom they go, and what stands beside their data. What goes
//! wrong with one is counted, and logged once a minute with the event's place.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use paquebot_protocol::{Meta, TargetId};

use super::condition::Condition;
use super::event::Event;
use super::outlet::Outlet;
use super::template::Template;
use crate::clock;
use crate::meters::SourceMeters;

/// What goes wrong with one event goes wrong with many: one line in so long.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Headers and content type of one packet together, in bytes.
pub(super) const META_BYTES_MAX: usize = 16 * 1024;

/// How a source makes packets.
#[derive(Debug)]
pub struct Recipe {
    /// The source's name.
    pub source: String,
    /// Which events become packets; all of them, without it.
    pub when: Option<Condition>,
    /// Whom they are addressed to.
    pub target: Template,
    /// What their headers say.
    pub headers: Vec<(String, Template)>,
    /// What kind of data they have.
    pub content_type: Option<Template>,
    /// For how long they are worth sending; without it what the target's policy says.
    pub ttl: Option<Duration>,
    /// What becomes of an event for which `when` fails.
    pub on_error: OnError,
    /// Whom a packet is addressed to for which a template fails.
    pub target_on_error: TargetId,
}

/// What becomes of an event for which `when` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It becomes a packet: rather one too many than one lost.
    #[default]
    Send,
    /// It becomes none.
    Drop,
}

/// What stands beside the data of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) target: TargetId,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content_type: Option<String>,
    pub(super) ttl: Option<Duration>,
}

/// A recipe at work.
#[derive(Debug)]
pub(super) struct Kitchen {
    recipe: Recipe,
    pub(super) meters: SourceMeters,
    complained: Mutex<Option<Instant>>,
}

impl Draft {
    /// As a packet has it that is worth sending for so long.
    pub(super) fn meta(&self, ttl: Option<Duration>) -> Meta<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Meta {
            content_type: self.content_type.as_deref(),
            headers: headers.collect(),
            traceparent: None,
            ttl_ms: ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// How many bytes that takes.
    pub(super) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        headers.sum::<usize>() + self.content_type.as_ref().map_or(0, String::len)
    }
}

impl Kitchen {
    pub(super) fn new(recipe: Recipe, outlet: &Outlet) -> Self {
        let meters = outlet.meters_of(&recipe.source);
        Self { recipe, meters, complained: Mutex::new(None) }
    }

    /// The source's name.
    pub(super) fn source(&self) -> &str {
        &self.recipe.source
    }

    /// What becomes of an event; nothing when it is none of those that become packets.
    pub(super) fn make(&self, event: &impl Event) -> Option<Draft> {
        if !self.is_wanted(event) {
            self.meters.filtered();
            return None;
        }
        match self.draft(event) {
            Ok(draft) => Some(draft),
            Err(why) => {
                self.complain(event, &why);
                let target = self.recipe.target_on_error.clone();
                let (headers, content_type) = (Vec::new(), None);
                Some(Draft { target, headers, content_type, ttl: self.recipe.ttl })
            }
        }
    }

    fn is_wanted(&self, event: &impl Event) -> bool {
        let Some(when) = &self.recipe.when else { return true };
        when.holds(event).unwrap_or_else(|why| {
            self.complain(event, &format!("`when`: {why}"));
            self.recipe.on_error == OnError::Send
        })
    }

    fn draft(&self, event: &impl Event) -> Result<Draft, String> {
        let named = |name: &str, template: &Template| {
            template.fill(event).map_err(|why| format!("`{name}`: {why}"))
        };
        let target = named("target", &self.recipe.target)?;
        let target: TargetId = target.parse().map_err(|error| format!("`target`: {error}"))?;
        if target.is_reserved() {
            return Err(format!("`target`: expected no '$' at the start, found {target}"));
        }
        let headers = self.recipe.headers.iter();
        let headers = headers.map(|(name, value)| Ok((name.clone(), named(name, value)?)));
        let content_type = self.recipe.content_type.as_ref();
        let draft = Draft {
            target,
            headers: headers.collect::<Result<_, String>>()?,
            content_type: content_type.map(|kind| named("content_type", kind)).transpose()?,
            ttl: self.recipe.ttl,
        };
        if draft.bytes() > META_BYTES_MAX {
            let found = draft.bytes();
            return Err(format!(
                "expected at most {META_BYTES_MAX} bytes of headers, found {found}"
            ));
        }
        Ok(draft)
    }

    /// Something is wrong with an event.
    pub(super) fn complain(&self, event: &impl Event, why: &str) {
        self.meters.error();
        let mut last = self.complained.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = clock::instant();
        if last.is_none_or(|last| now.duration_since(last) >= COMPLAIN_EVERY) {
            *last = Some(now);
            let (source, place) = (self.source(), event.place());
            tracing::warn!(source, place, "event: {why}; more of this kind is counted only");
        }
    }
}
