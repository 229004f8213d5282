//! `[server]`: who may connect, and what becomes of packets.
//!
//! Decides defaults and limits of the server's side. Never opens the ledger or a socket.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::address::{Address, Listen, Reach};
use super::claim::Claim;
use super::client::read_data_dir;
use super::dead_letters::DeadLetters;
use super::handler::Handler;
use super::kind;
use super::loading::Reported;
use super::packet::{PACKET_BYTES, PACKET_BYTES_DEFAULT};
use super::problem::Fault;
use super::section::Section;
use super::size::size_in_words;
use super::source::MAX_CONNECTIONS;

const MAX_CONNECTIONS_DEFAULT: u64 = 20_000;
const MEMORY_DEFAULT: u64 = 256 * 1024 * 1024;
/// A run of the usual size must fit several times over.
const MEMORY: RangeInclusive<u64> = 1024 * 1024..=u64::MAX;
const UNKNOWN_TARGETS: [(&str, UnknownTarget); 2] =
    [("dead-letter", UnknownTarget::DeadLetter), ("hold", UnknownTarget::Hold)];

/// The server's side of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens for clients. Beyond this machine only with `insecure = true`.
    pub listen: Address,
    /// The folder of its ledger, absolute; made if absent.
    pub data_dir: PathBuf,
    /// The largest data field of a packet that it takes, in bytes.
    pub max_packet_bytes: u64,
    /// The most connections at a time.
    pub max_connections: u64,
    /// The most memory for packets between socket and handler, in bytes.
    pub memory: u64,
    /// What becomes of a packet to a target that no handler has.
    pub unknown_target: UnknownTarget,
    /// How many dead letters a client may have.
    pub dead_letters: DeadLetters,
    /// What handles packets.
    pub handlers: Vec<Handler>,
}

/// What becomes of a packet to a target that no handler has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownTarget {
    /// It becomes a dead letter.
    DeadLetter,
    /// It stays in its client's spool until there is a handler.
    Hold,
}

impl Server {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let listen = read_listen(&mut section);
        let data_dir = read_data_dir(&mut section);
        let max_packet_bytes =
            section.optional("max_packet_bytes", &kind::size(PACKET_BYTES), PACKET_BYTES_DEFAULT);
        let max_connections = section.optional(
            "max_connections",
            &kind::count(MAX_CONNECTIONS),
            MAX_CONNECTIONS_DEFAULT,
        );
        let memory = section.optional("memory", &kind::size(MEMORY), MEMORY_DEFAULT);
        if let (Ok(memory), Ok(packet)) = (memory, max_packet_bytes)
            && memory < packet
        {
            let packet = size_in_words(packet);
            let expected = format!("no less than `server.max_packet_bytes`, which is {packet}");
            section.complain("memory", Fault::Value { expected, found: size_in_words(memory) });
        }
        let unknown_target = section.optional(
            "unknown_target",
            &kind::choice(&UNKNOWN_TARGETS, &[]),
            UnknownTarget::DeadLetter,
        );
        let dead_letters = section
            .table("dead_letters")
            .and_then(|dead_letters| DeadLetters::read(dead_letters, max_packet_bytes));
        let handlers = Handler::read_all(&mut section);
        if unknown_target.is_ok()
            && section.has("unknown_target")
            && handlers.as_ref().is_ok_and(|all| takes_all(all))
        {
            let reason = "a handler takes every target";
            section.complain("unknown_target", Fault::NoEffect { reason });
        }
        section.unavailable(&["tls", "client"]);
        section.finish();
        Ok(Self {
            listen: listen?,
            data_dir: data_dir?,
            max_packet_bytes: max_packet_bytes?,
            max_connections: max_connections?,
            memory: memory?,
            unknown_target: unknown_target?,
            dead_letters: dead_letters?,
            handlers: handlers?,
        })
    }
}

/// Whether no target is left over.
fn takes_all(handlers: &[Handler]) -> bool {
    handlers.iter().flat_map(|handler| &handler.targets).any(|targets| targets.to_string() == ">")
}

/// The address, which must be out of the network's reach unless the owner says `insecure`: this
/// version can't encrypt and can't tell one client from another.
fn read_listen(section: &mut Section<'_>) -> Result<Address, Reported> {
    let listen = section.required("listen", &kind::listening());
    let insecure = section.optional("insecure", &kind::flag(), false);
    if let Ok(listen) = &listen {
        section.claim("listen", Claim::Listen(Listen::Tcp(listen.clone())));
        if let (Reach::Network, Ok(false)) = (listen.reach(), insecure) {
            let expected = "an address that only this machine can reach, or `insecure = true` \
                            beside it, because TLS and client authentication are not available \
                            in this version"
                .to_owned();
            section.complain("listen", Fault::Value { expected, found: listen.to_string() });
        }
    }
    if let (Ok(Reach::Machine), Ok(true)) = (listen.as_ref().map(Address::reach), &insecure) {
        let reason = "only this machine can reach `listen`";
        section.complain("insecure", Fault::NoEffect { reason });
    }
    insecure.and(listen)
}
