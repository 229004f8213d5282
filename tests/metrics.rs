//! Metrics: the page that describes them, the public interface and what running processes export are one
//! and the same; counters are there from the start and go on over restarts; a full spool and the fleet
//! are seen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

#[path = "metrics/fleet.rs"]
mod fleet;
#[path = "metrics/full.rs"]
mod full;
#[path = "metrics/names.rs"]
mod names;
#[path = "metrics/restarts.rs"]
mod restarts;

use common::{Broker, http};

/// One sample of a client, by its exact name and labels.
fn of_client(broker: &Broker, series: &str) -> f64 {
    broker.metric(broker.client_admin_port, series).unwrap_or_else(|| panic!("no {series}"))
}

/// One sample of a server.
fn of_server(broker: &Broker, series: &str) -> f64 {
    broker.metric(broker.server_admin_port, series).unwrap_or_else(|| panic!("no {series}"))
}

/// Every sample of a process's counters: name and labels with the value.
fn counters(admin_port: u16) -> Vec<(String, f64)> {
    let text = http::get(admin_port, "/metrics").text();
    let samples = text.lines().filter(|line| line.contains("_total"));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect()
}
