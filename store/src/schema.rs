//! Everything that stands in a store's files: every table, its keys, its values, and how long they
//! live.
//!
//! Keys and counters are fixed-width tuples, whose encoding redb has kept; other values are
//! MessagePack arrays. A run's value is the run as it is sent (`protocol`'s `run.rs`).
//!
//! **The active segment of a spool**, `spool/NNNNNNNN.seg` with the highest number:
//!
//! | table | key | value | lives |
//! |---|---|---|---|
//! | `meta` | name | `format`; `spool`: [`SpoolRow`]; `clock`; `condemned`; `retired` | as the spool; copied |
//! | `lanes` | lane | [`LaneRow`] | until the server has heard that the lane is retired; copied |
//! | `runs` | lane, **last** number | envelope and run | until its last packet is acknowledged |
//! | `tombstones` | lane, last number | [`TombstoneRow`] | until it is acknowledged |
//! | `manifest` | segment, lane, first | last, bytes of runs | until acknowledged, or moved |
//! | `positions` | source, place | [`PositionRow`] | until the source forgets it; copied |
//! | `keys` | source (hash), number | [`KeyRow`] | a day, the last 100,000 of a source; copied |
//!
//! A run stands under its last number, so that what is acknowledged is exactly the range
//! `(lane, 0)..=(lane, acked)` and the run that holds number n is the first from `(lane, n)` on. A
//! tombstone wins over what a run holds of its numbers. The lane to `$dead-letters` is never sent: its
//! packets are the client's dead letters (`spool/letters.rs`). The positions of the source `$counts` are
//! what is counted (`spool/counted.rs`). `retired` sums up the lanes whose rows are gone
//! ([`RetiredRow`]). Runs, and the rows of the spool, of lanes and
//! of tombstones, can be found by their bytes alone (`spool/scan.rs`, R10). `condemned` names the
//! segments that are not trusted any more and are moved forward, each with whether it is damaged.
//! Beside the segments `newest` names the one with the highest number, so that its loss is seen, and
//! `NNNNNNNN.failed` one whose fsync failed.
//! A **sealed** segment has the same tables; only its `runs` count, and of those only what the
//! active segment's `manifest` names.
//!
//! **The ledger**, `ledger.redb`:
//!
//! | table | key | value | lives |
//! |---|---|---|---|
//! | `meta` | name | `format`: u64; `ledger`: its 16 bytes; `dead_known`, `commits`: u64 | as the ledger |
//! | `spools` | spool | [`SpoolOnRecord`] | for good |
//! | `cursors` | spool, lane | cursor, chain, numbers elsewhere, skipped | until the lane is retired |
//! | `retired` | spool, first lane | last lane of a stretch that is retired | for good, or until it grows |
//! | `tried` | spool, lane | number, failed attempts, first, last | until the cursor passes it |
//! | `files` | device, inode | [`FileRow`] | until another file takes its place |
//! | `totals` | handler | packets handled, packets dead-lettered | for good |
//! | `history` | ms, spool, lane, number before | last number, how, handler | 30 days, the last 100,000 |
//! | `dead_segments` | segment | dead letters in it, bytes of their records | as long as the segment |
//! | `dead_gone` | how they went | how many dead letters | for good |
//! | `replayed` | as `places` below | – | until the letter is out of its segment |
//! | `counts` | name | what was counted | for good |
//! | `clients` | client, spool | [`ClientOnRecord`](crate::ClientOnRecord) | while there are not too many |
//! | `paused` | handler | when it was paused, and by whom | until it is resumed |
//!
//! `dead_known` is the highest position of the dead letters that were there before the ledger was:
//! they count whatever its cursors say. `commits` goes up with every transaction, so that healing
//! knows the last one from an older one. `dead_segments` is how one knows what a segment held that
//! is damaged or gone. A letter in `replayed` was handled after all, by word of the transaction that
//! recorded that: it is gone, and its segment is yet to hear so. When a write has failed, all of this
//! is written into a new file (`ledger/heal.rs`), so a table that is added here is added to
//! `ledger/tables.rs`, too.
//!
//! **Its dead letters**, `dead-letters/NNNNNNNN.seg`, in segments of bounded size:
//!
//! | table | key | value | lives |
//! |---|---|---|---|
//! | `meta` | name | `format`: u64 | as long as the segment |
//! | `letters` | position | [`DeadRow`] | until replayed, discarded, evicted or expired |
//! | `records` | position | the packet's record | as long as its letter |
//! | `places` | spool of the session, lane, number | position | as long as its letter |
//!
//! Positions go up through all segments, and none is used twice: the order in which dead letters
//! are listed. A letter beyond its lane's cursor does not count: its packet comes again.

