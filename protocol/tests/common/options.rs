//! What a rig is made with, and how its failures are kept.

use paquebot_protocol::Millis;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::FileFailurePersistence;

/// A configuration that keeps the seeds of failures in `file`, and prints them; with `times` as many
/// cases as usual, or as `PROPTEST_CASES` says.
pub(crate) fn seeds_in(file: &'static str, times: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(file)) as Box<_>);
    ProptestConfig { failure_persistence, cases: usual.cases.saturating_mul(times), ..usual }
}

/// What a pair is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    pub(crate) lanes_max: usize,
    /// Per lane.
    pub(crate) window_bytes: u64,
    /// Over all lanes.
    pub(crate) budget_bytes: u64,
    pub(crate) frame_bytes_max: u64,
    pub(crate) retry_after_ms: u64,
    /// How long a lane waits in which a run was refused.
    pub(crate) refused_run_pause: Millis,
    pub(crate) exactly_once: bool,
    /// Whether dead links are found by their silence; otherwise time plays no role there.
    pub(crate) has_heartbeat: bool,
    /// Whether everything that was sent and every effect is taken down.
    pub(crate) keeps_log: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes_max: 8,
            window_bytes: 64 * 1024,
            budget_bytes: 1024 * 1024,
            frame_bytes_max: 64 * 1024,
            retry_after_ms: 1_000,
            refused_run_pause: Millis(300_000),
            exactly_once: true,
            has_heartbeat: false,
            keeps_log: true,
        }
    }
}
