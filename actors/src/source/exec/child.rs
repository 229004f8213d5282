//! A child: one run of a command, with everything that it starts in its process group.
//!
//! The group is signalled only while its leader has not been reaped: until then no other process can
//! have its number. That is why the end of the leader is waited for without taking note of it.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::complaints::Complaints;
use crate::clock;
use crate::source::load::Stopping;

/// How long a child may take to end when it is told to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How long what a child has left running may go on writing when the child itself has ended.
const LEFT_RUNNING: Duration = Duration::from_secs(1);

/// How long a killed process may take to be gone.
const DYING: Duration = Duration::from_secs(1);

/// The shell's number for a process that signal 0 would have ended.
const OF_SIGNALS: i32 = 128;

/// A command that runs.
pub(super) struct Child {
    process: tokio::process::Child,
    group: Pid,
    output: ChildStdout,
    complaints: Complaints,
    is_open: bool,
    /// Resolves when the leader has ended.
    ended: JoinHandle<()>,
    has_ended: bool,
    is_told: bool,
    deadline: Option<Instant>,
}

/// How a run has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// As shells say it: 128 and the number of the signal that ended it, if one did.
    pub(super) code: i32,
    /// The last line on its standard error.
    pub(super) said: Option<String>,
}

impl Child {
    /// Starts a command in a process group of its own.
    pub(super) fn start(source: &str, command: &[String]) -> io::Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no command"));
        };
        let mut process = Command::new(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let gone = || io::Error::other("the child has no number or no pipes");
        let id = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = id.ok_or_else(gone)?;
        let output = process.stdout.take().ok_or_else(gone)?;
        let complaints = Complaints::listen(source, process.stderr.take().ok_or_else(gone)?);
        let ended = tokio::task::spawn_blocking(move || {
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(group), how), Err(rustix::io::Errno::INTR)) {}
        });
        let (is_open, has_ended, is_told, deadline) = (true, false, false, None);
        Ok(Self {
            process,
            group,
            output,
            complaints,
            is_open,
            ended,
            has_ended,
            is_told,
            deadline,
        })
    }

    /// Waits for output; nothing when there will be no more. A child whose source is to stop is told
    /// so, and may say its last.
    pub(super) async fn read(&mut self, chunk: &mut [u8], stopping: &Stopping) -> Option<usize> {
        let mut stop = stopping.clone();
        while self.is_open || !self.has_ended {
            let deadline = self.deadline.map(tokio::time::Instant::from_std);
            let is_late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = self.output.read(chunk), if self.is_open => match read {
                    Ok(read) if read > 0 => return Some(read),
                    _ => self.is_open = false,
                },
                _ = &mut self.ended, if !self.has_ended => {
                    self.has_ended = true;
                    self.hurry(LEFT_RUNNING);
                }
                () = stop.wait(), if !self.is_told => self.tell(),
                () = is_late => return None,
            }
        }
        None
    }

    /// Sees to it that nothing of the group runs any more.
    pub(super) async fn end(mut self) -> io::Result<Ended> {
        if !self.has_ended && !self.is_told {
            self.tell();
            self.has_ended = timeout(GRACE, &mut self.ended).await.is_ok();
        }
        self.signal(Signal::KILL);
        if !self.has_ended {
            drop(timeout(DYING, &mut self.ended).await);
        }
        let status = timeout(DYING, self.process.wait());
        let status = status.await.map_err(|_| io::Error::other("it cannot be killed"))??;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        let code = status.code().unwrap_or(OF_SIGNALS + signal);
        Ok(Ended { code, said: self.complaints.last().await })
    }

    fn tell(&mut self) {
        self.is_told = true;
        self.signal(Signal::TERM);
        self.hurry(GRACE);
    }

    fn signal(&self, signal: Signal) {
        // Everything may have ended by itself.
        let _ = kill_process_group(self.group, signal);
    }

    fn hurry(&mut self, length: Duration) {
        let deadline = clock::instant() + length;
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }
}
