//! `rotate` of a handler of kind `file`: when the next file begins, and what becomes of the others.
//!
//! Decides that there is a reason to rotate at all. Never decides how: that is the handler's.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;

/// Below this there are more files than packets.
const SIZE: RangeInclusive<u64> = 1024..=u64::MAX;
const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::MAX;
/// All files are listed at each rotation.
const KEEP: RangeInclusive<u64> = 1..=100_000;

/// When a file ends and the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rotate {
    /// Before it would pass this size, in bytes.
    pub size: Option<u64>,
    /// When its first packet is this old.
    pub every: Option<Duration>,
    /// How many of those that have ended are kept; all, if not set.
    pub keep: Option<u64>,
    /// Whether those are compressed with gzip.
    pub compress: bool,
}

impl Rotate {
    /// Reads `{ size, every, keep, compress }`.
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, Reported> {
        let size = section.maybe("size", &kind::size(SIZE));
        let every = section.maybe("every", &kind::duration(EVERY));
        let keep = section.maybe("keep", &kind::count(KEEP));
        let compress = section.optional("compress", &kind::flag(), false);
        let reason = if matches!((&size, &every), (Ok(None), Ok(None))) {
            let expected = "`size`, `every` or both".to_owned();
            Err(section.complain("size", Fault::Missing { expected }))
        } else {
            Ok(())
        };
        section.finish();
        reason?;
        Ok(Self { size: size?, every: every?, keep: keep?, compress: compress? })
    }
}
