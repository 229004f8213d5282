//! Complaints: what a child writes to its standard error. It goes to the log, a bounded number of
//! lines a second; the last line is kept, for it usually says what is wrong.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock;
use crate::source::lines::{LineOptions, Lines, LongLine};

/// A complaint that is longer is cut.
const CUT: LineOptions = LineOptions { bytes_max: 1024, long: LongLine::Truncate };

/// The most lines in the log within [`WINDOW`].
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// The last words of a child that has ended are in the pipe: reading them takes no longer.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The standard error of a child.
pub(super) struct Complaints {
    last: Arc<Mutex<Option<String>>>,
    reading: JoinHandle<()>,
}

/// How many lines were logged since when.
struct Quota {
    since: Instant,
    lines: u32,
}

impl Complaints {
    /// Reads until nobody can write any more.
    pub(super) fn listen(source: &str, mut from: ChildStderr) -> Self {
        let last = Arc::new(Mutex::new(None));
        let (kept, source) = (Arc::clone(&last), source.to_owned());
        let reading = tokio::spawn(async move {
            let (mut lines, mut chunk) = (Lines::new(CUT, 0, false), [0; 4096]);
            let mut quota = Quota { since: clock::instant(), lines: 0 };
            let mut take = |line: &[u8]| {
                let line = String::from_utf8_lossy(line).into_owned();
                quota.log(&source, &line);
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
            };
            while let Ok(read @ 1..) = from.read(&mut chunk).await {
                lines.take(chunk.get(..read).unwrap_or_default(), |line, _| take(line));
            }
            lines.finish(|line, _| take(line));
        });
        Self { last, reading }
    }

    /// The last line, once the child has ended.
    pub(super) async fn last(self) -> Option<String> {
        let Self { last, mut reading } = self;
        if timeout(LAST_WORDS, &mut reading).await.is_err() {
            // Who left the group may hold the pipe for ever.
            reading.abort();
        }
        last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Quota {
    fn log(&mut self, source: &str, line: &str) {
        let now = clock::instant();
        if now.duration_since(self.since) >= WINDOW {
            let left_out = self.lines.saturating_sub(LINES_MAX);
            if left_out > 0 {
                tracing::debug!(source, left_out, "lines of the standard error were not logged");
            }
            *self = Self { since: now, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines <= LINES_MAX {
            tracing::debug!(source, "standard error: {line}");
        }
    }
}
