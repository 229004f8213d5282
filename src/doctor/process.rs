//! The process: whether it may open as many files as its config can come to need.

use rustix::process::{Resource, getrlimit};

use super::finding::{Finding, Verdict};
use crate::config::{Config, SourceKind};

/// A store's files: the lock, the active segment or the hot file, dead letters, the one that is being
/// made, a directory that is synced, and the four sealed segments that a spool has open at most.
const STORE_FILES: u64 = 10;
/// Standard streams, epoll and event descriptors of every thread, the admin side and its visitors.
const OTHERS: u64 = 100;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    findings.push(judge_open_files(maximum, needed(config)).on("process", "open-files"));
}

/// The most files that the config can come to need at once.
fn needed(config: &Config) -> u64 {
    let mut needed = OTHERS;
    if let Some(client) = &config.client {
        needed = needed.saturating_add(STORE_FILES + 1);
        for source in &client.sources {
            #[allow(irrefutable_let_patterns, reason = "other kinds have no connections")]
            if let SourceKind::Http { max_connections, .. } = &source.kind {
                needed = needed.saturating_add(*max_connections);
            }
        }
    }
    if let Some(server) = &config.server {
        // A handler has its output, the marker beside it, and a directory that it syncs.
        let handlers = 3 * u64::try_from(server.handlers.len()).unwrap_or(u64::MAX / 3);
        let files = handlers.saturating_add(STORE_FILES);
        needed = needed.saturating_add(server.max_connections).saturating_add(files);
    }
    needed
}

/// `maximum` is the hard limit, which `run` raises the soft one to; none: unlimited.
fn judge_open_files(maximum: Option<u64>, needed: u64) -> Verdict {
    let Some(maximum) = maximum else {
        return Verdict::ok("the number of open files has no limit", "nothing has to be done");
    };
    let found = format!("{maximum} open files are allowed, and up to {needed} may be needed");
    if maximum >= needed {
        return Verdict::ok(found, "`run` raises its soft limit to that");
    }
    Verdict::warning(
        found,
        "connections beyond the limit are not accepted; lower max_connections, or raise the limit \
         (LimitNOFILE= for systemd, ulimits for containers), which may differ from this shell's",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn the_hard_limit_must_cover_what_may_be_needed() {
        assert_eq!(judge_open_files(None, u64::MAX).level, Level::Ok);
        assert_eq!(judge_open_files(Some(1_024), 1_024).level, Level::Ok);
        assert_eq!(judge_open_files(Some(1_023), 1_024).level, Level::Warning);
    }
}
