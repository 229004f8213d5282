//! The only place in this room that reads a clock: to measure how long something took or waited, and
//! how old packets are. Times that mean something to a user come in with what is recorded.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::spool::Reading;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the room's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What the system says of time.
#[expect(clippy::disallowed_methods, reason = "this is the room's one clock")]
pub(crate) fn reading() -> Reading {
    static BOOT: OnceLock<u128> = OnceLock::new();
    let boot = *BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&id.trim().replace('-', ""), 16).unwrap_or(0)
    });
    let since_boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since_boot.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(since_boot.tv_nsec).unwrap_or(0);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Reading {
        boot,
        since_boot_ms: seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}
