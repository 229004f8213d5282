//! The accounts: what the processes themselves have counted, from their durable totals, compared
//! with each other and with the evidence (R8).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;

use super::evidence::Evidence;
use super::offence::{Kind, Offences};
use super::route::{End, ROUTES};
use crate::door::Door;
use crate::exit::{Code, Failure};

/// A process that lives answers at once, but the machine is busy.
const ANSWER: Duration = Duration::from_secs(10);

/// The name under which the server counts what no handler takes.
const UNKNOWN_TARGETS: &str = paquebot_actors::handler::DeadLetterUnknown::NAME;

/// What one client has counted for one target.
type Events = BTreeMap<String, u64>;

/// The totals of every process.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// By client and target: how many of each event.
    clients: BTreeMap<(String, String), Events>,
    /// By handler: handled and dead-lettered.
    handlers: BTreeMap<String, (u64, u64)>,
}

/// What a client says of itself.
#[derive(Debug)]
pub(super) struct Standing {
    /// Packets that wait.
    pub(super) pending: u64,
    /// The spool's name before, if it had to take a new one.
    pub(super) replaces: Option<String>,
    /// Everything, for people.
    pub(super) all: Value,
}

/// How a client stands.
pub(super) fn standing(door: &Door) -> Result<Standing, Failure> {
    let status: Value = serde_json::from_str(&get(door, "/v1/status")?)
        .map_err(Failure::of(Code::Internal, "a status"))?;
    let client = status.get("client").cloned().unwrap_or_default();
    let pending = client.get("pending_packets").and_then(Value::as_u64);
    let missing = || Failure::new(Code::Internal, format!("no pending packets in {status}"));
    Ok(Standing {
        pending: pending.ok_or_else(missing)?,
        replaces: client.get("replaces").and_then(Value::as_str).map(str::to_owned),
        all: client,
    })
}

impl Accounts {
    /// Asks one client.
    pub(super) fn ask_client(&mut self, client: &str, door: &Door) -> Result<(), Failure> {
        self.read_client(client, &get(door, "/metrics")?);
        Ok(())
    }

    fn read_client(&mut self, client: &str, metrics: &str) {
        for (name, labels, value) in samples(metrics) {
            let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
            let event = match name.as_str() {
                "paquebot_client_packets_total" => label("event"),
                "paquebot_client_backlog_packets" => "pending".to_owned(),
                _ => continue,
            };
            let key = (client.to_owned(), label("target"));
            self.clients.entry(key).or_default().insert(event, value);
        }
    }

    /// Asks the server.
    pub(super) fn ask_server(&mut self, door: &Door) -> Result<(), Failure> {
        self.read_server(&get(door, "/metrics")?);
        Ok(())
    }

    fn read_server(&mut self, metrics: &str) {
        for (name, labels, value) in samples(metrics) {
            if name != "paquebot_server_packets_total" {
                continue;
            }
            let (Some(handler), Some(outcome)) = (labels.get("handler"), labels.get("outcome"))
            else {
                continue;
            };
            let totals = self.handlers.entry(handler.clone()).or_default();
            match outcome.as_str() {
                "handled" => totals.0 = value,
                "dead_lettered" => totals.1 = value,
                _ => {}
            }
        }
    }

    /// How many packets handlers have handled, and how many became dead letters.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.handlers.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Whether everything adds up, once nothing is pending any more.
    pub(super) fn check(&self, evidence: &Evidence, offences: &mut Offences) {
        let mut by_route: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
        for ((client, target), events) in &self.clients {
            let of = |event: &str| events.get(event).copied().unwrap_or_default();
            let outcomes = ["handled", "dead_lettered", "expired", "evicted", "purged", "damaged"];
            let ended: u64 = outcomes.iter().map(|event| of(event)).sum();
            let what = format!("{client}, {target}: accepted, and ended or pending");
            equal(offences, &what, of("accepted"), ended + of("pending"));
            let other = ["expired", "evicted", "purged", "damaged"];
            let other: u64 = other.iter().map(|event| of(event)).sum();
            equal(offences, &format!("{client}, {target}: gone by no outcome"), other, 0);
            let route = target.split('.').next().unwrap_or_default();
            let sums = by_route.entry(route).or_default();
            sums.0 += of("accepted");
            sums.1 += of("handled");
            sums.2 += of("dead_lettered");
        }
        for route in ROUTES {
            let (accepted, handled, dead) = by_route.get(route.name).copied().unwrap_or_default();
            let handler = if route.end == End::Dead { UNKNOWN_TARGETS } else { route.name };
            let server = self.handlers.get(handler).copied().unwrap_or_default();
            let name = route.name;
            equal(offences, &format!("{name}: handled, by clients and server"), handled, server.0);
            equal(
                offences,
                &format!("{name}: dead letters, by clients and server"),
                dead,
                server.1,
            );
            let (stored, unknown) = posted(evidence, name);
            if accepted < stored || accepted > stored + unknown {
                offences.add(Kind::Unaccounted, || {
                    format!(
                        "{name}: {accepted} accepted by the clients, {stored} answered stored, \
                         {unknown} unknown"
                    )
                });
            }
        }
        self.compare(evidence, offences);
    }

