//! `[admin]` and `[metrics]`: what people and monitoring see of a process.
//!
//! Decides where and how much. Never decides what is shown.

use super::address::{Address, Listen};
use super::claim::Claim;
use super::kind;
use super::loading::Reported;
use super::section::Section;

const LISTEN_HOST: &str = "127.0.0.1";
const LISTEN_PORT: u16 = 7037;
const MAX_TARGETS_DEFAULT: u64 = 200;
/// Each target makes a dozen series, which is what a scrape can bear.
const MAX_TARGETS_MAX: u64 = 100_000;

/// The admin side over TCP, beside the `admin.sock` in each `data_dir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens. Beyond this machine, only `/metrics`, `/healthz` and `/readyz` are
    /// served there.
    pub listen: Address,
}

/// How metrics are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metrics {
    /// The most targets with series of their own; further ones count under `_other`.
    pub max_targets: u64,
}

impl Admin {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let default = Address::new(LISTEN_HOST, LISTEN_PORT);
        let listen = section.optional("listen", &kind::listening(), default);
        if let Ok(listen) = &listen {
            section.claim("listen", Claim::Listen(Listen::Tcp(listen.clone())));
        }
        section.unavailable(&["token_file"]);
        section.finish();
        Ok(Self { listen: listen? })
    }
}

impl Metrics {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let range = 0..=MAX_TARGETS_MAX;
        let max_targets = section.optional("max_targets", &kind::count(range), MAX_TARGETS_DEFAULT);
        section.finish();
        Ok(Self { max_targets: max_targets? })
    }
}
