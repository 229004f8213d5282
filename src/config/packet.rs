//! How large a packet may be, for both sides.
//!
//! Decides the limit and its default. Never looks at a packet.

use std::ops::RangeInclusive;

/// The default of `max_packet_bytes`.
pub(super) const PACKET_BYTES_DEFAULT: u64 = 1024 * 1024;
/// What `max_packet_bytes` may be: a packet and its frame must fit into memory many times over.
pub(super) const PACKET_BYTES: RangeInclusive<u64> = 1..=16 * 1024 * 1024;
