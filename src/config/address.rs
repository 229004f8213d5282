//! Addresses: `host:port`, and where a listener listens.
//!
//! Decides which texts are addresses and which of them only this machine can reach. Never resolves
//! a name: a host that is neither an address nor `localhost` counts as reachable from the network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// The longest host name that DNS can carry (RFC 1035, 2.3.4), in bytes.
const HOST_BYTES_MAX: usize = 253;

/// Who can reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Only programs on this machine.
    Machine,
    /// Anyone who can reach this machine over a network.
    Network,
}

/// A host and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// The text is not a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address: host:port, with an IPv6 address in brackets, found {found:?}")]
pub struct AddressError {
    /// The text.
    pub found: String,
}

impl Address {
    /// An address whose host is known to be one.
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }

    /// The name or address, an IPv6 address without its brackets. With the port it is what
    /// `std::net::ToSocketAddrs` takes.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 lets the system choose one, which only makes sense for a listener.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who can reach a listener at this address.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let loopback = match self.ip() {
            Some(ip) => ip.is_loopback(),
            None => self.is_localhost(),
        };
        if loopback { Reach::Machine } else { Reach::Network }
    }

    /// Whether a listener here and one at `other` would want the same port of the same interface.
    pub(super) fn collides(&self, other: &Self) -> bool {
        if self.port != other.port || self.port == 0 {
            return false;
        }
        let wildcard = |address: &Self| address.ip().is_some_and(|ip| ip.is_unspecified());
        if wildcard(self) || wildcard(other) {
            return true;
        }
        match (self.ip(), other.ip()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (Some(ip), None) => other.is_localhost() && is_localhosts(ip),
            (None, Some(ip)) => self.is_localhost() && is_localhosts(ip),
            (None, None) => self.host.eq_ignore_ascii_case(&other.host),
        }
    }

    fn is_localhost(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
    }

    /// The host as an address, an IPv4 address in IPv6 clothes as what it is.
    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }
}

/// The two addresses that `localhost` usually stands for.
fn is_localhosts(ip: IpAddr) -> bool {
    ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from(Ipv6Addr::LOCALHOST)
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parse = || {
            let (host, port) = text.rsplit_once(':')?;
            let all_digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            let port = all_digits.then(|| port.parse().ok()).flatten()?;
            let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|_| inner)?,
                None => is_host(host).then_some(host)?,
            };
            Some(Self::new(host, port))
        };
        parse().ok_or_else(|| AddressError { found: text.to_owned() })
    }
}

/// Whether `text` is an IPv4 address or can be a host's name.
fn is_host(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    let last = text.rsplit('.').next().unwrap_or_default();
    // A name whose last label is a number can only be a mistyped address (RFC 3696, 2).
    let number = last.bytes().all(|b| b.is_ascii_digit());
    let named = text.len() <= HOST_BYTES_MAX && text.split('.').all(label) && !number;
    named || text.parse::<std::net::Ipv4Addr>().is_ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where a source listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A TCP port.
    Tcp(Address),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl Listen {
    /// Who can reach a listener here.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Tcp(address) => address.reach(),
            Self::Unix(_) => Reach::Machine,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
