//! A client's directory that goes back in time, or is gone: the spool takes a new name, or is a new
//! one; both sides say so, and nothing that is stored is lost (R7).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{ALL_TO_FILE, Broker};

/// What both sides say when a spool takes a new name.
const NEW_NAME: &str = "the spool takes a new name";
const IN_PLACE: &str = "this spool takes the place of one that is on record";

/// A client and a server that are running.
fn running() -> Broker {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    broker
}

fn post(broker: &Broker, data: &str) {
    assert_eq!(broker.post("a", data).status, 202);
}

/// How often each packet was handled.
fn handled(broker: &Broker) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for data in broker.handled("out.ndjson").remove("a").unwrap_or_default() {
        *times.entry(data).or_default() += 1;
    }
    times
}

fn times<const N: usize>(data: [(&str, usize); N]) -> BTreeMap<String, usize> {
    data.into_iter().map(|(data, times)| (data.to_owned(), times)).collect()
}

#[test]
fn a_restored_spool_that_stored_other_packets_is_renamed_and_loses_nothing() {
    let mut broker = running();
    post(&broker, "before the backup");
    broker.drain();
    broker.kill_client();
    broker.back_up("client", "backup");
    broker.start_client();
    post(&broker, "after the backup");
    broker.drain();
    let spool = broker.spool();
    broker.kill_client();
    broker.restore("client", "backup");

    // The ledger has seen number 2; the restored spool is about to use it for another packet. Before it
    // has met its server it cannot know, and would use the id, too.
    broker.start_client();
    broker.client_says(NEW_NAME);
    post(&broker, "after the restore");
    broker.drain();
    let once = [("before the backup", 1), ("after the backup", 1), ("after the restore", 1)];
    assert_eq!(handled(&broker), times(once));
    broker.server_says(IN_PLACE);
    let lines = broker.lines("out.ndjson");
    let id = |at: usize| lines[at]["id"].as_str().unwrap();
    assert_eq!((&id(1)[..32], &id(1)[32..]), (spool.as_str(), "-1-2"));
    assert_ne!(id(2), id(1), "an id is never used twice");
}

#[test]
fn a_restored_spool_whose_openings_have_overtaken_is_found_out_by_its_history() {
    let mut broker = running();
    post(&broker, "before the backup");
    broker.drain();
    broker.stop_client();
    broker.back_up("client", "backup");
    broker.start_client();
    post(&broker, "after the backup");
    broker.drain();
    broker.stop_client();
    broker.restore("client", "backup");
    broker.stop_server();
    // It is opened more often than the ledger knows of, so that only the chain can tell.
    for opening in 0..3 {
        broker.start_client();
        post(&broker, &format!("after the restore {opening}"));
        broker.stop_client();
    }
    assert!(!broker.client_log().contains(NEW_NAME));
    broker.start_server();
    broker.start_client();
    broker.drain();
    broker.client_says("the ledger's history of a lane is not this spool's");
    broker.client_says(NEW_NAME);
    broker.server_says(IN_PLACE);
    let mut all: Vec<_> = handled(&broker).into_keys().collect();
    all.retain(|data| data.starts_with("after the restore"));
    assert_eq!(all.len(), 3);
}

#[test]
fn a_restored_spool_that_has_stored_nothing_since_repeats_what_it_held_and_says_so() {
    let mut broker = running();
    post(&broker, "handled before the backup");
    broker.drain();
    broker.stop_server();
    post(&broker, "held at the backup");
    broker.stop_client();
    broker.back_up("client", "backup");
    broker.start_server();
    broker.start_client();
    broker.drain();
    broker.stop_client();
    broker.restore("client", "backup");
    broker.start_client();
    broker.drain();
    broker.client_says(NEW_NAME);
    broker.client_says("packets may be handled twice, none is lost");
    broker.server_says(IN_PLACE);
    let expected = [("handled before the backup", 1), ("held at the backup", 2)];
    assert_eq!(handled(&broker), times(expected));
    // Whoever takes the packets can tell: the id that they were born with comes twice.
    let lines = broker.lines("out.ndjson");
    assert_eq!(lines[1]["id"], lines[2]["id"]);
    post(&broker, "after the restore");
    broker.drain();
    assert_eq!(handled(&broker)["after the restore"], 1);
}

#[test]
fn a_restored_spool_that_held_nothing_takes_a_new_name_and_repeats_nothing() {
    let mut broker = running();
    post(&broker, "before the backup");
    broker.drain();
    broker.stop_client();
    broker.back_up("client", "backup");
    broker.start_client();
    post(&broker, "after the backup");
    broker.drain();
    broker.stop_client();
    broker.restore("client", "backup");
    broker.start_client();
    broker.client_says(NEW_NAME);
    broker.server_says(IN_PLACE);
    post(&broker, "after the restore");
    broker.drain();
    let once = [("before the backup", 1), ("after the backup", 1), ("after the restore", 1)];
    assert_eq!(handled(&broker), times(once));
}

#[test]
fn a_client_whose_directory_was_removed_has_a_new_spool_and_goes_on() {
    let mut broker = running();
    post(&broker, "handled");
    broker.drain();
    let spool = broker.spool();
    broker.stop_server();
    post(&broker, "not sent");
    broker.stop_client();
    fs::remove_dir_all(broker.path("client")).unwrap();
    broker.start_server();
    broker.start_client();
    post(&broker, "from the new spool");
    broker.drain();
    assert_ne!(broker.spool(), spool);
    assert_eq!(handled(&broker), times([("handled", 1), ("from the new spool", 1)]));
    let told = "a new spool was made, because there was none";
    assert_eq!(broker.client_log().matches(told).count(), 2, "{}", broker.client_log());
    let told = "this ledger has not seen this spool before";
    assert_eq!(broker.server_log().matches(told).count(), 2, "{}", broker.server_log());
    assert!(!broker.client_log().contains(NEW_NAME), "nothing was copied or restored");
}