use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Chain, ClientId, LedgerId, Millis, Number, SpoolId, TargetId};
use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// The format of a spool's and a ledger's files. A release reads its own and the one before.
pub(crate) const FORMAT: u64 = 1;

/// Facts about the store as a whole.
pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The key of the format's version.
pub(crate) const META_FORMAT: &str = "format";
/// The key of the [`SpoolRow`].
pub(crate) const META_SPOOL: &str = "spool";
/// The key of the spool's clock.
pub(crate) const META_CLOCK: &str = "clock";
/// The key of the segments that are not trusted any more.
pub(crate) const META_CONDEMNED: &str = "condemned";
/// The key of the [`RetiredRow`]; spools that never retired a lane may lack it.
pub(crate) const META_RETIRED: &str = "retired";
/// The key of a ledger's id.
pub(crate) const META_LEDGER: &str = "ledger";
/// The key of how many commits there were.
pub(crate) const META_COMMITS: &str = "commits";
/// The key of the position of the last dead letter that was there before the ledger.
pub(crate) const META_DEAD_KNOWN: &str = "dead_known";

/// The lanes of a spool.
pub(crate) const LANES: TableDefinition<u64, &[u8]> = TableDefinition::new("lanes");
/// The runs of a segment.
pub(crate) const RUNS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("runs");
/// What will never come.
pub(crate) const TOMBSTONES: TableDefinition<(u64, u64), &[u8]> =
    TableDefinition::new("tombstones");
/// What the sealed segments hold.
pub(crate) const MANIFEST: TableDefinition<(u64, u64, u64), (u64, u64)> =
    TableDefinition::new("manifest");

/// How far each source has come.
pub(crate) const POSITIONS: TableDefinition<(&str, &[u8]), &[u8]> =
    TableDefinition::new("positions");
/// Under which keys packets were handed over.
pub(crate) const KEYS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("keys");

/// When each lane of a ledger went how far, and how.
pub(crate) const HISTORY: TableDefinition<HistoryKey, HistoryRow> = TableDefinition::new("history");
/// The millisecond since 1970, the spool, the lane, and the number before the first. Early ledgers have
/// the second.
pub(crate) type HistoryKey = (u64, u128, u64, u64);
/// The last number, how they passed, and the handler.
pub(crate) type HistoryRow = (u64, u8, &'static str);

/// The spools that a ledger knows. A spool is a number here: its 16 bytes, big-endian.
pub(crate) const SPOOLS: TableDefinition<u128, &[u8]> = TableDefinition::new("spools");
/// How far each lane was handled.
pub(crate) const CURSORS: TableDefinition<(u128, u64), CursorRow> = TableDefinition::new("cursors");
/// Which lanes have ended for ever, in stretches that neither overlap nor touch: the last lane of each
/// by its spool and its first lane.
pub(crate) const RETIRED: TableDefinition<(u128, u64), u64> = TableDefinition::new("retired");
/// How often the packet after a lane's cursor was tried in vain: its number, the attempts, when the
/// first and the last failed (milliseconds since 1970).
pub(crate) const TRIED: TableDefinition<(u128, u64), TriedRow> = TableDefinition::new("tried");
/// How much of each handler's file counts.
pub(crate) const FILES: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("files");
/// What each handler has done.
pub(crate) const TOTALS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("totals");
/// What each segment of the dead letters holds.
pub(crate) const DEAD_SEGMENTS: TableDefinition<u64, (u64, u64)> =
    TableDefinition::new("dead_segments");
/// How many dead letters went, and how.
pub(crate) const DEAD_GONE: TableDefinition<&str, u64> = TableDefinition::new("dead_gone");
/// Dead letters that were handled after all, and may still stand in their segments.
pub(crate) const REPLAYED: TableDefinition<(u128, u64, u64), ()> = TableDefinition::new("replayed");
/// Handlers that are paused by hand: since when (milliseconds since 1970), and by whom.
pub(crate) const PAUSED: TableDefinition<&str, (u64, &str)> = TableDefinition::new("paused");
/// What is counted, and goes on over restarts.
pub(crate) const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");
/// What clients have told of themselves, by client and spool.
pub(crate) const CLIENTS: TableDefinition<(&str, u128), &[u8]> = TableDefinition::new("clients");
/// Handled after all.
pub(crate) const GONE_REPLAYED: &str = "replayed";
/// Evicted from a full quota.
pub(crate) const GONE_EVICTED: &str = "evicted";
/// Older than the config allows.
pub(crate) const GONE_EXPIRED: &str = "expired";
/// Removed by somebody.
pub(crate) const GONE_DISCARDED: &str = "discarded";
/// Lost with a damaged or missing segment.
pub(crate) const GONE_LOST: &str = "lost";

/// The facts of the dead letters in a segment.
pub(crate) const LETTERS: TableDefinition<u64, &[u8]> = TableDefinition::new("letters");
/// Their packets' records.
pub(crate) const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// Where each stands.
pub(crate) const PLACES: TableDefinition<(u128, u64, u64), u64> = TableDefinition::new("places");

/// A cursor: its number, the chain there, numbers that went elsewhere, numbers skipped.
pub(crate) type CursorRow = (u64, Option<u64>, u64, u64);

/// A packet that was tried in vain: number, attempts, first and last attempt.
pub(crate) type TriedRow = (u64, u32, u64, u64);

/// A spool's facts about itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct SpoolRow {
    pub(crate) spool: SpoolId,
    pub(crate) replaces: Option<SpoolId>,
    pub(crate) opened: u64,
    pub(crate) nonce: u64,
    pub(crate) next_lane: u64,
    pub(crate) segment: u64,
    /// The ledger that it was last sent to.
    pub(crate) ledger: Option<LedgerId>,
}