    /// The server's totals are what is there.
    fn compare(&self, evidence: &Evidence, offences: &mut Offences) {
        let of = |handler: &str| self.handlers.get(handler).copied().unwrap_or_default();
        for route in ROUTES {
            let belongs = |target: &str| target.split('.').next() == Some(route.name);
            let there = match route.end {
                End::File => {
                    let file = evidence.files.iter().find(|(name, _)| *name == route.file());
                    file.map_or(0, |(_, lines)| lines.len())
                }
                End::Http => {
                    let visits = evidence.visits.iter();
                    let accepted = visits.filter(|visit| visit.accepted > 0);
                    accepted.filter(|visit| belongs(&visit.seen.target)).count()
                }
                End::Discard | End::Dead => continue,
            };
            let what = format!("{}: handled by the server, and there", route.name);
            equal(offences, &what, of(route.name).0, there as u64);
        }
        let dead = self.totals().1;
        equal(offences, "dead letters counted, and there", dead, evidence.dead.len() as u64);
    }
}

fn equal(offences: &mut Offences, what: &str, one: u64, other: u64) {
    if one != other {
        offences.add(Kind::Unaccounted, || format!("{what}: {one} and {other}"));
    }
}

/// How many packets to a route were answered "stored", and how many got no answer.
fn posted(evidence: &Evidence, route: &str) -> (u64, u64) {
    let belongs = |target: &str| target.split('.').next() == Some(route);
    let stored = evidence.stored.iter().filter(|stored| belongs(&stored.sent.target)).count();
    let unknown = evidence.unknown.iter().filter(|sent| belongs(&sent.target)).count();
    (stored as u64, unknown as u64)
}

type Sample = (String, BTreeMap<String, String>, u64);

/// The samples of an exposition; none of our labels has a quote or a comma in it.
fn samples(text: &str) -> impl Iterator<Item = Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
            let (key, value) = label.split_once('=')?;
            Some((key.to_owned(), value.trim_matches('"').to_owned()))
        });
        Some((name.to_owned(), labels.collect(), value.parse::<f64>().ok()? as u64))
    })
}

fn get(door: &Door, path: &str) -> Result<String, Failure> {
    let request = Request::get(path).header("host", "torture").body(Full::new(Bytes::new()));
    let request = request.map_err(Failure::of(Code::Internal, "asking"))?;
    let answer = door.ask(request, ANSWER)?;
    if !answer.status.is_success() {
        return Err(Failure::new(Code::Unavailable, format!("{door}: {}", answer.status)));
    }
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Accounts, Evidence, Offences};
    use crate::torture::evidence::Seen;

    const CLIENT: &str = "\
# TYPE paquebot_client_packets_total counter
paquebot_client_packets_total{event=\"accepted\",target=\"orders.0\"} 3
paquebot_client_packets_total{event=\"handled\",target=\"orders.0\"} 2
paquebot_client_packets_total{event=\"dead_lettered\",target=\"orders.0\"} 0
paquebot_client_backlog_packets{target=\"orders.0\"} 1
";

    const SERVER: &str =
        "paquebot_server_packets_total{handler=\"orders\",outcome=\"handled\"} 2\n";

    /// How much is wrong with these metrics, when three packets got no answer and two came out.
    fn offences(client: &str, server: &str) -> Vec<String> {
        let mut accounts = Accounts::default();
        accounts.read_client("client-1", client);
        accounts.read_server(server);
        let (client, target) = ("client-1".into(), "orders.0".into());
        let seen = |number| Seen { id: format!("{number}"), number, ..Seen::default() };
        let unanswered = super::super::evidence::Sent {
            client,
            target,
            end: super::End::File,
            digest: 0,
            bytes: 0,
            writer: 0,
            sequence: 1,
        };
        let evidence = Evidence {
            unknown: vec![unanswered; 3],
            files: vec![("orders.ndjson".to_owned(), vec![seen(1), seen(2)])],
            ..Evidence::default()
        };
        let mut offences = Offences::default();
        accounts.check(&evidence, &mut offences);
        offences.told().collect()
    }

    #[test]
    fn accounts_that_add_up_are_clean() {
        assert_eq!(offences(CLIENT, SERVER), Vec::<String>::new());
    }

    #[test]
    fn accounts_that_do_not_add_up_are_found() {
        let gone = CLIENT.replace("backlog_packets{target=\"orders.0\"} 1", "backlog_packets 0");
        assert_eq!(offences(&gone, SERVER).len(), 1, "accepted without an outcome");
        let expired = CLIENT.replace("dead_lettered", "expired").replace("} 0", "} 1");
        assert_eq!(offences(&expired, SERVER).len(), 2, "gone without having been handled");
        let more = SERVER.replace("} 2", "} 3");
        assert_eq!(offences(CLIENT, &more).len(), 2, "the server has handled another number");
        let many = CLIENT
            .replace("accepted\",target=\"orders.0\"} 3", "accepted\",target=\"orders.0\"} 4");
        assert_eq!(offences(&many, SERVER).len(), 2, "more accepted than posted");
    }
}
