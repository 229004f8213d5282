//! Ids: newtypes, so that a lane is never taken for a number, nor a spool for a ledger.
//!
//! A packet's id is `<spool>-<lane>-<number>`: opaque to users, safe in a URL, never used twice.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A client's name: a label and the key for its rights, `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(Arc<str>);

/// The text is not a client id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 of A-Z a-z 0-9 . _ -, found {found:?}")]
pub struct ClientIdError {
    /// The text.
    pub found: String,
}

impl ClientId {
    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, ClientIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(ClientIdError { found: text.to_owned() })
        }
    }
}

impl TryFrom<String> for ClientId {
    type Error = ClientIdError;

    fn try_from(text: String) -> Result<Self, ClientIdError> {
        text.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! store_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = PacketIdError;

            fn from_str(text: &str) -> Result<Self, PacketIdError> {
                let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                if text.len() != 32 || !text.bytes().all(lower_hex) {
                    return Err(PacketIdError { found: text.to_owned() });
                }
                let bits = u128::from_str_radix(text, 16);
                let bits = bits.map_err(|_| PacketIdError { found: text.to_owned() })?;
                Ok(Self(bits.to_be_bytes()))
            }
        }
    };
}

store_id! {
    /// The random id of a client's durable store.
    SpoolId
}
store_id! {
    /// The random id of a server's durable store.
    LedgerId
}

/// A lane within one spool. Never used again once retired.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Lane(pub u64);

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A packet's place in its lane: 1, 2, 3, …; 0 stands for "none yet".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Number(pub u64);

impl Number {
    /// Before the first packet of a lane.
    pub const NONE: Self = Self(0);
    /// The first packet of a lane.
    pub const FIRST: Self = Self(1);

    /// The number after this one. Stays at the end of its range, which no lane reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number before this one; 0 has none and stays.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The number `count` further on, or `None` past the end of the range.
    #[must_use]
    pub const fn plus(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// How many packets lie after `earlier`, up to and with this one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lane as the whole world names it: lanes are numbered within their spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// The spool that the lane belongs to.
    pub spool: SpoolId,
    /// The lane within it.
    pub lane: Lane,
}

/// The id of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId {
    /// The spool that the packet was born in.
    pub spool: SpoolId,
    /// Its lane.
    pub lane: Lane,
    /// Its number there.
    pub number: Number,
}

/// The text is not a packet id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected <32 lower-case hex digits>-<lane>-<number>, found {found:?}")]
pub struct PacketIdError {
    /// The text.
    pub found: String,
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.spool, self.lane, self.number)
    }
}

impl FromStr for PacketId {
    type Err = PacketIdError;

    fn from_str(text: &str) -> Result<Self, PacketIdError> {
        let wrong = || PacketIdError { found: text.to_owned() };
        // Each packet has one id, so each number has one spelling.
        let decimal = |part: &str| -> Result<u64, PacketIdError> {
            let number: u64 = part.parse().map_err(|_| wrong())?;
            if number > 0 && number.to_string() == part { Ok(number) } else { Err(wrong()) }
        };
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or_else(wrong);
        let (spool, lane, number) = (part()?, part()?, part()?);
        Ok(Self {
            spool: spool.parse()?,
            lane: Lane(decimal(lane)?),
            number: Number(decimal(number)?),
        })
    }
}
