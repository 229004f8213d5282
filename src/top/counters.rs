//! The counters that `top` makes rates of, read from the text of `/metrics`.
//!
//! What is read is what this program's own exporter writes, a sample a line; the crates that parse all of
//! the format bring a regex engine and a calendar along for it.

use std::collections::BTreeMap;

/// Totals of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Of the client, over all targets.
    pub client: Flow,
    /// Of each handler, by its name.
    pub handlers: BTreeMap<String, Work>,
}

/// What became of a client's packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// Since the spool was made.
    pub accepted: u64,
    /// Since the spool was made, each for the first time.
    pub sent: u64,
    /// Since the spool was made, once more.
    pub resent: u64,
    /// Since the spool was made.
    pub handled: u64,
}

/// What a handler did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Since the ledger was made.
    pub handled: u64,
    /// Since the ledger was made.
    pub retried: u64,
}

impl Counters {
    /// Reads the text of `/metrics`; what it does not know, it passes over.
    #[must_use]
    pub(super) fn read(text: &str) -> Self {
        let mut counters = Self::default();
        for (name, labels, value) in text.lines().filter_map(sample) {
            let label = |key: &str| labels.get(key).map_or("", String::as_str);
            match name {
                "paquebot_client_packets_total" => {
                    let flow = &mut counters.client;
                    match label("event") {
                        "accepted" => flow.accepted += value,
                        "sent" => flow.sent += value,
                        "resent" => flow.resent += value,
                        "handled" => flow.handled += value,
                        _ => {}
                    }
                }
                "paquebot_server_packets_total" => {
                    let work = counters.handlers.entry(label("handler").to_owned()).or_default();
                    match label("outcome") {
                        "handled" => work.handled += value,
                        "retried" => work.retried += value,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        counters
    }
}

/// `name{key="value",…} 12`
fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, u64)> {
    if line.starts_with('#') {
        return None;
    }
    let (name, mut rest) = line.split_once('{')?;
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (key, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.insert(key.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let value = rest.strip_prefix('}')?.trim().parse().ok()?;
    Some((name, labels, value))
}

/// The text up to the closing quote, and what follows that. A target may hold quotes and braces.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_added_up_whatever_their_names_hold() {
        let text = r#"
# TYPE paquebot_client_packets_total counter
paquebot_client_packets_total{event="accepted",target="orders.a"} 40
paquebot_client_packets_total{event="accepted",target="odd.\"},event=\"sent\\"} 2
paquebot_client_packets_total{event="resent",target="orders.a"} 1
paquebot_server_packets_total{handler="all",outcome="handled"} 7
paquebot_server_packets_total{handler="all",outcome="retried"} 3
paquebot_server_clients 1
paquebot_commit_seconds_bucket{store="spool",le="+Inf"} 9
torn{event="accepted
"#;
        let read = Counters::read(text);
        assert_eq!(read.client, Flow { accepted: 42, sent: 0, resent: 1, handled: 0 });
        let all = [("all".to_owned(), Work { handled: 7, retried: 3 })];
        assert_eq!(read.handlers, all.into());
    }
}
