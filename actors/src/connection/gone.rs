//! What is said of packets that are declared gone: a line at once, and then one a minute with how many,
//! for a spool that evicts does so with every packet that comes.

use std::collections::HashMap;

use paquebot_protocol::frame::SkipReason;
use paquebot_store::Tombstone;

use crate::seldom::Seldom;

/// What was declared gone, by why.
#[derive(Debug, Default)]
pub(super) struct Gone(HashMap<SkipReason, Unsaid>);

#[derive(Debug, Default)]
struct Unsaid {
    packets: u64,
    target: String,
    said: Seldom,
}

impl Gone {
    /// Packets to a target are declared gone.
    pub(super) fn note(&mut self, target: &str, packets: u64, last_of_all: &Tombstone) {
        let Tombstone { first, last, reason, .. } = *last_of_all;
        let unsaid = self.0.entry(reason).or_default();
        if unsaid.said.is_due() {
            let before = std::mem::take(&mut unsaid.packets);
            tracing::warn!(target, packets, %first, %last, ?reason, before,
                "packets will not be sent: they are declared gone");
        } else {
            unsaid.packets += packets;
            target.clone_into(&mut unsaid.target);
        }
    }

    /// Says what was only counted, when it is time.
    pub(super) fn say_rest(&mut self) {
        for (reason, unsaid) in &mut self.0 {
            if unsaid.packets > 0 && unsaid.said.is_due() {
                let packets = std::mem::take(&mut unsaid.packets);
                tracing::warn!(
                    packets,
                    ?reason,
                    last_target = unsaid.target,
                    "more packets will not be sent: they were declared gone in the last minute"
                );
            }
        }
    }
}
