//! A window: how many bytes may be on their way unacknowledged.
//!
//! A lane with nothing in flight may always send one run, whatever the window says (R11); so a
//! window is passed by one run at most, and the receiver reckons with that.

/// After a pause the ramp is over once this many packets went through at a time.
const RAMP_PACKETS_END: u64 = 4096;

/// The credit of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Window {
    limit_bytes: u64,
    used_bytes: u64,
    ramp_packets: Option<u64>,
}

impl Window {
    /// A window of `limit_bytes`, all of it free.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, ramp_packets: None }
    }

    /// A window that lets one packet through first, and twice as many after each ack: the other side
    /// has just had trouble.
    #[must_use]
    pub fn ramping(limit_bytes: u64) -> Self {
        Self { ramp_packets: Some(1), ..Self::new(limit_bytes) }
    }

    /// Whether something may be sent now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let ramping = self.ramp_packets.is_some();
        self.used_bytes == 0 || (!ramping && self.used_bytes < self.limit_bytes)
    }

    /// How many packets may go at once.
    #[must_use]
    pub fn packets_max(&self) -> u64 {
        self.ramp_packets.unwrap_or(u64::MAX)
    }

    /// `bytes` go on their way.
    pub fn take(&mut self, bytes: u64) {
        self.used_bytes = self.used_bytes.saturating_add(bytes);
    }

    /// `bytes` were acknowledged.
    pub fn give_back(&mut self, bytes: u64) {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        self.ramp_packets = self
            .ramp_packets
            .map(|packets| packets.saturating_mul(2))
            .filter(|packets| *packets <= RAMP_PACKETS_END);
    }

    /// The bytes in flight.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}
