//! What sources count: kept in the spool, and shown as it stands there.

use metrics::counter;
use paquebot_store::{Count, Counts};

/// What stands before a source's name in the name of its counts.
const SOURCE: &str = "source/";

/// The outcomes of an event.
const OUTCOMES: [&str; 3] = ["sent", "filtered", "error"];

/// What a source counts.
#[derive(Debug, Clone)]
pub struct SourceMeters {
    sent: Count,
    filtered: Count,
    error: Count,
}

impl SourceMeters {
    /// The meters of one source, which go on from what the spool has kept.
    #[must_use]
    pub fn new(source: &str, counts: &Counts) -> Self {
        let [sent, filtered, error] =
            OUTCOMES.map(|outcome| counts.of(&format!("{SOURCE}{outcome}/{source}")));
        Self { sent, filtered, error }
    }

    /// Counts the packets that events became, in the commit that stores them.
    #[must_use]
    pub(crate) fn sent(&self) -> Count {
        self.sent.clone()
    }

    /// An event was none of those that become packets.
    pub fn filtered(&self) {
        self.filtered.add(1);
    }

    /// Something was wrong with an event.
    pub fn error(&self) {
        self.error.add(1);
    }

    /// Shows what all sources have counted.
    pub(super) fn show(counts: &[(String, u64)]) {
        for (name, kept) in counts {
            let named = name.strip_prefix(SOURCE).and_then(|name| name.split_once('/'));
            let Some((outcome, source)) = named else { continue };
            let (source, outcome) = (source.to_owned(), outcome.to_owned());
            counter!("paquebot_source_events_total", "source" => source, "outcome" => outcome)
                .absolute(*kept);
        }
    }
}
