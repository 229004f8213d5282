//! How far a measurement is, for whoever sits before it.

use std::io::{IsTerminal, Write};

use crate::print::remark;

/// A line that is written over, on a terminal; nothing but its beginning elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    what: String,
    packets: Option<u64>,
    live: bool,
}

impl Progress {
    /// Begins with `what`, which goes to `packets` if that is known.
    pub(super) fn of(what: String, packets: Option<u64>) -> Self {
        remark(&format!("bench: {what}"));
        Self { what, packets, live: std::io::stderr().is_terminal() }
    }

    /// Shows how many packets are stored and handled.
    pub(super) fn show(&self, stored: u64, handled: u64) {
        if self.live {
            let of = self.packets.map(|packets| format!(" of {packets}")).unwrap_or_default();
            eprint!("\r\x1b[2Kbench: {}: {stored} stored, {handled} handled{of}", self.what);
            // It is only for the eye.
            drop(std::io::stderr().flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.live {
            eprint!("\r\x1b[2K");
        }
    }
}
