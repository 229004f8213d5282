//! A member: one process under torture, with its config, its directory and its log.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::bench::usage::Usage;
use crate::door::Door;
use crate::exit::{Code, Failure};

/// How often a process that is to end is looked at.
const POLL: Duration = Duration::from_millis(5);

/// How long an ordered stop may take: its steps have deadlines of their own, which add up to less.
const STOP: Duration = Duration::from_secs(60);

/// Lines of a log that are shown.
const LOG_LINES: usize = 12;

/// One process; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name: `server`, or the client's id.
    pub(super) name: String,
    /// The most memory that it had at once, over all its lives.
    pub(super) rss_peak_bytes: u64,
    dir: PathBuf,
    process: Option<Child>,
}

impl Member {
    /// A process that is not there yet. `dir` has its config, and gets its data and its log.
    pub(super) fn new(name: &str, dir: &Path) -> Self {
        Self { name: name.to_owned(), rss_peak_bytes: 0, dir: dir.to_owned(), process: None }
    }

    /// Starts this very program as a broker.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let doing = format!("starting {}", self.name);
        let failed = || Failure::of::<std::io::Error>(Code::Internal, &doing);
        let program = std::env::current_exe().map_err(failed())?;
        let log = OpenOptions::new().create(true).append(true).open(self.log());
        let mut command = Command::new(program);
        // This machine's own settings are not its.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PAQUEBOT_") {
                command.env_remove(name);
            }
        }
        command.args(["run", "-c"]).arg(self.dir.join("config.toml"));
        command.env("NO_COLOR", "1").env("PAQUEBOT_LOG", "info").env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.map_err(failed())?);
        self.process = Some(command.spawn().map_err(failed())?);
        Ok(())
    }

    /// SIGKILL; gone afterwards.
    pub(super) fn kill(&mut self) {
        self.measure();
        if let Some(mut process) = self.process.take() {
            // It may have ended already; either way it is gone afterwards.
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// SIGTERM, and how it ended; nothing when it did not in time, and was killed.
    pub(super) async fn stop(&mut self) -> Option<ExitStatus> {
        self.measure();
        self.signal(Signal::TERM);
        let mut waited = Duration::ZERO;
        while waited < STOP {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            sleep(POLL).await;
            waited += POLL;
        }
        self.kill();
        None
    }

    /// SIGSTOP or SIGCONT, say.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // It may have ended by itself, which is found out elsewhere.
            let _ended = kill_process(Pid::from_child(process), signal);
        }
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        self.process = None;
        Some(status)
    }

    /// Whether it was started and not seen to end.
    pub(super) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Looks how much memory it has had.
    pub(super) fn measure(&mut self) {
        if let Some(process) = &self.process
            && let Ok(usage) = Usage::of(process.id())
        {
            self.rss_peak_bytes = self.rss_peak_bytes.max(usage.rss_peak_bytes);
        }
    }

    /// Its admin side.
    pub(super) fn door(&self) -> Door {
        Door::Unix(self.dir.join("data").join("admin.sock"))
    }

    /// Where its log is.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        lines.into_iter().rev().map(|line| format!("\n    | {line}")).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
