//! Sizes in bytes: a number and `B`, `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`.
//!
//! The one grammar for the config file, HTTP headers and queries. bytesize is not used, because it
//! also takes bare numbers, `k` and any case. Never decides which size is sensible where.

use super::quantity::{self, QuantityError, Unit};

/// What a size looks like, for people.
pub(super) const A_SIZE: &str =
    "a size: a number and B, kB, MB, GB, KiB, MiB or GiB, such as \"64 MiB\"";

const UNITS: [Unit; 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads a size, in bytes.
///
/// # Errors
///
/// The text is not a number and a unit, not a whole number of bytes, or more than a `u64`.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    quantity::parse(text, &UNITS, u64::MAX).map_err(|reason| QuantityError {
        expected: A_SIZE,
        found: text.to_owned(),
        reason,
    })
}

/// Writes a number of bytes in the same grammar, in the largest unit that keeps it exact.
#[must_use]
pub fn size_in_words(bytes: u64) -> String {
    quantity::words(bytes, &UNITS)
}
