//! Every metric that the actors count, described once; names and labels are INTERFACE.md's.
//!
//! Totals that stores keep are shown as they stand there, so that no restart makes a counter go back. For
//! all others handles are kept, so that nothing is looked up by name for a packet. docs/metrics.md lists
//! them all for people.

mod client;
mod delivery;
mod server;
mod source;

use std::time::Duration;

use metrics::{Histogram, Unit, describe_counter, describe_gauge, describe_histogram, histogram};

pub use client::ClientMeters;
pub use delivery::{DELIVERY_SECONDS, Delivery};
pub(crate) use server::HANDLER;
pub use server::{ServerMeters, SessionMeters};
pub use source::SourceMeters;

/// What goes beyond a limit of labels is counted under this name.
const OTHER: &str = "_other";

/// Gives every metric its help text and unit.
pub fn describe() {
    describe_client();
    describe_server();
    describe_counter!("paquebot_source_events_total", "events by source and outcome");
    describe_histogram!("paquebot_commit_seconds", Unit::Seconds, "time of a durable commit");
    describe_histogram!("paquebot_commit_packets", "packets of a commit");
    describe_gauge!("paquebot_build_info", "1, with the version and the commit of the program");
}

fn describe_client() {
    let events = "packets by event and target, from durable totals where the event has one";
    describe_counter!("paquebot_client_packets_total", events);
    describe_gauge!("paquebot_client_backlog_packets", "packets stored and not yet acknowledged");
    describe_gauge!("paquebot_client_backlog_bytes", Unit::Bytes, "their size");
    let oldest = "for how long the oldest waiting packet is stored; 0 when none waits";
    describe_gauge!("paquebot_client_oldest_packet_age_seconds", Unit::Seconds, oldest);
    describe_gauge!("paquebot_client_connected", "1 while the server has said welcome");
    describe_gauge!("paquebot_client_spool_file_bytes", Unit::Bytes, "real size of the spool");
    describe_gauge!("paquebot_client_spool_max_bytes", Unit::Bytes, "its limit");
    let fill = "what is held of what fits, with packets as they came lately: 1 is full";
    describe_gauge!("paquebot_client_spool_fill_ratio", fill);
    let left = "when the spool is full at the rate of the last minute; +Inf when it does not fill";
    describe_gauge!("paquebot_client_spool_seconds_left", Unit::Seconds, left);
}

fn describe_server() {
    describe_gauge!("paquebot_server_clients", "clients connected");
    describe_counter!("paquebot_server_packets_total", "packets by handler and outcome");
    describe_counter!("paquebot_server_duplicates_total", "packets that came again");
    describe_counter!(
        "paquebot_server_refused_total",
        "connections refused or broken off, and runs with packets that are too large"
    );
    describe_gauge!("paquebot_server_dead_letters", "dead letters by handler");
    describe_gauge!("paquebot_server_dead_letters_bytes", Unit::Bytes, "their size");
    describe_gauge!("paquebot_handler_state", "1 for the state that the handler is in");
    describe_histogram!("paquebot_handle_seconds", Unit::Seconds, "time of one handling");
    let backlog = "packets that wait at the client, as it told last";
    describe_gauge!("paquebot_server_client_backlog_packets", backlog);
    let oldest = "for how long the oldest of them waits";
    describe_gauge!("paquebot_server_client_oldest_packet_age_seconds", Unit::Seconds, oldest);
    let seen = "how long ago the client was connected; 0 while it is";
    describe_gauge!("paquebot_server_client_last_seen_seconds", Unit::Seconds, seen);
    let skew = "by how much the client's clock is ahead of the server's";
    describe_gauge!("paquebot_server_client_clock_skew_seconds", Unit::Seconds, skew);
}

/// What a store's commits count.
#[derive(Debug, Clone)]
pub struct CommitMeters {
    seconds: Histogram,
    packets: Histogram,
}

impl CommitMeters {
    /// The meters of `spool` or `ledger`.
    #[must_use]
    pub fn new(store: &'static str) -> Self {
        Self {
            seconds: histogram!("paquebot_commit_seconds", "store" => store),
            packets: histogram!("paquebot_commit_packets", "store" => store),
        }
    }

    /// One commit took this long for so many packets.
    pub fn committed(&self, took: Duration, packets: u64) {
        self.seconds.record(took);
        self.packets.record(packets as f64);
    }
}