/// A lane of a spool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaneRow {
    pub(crate) target: TargetId,
    pub(crate) next: Number,
    pub(crate) acked: Number,
    pub(crate) chain: Chain,
    /// Dead-lettered, damaged, purged, evicted, expired.
    pub(crate) totals: [u64; 5],
    /// What the ledger last said of how many numbers it skipped.
    pub(crate) skipped: u64,
    /// When packets at its head may outlive their time, by the spool's clock.
    pub(crate) expires: Option<Millis>,
    /// When its last packet was stored, by the spool's clock.
    #[serde(default)]
    pub(crate) stored: Millis,
    /// Whether it has ended: the next packet to its target goes into another lane (R6).
    #[serde(default)]
    pub(crate) retiring: bool,
}

/// What became of the packets of all lanes whose rows are gone (R8).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct RetiredRow {
    pub(crate) lanes: u64,
    pub(crate) accepted: u64,
    /// Dead-lettered, damaged, purged, evicted, expired.
    pub(crate) totals: [u64; 5],
}

/// A tombstone, without what its key says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct TombstoneRow {
    pub(crate) first: Number,
    pub(crate) chain: Option<Chain>,
    pub(crate) chain_after: Chain,
    pub(crate) reason: SkipReason,
}

/// How far a source has come at a place of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PositionRow {
    pub(crate) source: String,
    pub(crate) place: Vec<u8>,
    pub(crate) at: Vec<u8>,
    /// Goes up with every change of any position.
    pub(crate) revision: u64,
}

/// A key under which packets were handed over: hashes of the key and of what was handed over, the
/// answer, and when that was, by the spool's clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(crate) key: u128,
    pub(crate) content: u64,
    pub(crate) spool: u128,
    pub(crate) lane: u64,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) at: u64,
}

/// A spool as a ledger knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SpoolOnRecord {
    pub(crate) client: ClientId,
    pub(crate) opened: u64,
    pub(crate) nonce: u64,
    pub(crate) replaces: Option<SpoolId>,
}

/// A file that a handler writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub(crate) path: String,
    pub(crate) length: u64,
    pub(crate) generation: u64,
    /// A hash of the last bytes before `length`.
    #[serde(default)]
    pub(crate) check: u64,
    /// When its first byte was recorded, in milliseconds since 1970 (UTC).
    #[serde(default)]
    pub(crate) began_ms: u64,
    /// The path that it is about to get, while it is rotated.
    #[serde(default)]
    pub(crate) rotating: Option<String>,
}

/// A dead letter, without its record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeadRow<'a> {
    /// The spool of the session that it came in by: it differs from `born` after a re-key.
    pub(crate) session: SpoolId,
    pub(crate) lane: u64,
    pub(crate) number: u64,
    pub(crate) born: SpoolId,
    pub(crate) client: ClientId,
    pub(crate) target: TargetId,
    pub(crate) handler: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) attempts: u32,
    pub(crate) first_attempt_ms: u64,
    pub(crate) last_attempt_ms: u64,
    /// The bytes of its record.
    pub(crate) bytes: u64,
}

/// A row's bytes.
pub(crate) fn encode(row: &impl Serialize) -> Result<Vec<u8>, Fault> {
    rmp_serde::to_vec(row).map_err(|error| Fault::damaged("a row to encode", error))
}

/// The row in `bytes`.
pub(crate) fn decode<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, Fault> {
    rmp_serde::from_slice(bytes).map_err(|error| Fault::damaged(what, error))
}

/// The number in `bytes`.
pub(crate) fn decode_number(what: &str, bytes: &[u8]) -> Result<u64, Fault> {
    let bytes = bytes.try_into().map_err(|error| Fault::damaged(what, error))?;
    Ok(u64::from_le_bytes(bytes))
}
