//! `[client]`: where packets come from, how they are kept, and where they are sent.
//!
//! Decides defaults and limits of the client's side. Never opens the spool or a socket.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use paquebot_protocol::ClientId;

use super::address::Address;
use super::claim::Claim;
use super::duration::duration_in_words;
use super::kind;
use super::loading::Reported;
use super::packet::{PACKET_BYTES, PACKET_BYTES_DEFAULT};
use super::policy::Policy;
use super::problem::Fault;
use super::retry::{GivingUp, RetryPolicy};
use super::section::Section;
use super::source::Source;
use super::spool::Spool;

/// The door for commands: a Unix socket of this name in each `data_dir`.
pub const ADMIN_SOCKET: &str = "admin.sock";

const PING_DEFAULT: Duration = Duration::from_secs(10);
const SILENCE_DEFAULT: Duration = Duration::from_secs(30);
const RECONNECT_DEFAULT: RetryPolicy = RetryPolicy {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(30),
    give_up_after: None,
};
/// A connection that is given a day to be silent, or waits a day to come back, is not managed.
const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// The client's side of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its label and the key for its rights.
    pub id: ClientId,
    /// The folder of its spool, absolute; made if absent.
    pub data_dir: PathBuf,
    /// The addresses of its one server, to be tried in turn; never empty.
    pub servers: Vec<Address>,
    /// The largest data field of a packet that it takes, in bytes.
    pub max_packet_bytes: u64,
    /// How long a connection may be idle before the peer is asked.
    pub ping: Duration,
    /// How long a peer may be silent before it counts as dead; longer than `ping`.
    pub silence: Duration,
    /// The waits between two tries to connect.
    pub reconnect: RetryPolicy,
    /// How much it keeps.
    pub spool: Spool,
    /// How packets to some targets are kept; the first that matches counts.
    pub policies: Vec<Policy>,
    /// Whether its servers may be of several ledgers: at least once then, without an order over a
    /// change.
    pub separate_ledgers: bool,
    /// Where its packets come from.
    pub sources: Vec<Source>,
}

impl Client {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let id = read_id(&mut section);
        let data_dir = read_data_dir(&mut section);
        let max_packet_bytes =
            section.optional("max_packet_bytes", &kind::size(PACKET_BYTES), PACKET_BYTES_DEFAULT);
        let longest = max_packet_bytes.as_ref().copied().unwrap_or(*PACKET_BYTES.end());
        let sources = Source::read_all(&mut section, longest);
        let spool = section.table("spool").and_then(|spool| Spool::read(spool, max_packet_bytes));
        let servers = read_servers(&mut section);
        let ping = section.optional("ping", &kind::duration(WAIT), PING_DEFAULT);
        let silence = section.optional("silence", &kind::duration(WAIT), SILENCE_DEFAULT);
        if let (Ok(ping), Ok(silence)) = (ping, silence) {
            check_silence(&section, ping, silence);
        }
        let reconnect = section.table("reconnect");
        let reconnect = reconnect.and_then(|section| {
            RetryPolicy::read(section, RECONNECT_DEFAULT, WAIT, GivingUp::Unknown)
        });
        let spool_bytes = spool.as_ref().ok().map(|spool| spool.max_bytes);
        let policies = Policy::read_all(&mut section, spool_bytes);
        let separate_ledgers = section.optional("separate_ledgers", &kind::flag(), false);
        section.unavailable(&["token_file", "tls"]);
        section.finish();
        Ok(Self {
            id: id?,
            data_dir: data_dir?,
            servers: servers?,
            max_packet_bytes: max_packet_bytes?,
            ping: ping?,
            silence: silence?,
            reconnect: reconnect?,
            spool: spool?,
            policies: policies?,
            separate_ledgers: separate_ledgers?,
            sources: sources?,
        })
    }
}

/// The id, by default the host's name.
fn read_id(section: &mut Section<'_>) -> Result<ClientId, Reported> {
    match section.loading().environment().client_id() {
        Some(host) => section.optional("id", &kind::client_id(), host),
        None => section.required("id", &kind::client_id()),
    }
}

/// The folder of a store.
pub(super) fn read_data_dir(section: &mut Section<'_>) -> Result<PathBuf, Reported> {
    let folder = section.loading().folder();
    let data_dir = section.required("data_dir", &kind::path(folder))?;
    section.claim("data_dir", Claim::DataDir(data_dir.clone()));
    Ok(data_dir)
}

fn read_servers(section: &mut Section<'_>) -> Result<Vec<Address>, Reported> {
    let servers = section.full_list("servers", &kind::server());
    for server in &servers.items {
        section.claim_item(server, Claim::Server(server.value.to_string()));
    }
    servers.into_values()
}

fn check_silence(section: &Section<'_>, ping: Duration, silence: Duration) {
    if silence <= ping {
        let (ping, silence) = (duration_in_words(ping), duration_in_words(silence));
        // The one that was set is the one to change.
        if section.has("silence") {
            let expected = format!("more than `client.ping`, which is {ping}");
            section.complain("silence", Fault::Value { expected, found: silence });
        } else {
            let expected = format!("less than `client.silence`, which is {silence}");
            section.complain("ping", Fault::Value { expected, found: ping });
        }
    }
}
