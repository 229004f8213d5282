//! Names, types and labels: as the page says, as the interface promises, as they are exported.

use std::collections::{BTreeMap, BTreeSet};

use super::common::{Broker, http, until};

/// The table of metrics in the public interface: names, type and labels. Its last but one is certificates'
/// expiry, which comes with TLS.
const INTERFACE: &[(&str, &str, &[&str])] = &[
    ("paquebot_client_packets_total", "counter", &["event", "target"]),
    ("paquebot_client_backlog_packets", "gauge", &["target"]),
    ("paquebot_client_backlog_bytes", "gauge", &["target"]),
    ("paquebot_client_oldest_packet_age_seconds", "gauge", &["target"]),
    ("paquebot_client_connected", "gauge", &["server"]),
    ("paquebot_client_spool_file_bytes", "gauge", &[]),
    ("paquebot_client_spool_max_bytes", "gauge", &[]),
    ("paquebot_client_spool_seconds_left", "gauge", &[]),
    ("paquebot_source_events_total", "counter", &["outcome", "source"]),
    ("paquebot_commit_seconds", "histogram", &["store"]),
    ("paquebot_commit_packets", "histogram", &["store"]),
    ("paquebot_server_clients", "gauge", &[]),
    ("paquebot_server_packets_total", "counter", &["handler", "outcome"]),
    ("paquebot_server_duplicates_total", "counter", &[]),
    ("paquebot_server_refused_total", "counter", &["reason"]),
    ("paquebot_server_dead_letters", "gauge", &["handler"]),
    ("paquebot_server_dead_letters_bytes", "gauge", &["handler"]),
    ("paquebot_handler_state", "gauge", &["handler", "state"]),
    ("paquebot_handle_seconds", "histogram", &["handler"]),
    ("paquebot_delivery_seconds", "histogram", &["handler"]),
    ("paquebot_server_client_backlog_packets", "gauge", &["client"]),
    ("paquebot_server_client_oldest_packet_age_seconds", "gauge", &["client"]),
    ("paquebot_server_client_last_seen_seconds", "gauge", &["client"]),
    ("paquebot_server_client_clock_skew_seconds", "gauge", &["client"]),
    ("paquebot_build_info", "gauge", &["commit", "version"]),
];

/// What this version has beyond the interface.
const BEYOND: &[&str] = &["paquebot_client_spool_fill_ratio"];

type Known = BTreeMap<String, (String, BTreeSet<String>)>;

/// What the page says: rows of names, type, unit, labels.
fn described() -> Known {
    let page = include_str!("../../docs/metrics.md");
    let mut known = Known::new();
    for line in page.lines().filter(|line| line.starts_with("| `paquebot_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let bare = |cell: &str| cell.replace('`', "");
        let labels = bare(cells[3]);
        let labels = labels.split(',').map(|label| label.trim().to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        assert!(!cells[2].is_empty() && !cells[4].is_empty(), "a unit and a meaning: {line}");
        let before = known.insert(bare(cells[0]), (cells[1].to_owned(), labels));
        assert!(before.is_none(), "twice: {line}");
    }
    known
}

/// What a process exports.
fn exported(admin_port: u16, known: &mut Known) {
    let text = http::get(admin_port, "/metrics").text();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|t| t.split_once(' ')) {
            known.entry(name.to_owned()).or_default().0 = kind.to_owned();
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
            let name = name.strip_suffix(part)?;
            known.contains_key(name).then(|| name.to_owned())
        });
        let entry = known.get_mut(&of_histogram.unwrap_or_else(|| name.to_owned()));
        let entry = entry.unwrap_or_else(|| panic!("no type: {line}"));
        let keys = labels.split("\",").filter_map(|label| label.split_once('='));
        entry.1.extend(keys.map(|(key, _)| key.to_owned()).filter(|key| key != "le"));
    }
}

#[test]
fn the_page_the_interface_and_the_processes_say_the_same() {
    let handlers = "[[server.handler]]\nname = \"all\"\ntargets = [\"a.*\"]\nkind = \"file\"\n\
                    path = \"out.ndjson\"\n";
    let mut broker = Broker::new(handlers);
    broker.start_server();
    broker.start_client();
    // One that is handled, and one that becomes a dead letter.
    assert_eq!(broker.post("a.1", "x").status, 202);
    assert_eq!(broker.post("nobody", "x").status, 202);
    broker.drain();
    let told = "paquebot_server_client_backlog_packets{client=\"till-1\"}";
    until("the client has told", || broker.metric(broker.server_admin_port, told).is_some());
    let mut found = Known::new();
    exported(broker.client_admin_port, &mut found);
    exported(broker.server_admin_port, &mut found);
    let described = described();
    assert_eq!(found, described, "left: what is exported, right: docs/metrics.md");
    let promised = INTERFACE.iter().map(|(name, kind, labels)| {
        let labels = labels.iter().map(ToString::to_string).collect();
        ((*name).to_owned(), ((*kind).to_owned(), labels))
    });
    let promised: Known = promised.collect();
    let beyond = |name: &String| BEYOND.contains(&name.as_str());
    let of_interface: Known = described.into_iter().filter(|(name, _)| !beyond(name)).collect();
    assert_eq!(of_interface, promised, "left: docs/metrics.md, right: the interface");
}

#[test]
fn what_is_known_beforehand_is_there_at_0_from_the_start() {
    let mut broker = Broker::new(super::common::ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let server = http::get(broker.server_admin_port, "/metrics").text();
    for reason in [
        "busy",
        "connections",
        "frame",
        "no-hello",
        "noise",
        "rekey",
        "retired-lane",
        "silent",
        "slow-frame",
        "slow-reader",
        "spools",
        "superseded",
        "too-large",
        "version",
        "violation",
    ] {
        let line = format!("paquebot_server_refused_total{{reason=\"{reason}\"}} 0\n");
        assert!(server.contains(&line), "no {line}");
        assert!(include_str!("../../docs/metrics.md").contains(&format!("`{reason}`")), "{reason}");
    }
    for outcome in ["handled", "retried", "rejected", "dead_lettered"] {
        let labels = format!("handler=\"all\",outcome=\"{outcome}\"");
        assert!(
            server.contains(&format!("paquebot_server_packets_total{{{labels}}} 0\n")),
            "{labels}"
        );
    }
    assert!(server.contains("paquebot_server_duplicates_total 0\n"));
    assert!(server.contains("paquebot_delivery_seconds_count{handler=\"all\"} 0\n"));
    let client = http::get(broker.client_admin_port, "/metrics").text();
    for outcome in ["sent", "filtered", "error"] {
        let labels = format!("source=\"local\",outcome=\"{outcome}\"");
        assert!(
            client.contains(&format!("paquebot_source_events_total{{{labels}}} 0\n")),
            "{labels}"
        );
    }
    for event in [
        "accepted",
        "stored",
        "sent",
        "resent",
        "handled",
        "dead_lettered",
        "expired",
        "evicted",
        "purged",
        "damaged",
        "rejected",
    ] {
        let labels = format!("event=\"{event}\",target=\"_other\"");
        assert!(
            client.contains(&format!("paquebot_client_packets_total{{{labels}}} 0\n")),
            "{labels}"
        );
    }
}
