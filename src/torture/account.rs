//! The accounts: what the processes themselves have counted, from their durable totals, compared
//! with each other and with the evidence (R8).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::evidence::Evidence;
use super::offence::{Kind, Offences};
use super::route::{End, Keep, ROUTES};
use crate::door::Door;
use crate::exit::{Code, Failure};

/// A process that lives answers at once, but the machine is busy.
const ANSWER: Duration = Duration::from_secs(10);

/// The name under which the server counts what no handler takes.
const UNKNOWN_TARGETS: &str = paquebot_actors::handler::DeadLetterUnknown::NAME;

/// What one client has counted for one target.
type Events = BTreeMap<String, u64>;

/// What clients have counted, summed up.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    accepted: u64,
    handled: u64,
    dead: u64,
}

impl Sums {
    fn add(&mut self, more: Self) {
        self.accepted += more.accepted;
        self.handled += more.handled;
        self.dead += more.dead;
    }
}

/// The totals of every process.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// By client and target: how many of each event.
    clients: BTreeMap<(String, String), Events>,
    /// Lanes that clients have ended.
    pub(super) lanes_retired: u64,
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
    /// Lanes that have ended in the life of its spool.
    pub(super) lanes_retired: u64,
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
        lanes_retired: client.get("lanes_retired").and_then(Value::as_u64).unwrap_or_default(),
        all: client,
    })
}

impl Accounts {
    /// Asks one client.
    pub(super) fn ask_client(&mut self, client: &str, door: &Door) -> Result<(), Failure> {
        self.read_client(client, &get(door, "/metrics")?);
        self.lanes_retired += standing(door)?.lanes_retired;
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

    /// How many packets clients have counted with one event.
    pub(super) fn of_clients(&self, event: &str) -> u64 {
        self.clients.values().filter_map(|events| events.get(event)).sum()
    }

    /// How many packets handlers have handled, and how many became dead letters.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.handlers.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Whether everything adds up, once nothing is pending any more.
    pub(super) fn check(&self, evidence: &Evidence, offences: &mut Offences) {
        let mut by_route: BTreeMap<&str, Sums> = BTreeMap::new();
        for ((client, target), events) in &self.clients {
            let of = |event: &str| events.get(event).copied().unwrap_or_default();
            let outcomes = ["handled", "dead_lettered", "expired", "evicted", "purged", "damaged"];
            let ended: u64 = outcomes.iter().map(|event| of(event)).sum();
            let what = format!("{client}, {target}: accepted, and ended or pending");
            equal(offences, &what, of("accepted"), ended + of("pending"));
            let route = target.split('.').next().unwrap_or_default();
            let keep = ROUTES.iter().find(|it| it.name == route).map(|route| route.keep);
            let other = ["expired", "evicted", "purged", "damaged"];
            let other = other.iter().filter(|event| !may_be_gone(keep, event));
            let other: u64 = other.map(|event| of(event)).sum();
            equal(offences, &format!("{client}, {target}: gone by no outcome"), other, 0);
            by_route.entry(route).or_default().add(Sums {
                accepted: of("accepted"),
                handled: of("handled"),
                dead: of("dead_lettered"),
            });
        }
        // What retired lanes counted has no target any more after a restart, so only the sums over
        // all routes are equal.
        let mut all = Sums::default();
        for sums in by_route.values() {
            all.add(*sums);
        }
        for route in ROUTES {
            let name = route.name;
            let clients = by_route.get(name).copied().unwrap_or_default();
            let handler = if route.end == End::Dead { UNKNOWN_TARGETS } else { name };
            let (handled, _) = self.handlers.get(handler).copied().unwrap_or_default();
            if clients.handled > handled {
                offences.add(Kind::Unaccounted, || {
                    format!(
                        "{name}: {} handled by clients, {handled} by the server",
                        clients.handled
                    )
                });
            }
        }
        let (handled, dead) = self.totals();
        equal(offences, "handled, by clients and server", all.handled, handled);
        equal(offences, "dead letters, by clients and server", all.dead, dead);
        let (stored, unknown) = (evidence.stored.len() as u64, evidence.unknown.len() as u64);
        if all.accepted < stored || all.accepted > stored + unknown {
            offences.add(Kind::Unaccounted, || {
                format!(
                    "{} accepted by the clients, {stored} answered stored, {unknown} unknown",
                    all.accepted
                )
            });
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

/// Whether a client may have ended packets of such a route by such an event.
fn may_be_gone(keep: Option<Keep>, event: &str) -> bool {
    match keep {
        Some(Keep::Always) => false,
        Some(Keep::Briefly) => event == "expired",
        Some(Keep::Latest) => event == "evicted",
        // Lanes that were retired before a restart, of all routes.
        None => event == "expired" || event == "evicted",
    }
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
    let answer = door.get(path, ANSWER)?;
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
