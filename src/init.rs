//! The command `init`: a commented config to start from.
//!
//! It is cut from the `config.toml` of the quick start, which has every key of this version with its
//! reason and is tested as it stands; so there is no second text that could fall behind.

use crate::cli::Role;

const QUICK_START: &str = include_str!("../config.toml");

/// How a numbered part of the file begins.
const PART: &str = "# ── ";

const CLIENT_HEAD: &str = "\
# A client of Paquebot: it keeps packets on this machine until a server has handled them.
#
#   paquebot check         says what this config promises
#   paquebot run           runs it
#   curl -d '{\"total\": 17}' http://127.0.0.1:7036/v1/packets/orders.till-17
#   paquebot status        how it is
";

const SERVER_HEAD: &str = "\
# A server of Paquebot: it takes packets from clients and hands each to the handler for its target.
#
#   paquebot check         says what this config promises
#   paquebot run           runs it
#   paquebot status        how it is
";

/// The ports of both admin sides on one machine must differ.
const ADMIN_LISTEN: (&str, &str) = ("#listen = \"127.0.0.1:7037\"", "listen = \"127.0.0.1:7038\"");

/// The text of a config for one side.
#[must_use]
pub fn config(role: Role) -> String {
    let (head, wanted): (_, &[char]) = match role {
        Role::Client => (CLIENT_HEAD, &['1', '2', '3', '6']),
        Role::Server => (SERVER_HEAD, &['4', '5', '6']),
    };
    let mut parts = QUICK_START.split(PART);
    // What all parts share stands after the quick start's own paragraphs.
    let preface = parts.next().and_then(|preface| preface.split_once("#\n# The parts stand"));
    let preface = preface.map(|(_, rest)| rest).unwrap_or_default();
    let mut text = format!("{head}#\n# The parts stand{preface}");
    for part in parts.filter(|part| part.starts_with(wanted)) {
        text.push_str(PART);
        text.push_str(part);
    }
    if role == Role::Client {
        // Beside a server with the usual one.
        text = text.replacen(ADMIN_LISTEN.0, ADMIN_LISTEN.1, 1);
    }
    let text = text.trim_end();
    format!("{text}\n")
}
