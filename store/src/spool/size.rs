//! How large runs and segments are made, so that neither pages nor files waste the disk (R9).
//!
//! redb gives a value a page of a power of two, its leaf's head included: a run of 64 KiB plus a
//! byte takes 128 KiB. A file doubles while it is below 4 GiB. Both were measured with redb 4.6.

use paquebot_protocol::Batch;
use paquebot_protocol::run::RUN_HEAD_BYTES_MAX;

use super::envelope::ENVELOPE_BYTES;

/// redb's page.
const PAGE_BYTES: usize = 4096;

/// What stands beside a run: for redb type and count (4), end of the value (4), key (16); and our
/// envelope.
const LEAF_BYTES: usize = 24 + ENVELOPE_BYTES;

/// The largest page that a run is cut for: larger ones did not measure faster, and a damaged byte
/// costs its run (R10).
const RUN_PAGE_BYTES_MAX: usize = 512 * 1024;

/// redb's smallest file, with its own tables and ours in it.
pub(super) const SEGMENT_BASE_BYTES: u64 = 80 * 1024;

/// What is left unused of a large file at most: several of the largest runs, because free pages of
/// their size become rare before all are taken.
const SLACK_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A packet from this size on is reckoned with the page that it takes.
const LARGE_PACKET_BYTES: usize = 32 * 1024;

/// Above this a file with little in it is given up for a new one.
pub(super) const GIVE_BACK_BYTES: u64 = 5 * 1024 * 1024;

/// How many bytes of records the next run takes when `remaining` bytes of them wait.
pub(super) fn records_max(remaining: usize) -> usize {
    let overhead = LEAF_BYTES + RUN_HEAD_BYTES_MAX;
    let whole = remaining.saturating_add(overhead);
    if whole <= PAGE_BYTES {
        return remaining;
    }
    let above = whole.checked_next_power_of_two().unwrap_or(usize::MAX);
    // An eighth of a page left empty is cheaper than another run, its page and its frame.
    let fills = above <= RUN_PAGE_BYTES_MAX && above - whole <= whole / 8;
    let page = if fills { above } else { (above / 2).min(RUN_PAGE_BYTES_MAX) };
    page - overhead
}

/// About how much of a file a run of `run_bytes` takes.
pub(super) fn stored_bytes(run_bytes: usize) -> u64 {
    let entry = run_bytes.saturating_add(LEAF_BYTES);
    let bytes = if entry > PAGE_BYTES {
        entry.checked_next_power_of_two().unwrap_or(usize::MAX)
    } else {
        // Several share a page, which is between half and wholly full.
        entry + entry / 2
    };
    bytes as u64
}

/// What a batch's records count for when room is made for them: many packets are cut so that they
/// fill their pages, but a large one by itself takes the page that it takes.
pub(super) fn batch_bytes(batch: &Batch) -> u64 {
    let bytes = batch.bytes();
    if batch.count() == 1 && bytes > LARGE_PACKET_BYTES {
        stored_bytes(bytes + RUN_HEAD_BYTES_MAX)
    } else {
        bytes as u64
    }
}

/// About how much of a file `records_bytes` of records in `lanes` lanes will take once cut.
pub(super) fn commit_bytes(records_bytes: u64, lanes: u64) -> u64 {
    let page = PAGE_BYTES as u64;
    records_bytes + records_bytes / 8 + lanes.saturating_mul(2 * page) + 8 * page
}

/// What must stay free beside a commit of `commit_bytes`: a large page lies on a multiple of its
/// size, so that a small file runs out of places for it long before it runs out of bytes.
pub(super) fn slack(commit_bytes: u64) -> u64 {
    let page = commit_bytes.checked_next_power_of_two().unwrap_or(u64::MAX);
    2 * page.min(RUN_PAGE_BYTES_MAX as u64)
}

/// How much of a file of `len` bytes may be filled before it must be expected to double.
pub(super) fn fill_max(len: u64) -> u64 {
    len - (len / 8).min(SLACK_BYTES_MAX)
}

/// The largest file that is a segment of about `segment_bytes`: redb's sizes are up to 1/7 above a
/// power of two, according to how they began.
pub(super) fn segment_len_max(segment_bytes: u64) -> u64 {
    segment_bytes + segment_bytes / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_run_fills_its_page_and_no_more() {
        for remaining in (1..3_000_000).step_by(997) {
            let records = records_max(remaining);
            let run = records.min(remaining) + RUN_HEAD_BYTES_MAX;
            let stored = stored_bytes(run);
            assert!(records > 0 && stored <= RUN_PAGE_BYTES_MAX as u64);
            if run + LEAF_BYTES > PAGE_BYTES {
                assert!(stored <= (run + LEAF_BYTES + run / 7) as u64, "{remaining}: {stored}");
            }
        }
    }
}
