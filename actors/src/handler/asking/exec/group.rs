//! A process group: a child of ours and all that it starts, killed whole.
//!
//! A group can only be killed by a number, which is free for others once its leader has been waited for
//! and its members are gone. So the end of the leader is learnt without taking its status, then the
//! rest of the group is killed if need be, and then the status is taken.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// How long a killed process may take to be gone; only one that waits for a broken disk takes longer.
const BURIAL: Duration = Duration::from_secs(1);

/// The group; dropped, it is killed.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    /// The leader, whose status has not been taken.
    leader: Option<Pid>,
    /// Can be read when the leader has ended.
    ending: AsyncFd<OwnedFd>,
}

/// What a child reads and says.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) input: Option<ChildStdin>,
    pub(super) output: Option<ChildStdout>,
    pub(super) errors: Option<ChildStderr>,
}

impl Group {
    /// Starts the command, which must be told to lead a group.
    pub(super) fn start(command: &mut Command) -> io::Result<(Self, Pipes)> {
        let mut child = command.spawn()?;
        let pipes = Pipes {
            input: child.stdin.take(),
            output: child.stdout.take(),
            errors: child.stderr.take(),
        };
        let number = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(leader) = number else { return Err(io::Error::other("the child has no number")) };
        match ending(leader) {
            Ok(ending) => Ok((Self { child, leader: Some(leader), ending }, pipes)),
            Err(error) => {
                kill(leader);
                Err(error)
            }
        }
    }

    /// Waits until the leader has ended. Unless that was with one of the codes `kept`, what is left of
    /// the group is killed.
    pub(super) async fn wait(&mut self, kept: &[i32]) -> io::Result<ExitStatus> {
        drop(self.ending.readable().await?);
        if let Some(leader) = self.leader {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            let found = waitid(WaitId::Pid(leader), look).ok().flatten();
            let code = found.and_then(|found| found.exit_status());
            if !code.is_some_and(|code| kept.contains(&code)) {
                kill(leader);
            }
        }
        let status = self.child.wait().await?;
        self.leader = None;
        Ok(status)
    }

    /// Kills the group, and waits until its leader is gone.
    pub(super) async fn kill(mut self) {
        if let Some(leader) = self.leader {
            kill(leader);
            // Somebody else takes its status then.
            if let Ok(Ok(_status)) = tokio::time::timeout(BURIAL, self.child.wait()).await {
                self.leader = None;
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            kill(leader);
        }
    }
}

/// What can be read when a process has ended.
#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that do not keep their descriptor; an OwnedFd does"
)]
fn ending(leader: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let ending = pidfd_open(leader, PidfdFlags::empty())?;
    AsyncFd::with_interest(ending, Interest::READABLE)
}

fn kill(leader: Pid) {
    if let Err(error) = kill_process_group(leader, Signal::KILL) {
        tracing::warn!(leader = leader.as_raw_nonzero(), %error, "a process group cannot be killed");
    }
}
