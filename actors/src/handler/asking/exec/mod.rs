//! The handler `exec`: a program is asked what becomes of each packet.
//!
//! Either one that is started for each packet and answers with how it ends (`program.rs`), or one
//! that goes on running, is fed lines, and answers with lines (`process.rs`).
//!
//! What is started leads a process group of its own. The group is killed whole: TERM may be ignored,
//! and a shell that dies leaves what it has started. That happens when no answer comes in time, when
//! the server stops, and when the leader ends without having handled its packet: no second attempt may
//! meet a rest of the first. After "handled" or "rejected" what is left of the group is left alone.

mod answers;
mod group;
mod process;
mod program;
mod said;

use std::process::Stdio;

use tokio::process::Command;

use super::CommandLine;

pub(super) use process::Process;
pub(super) use program::Program;

/// What a child says on standard error or output is read in lines of this length; more of a line is
/// left out. A child that says nothing to the point must not fill our memory.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// How long a child's last words are listened to: somebody whom it has started may keep its output
/// open for ever.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(100);

/// Variables that only some packets have.
const CONTENT_TYPE: &str = "PAQUEBOT_CONTENT_TYPE";
const TRACE_CONTEXT: &str = "TRACEPARENT";
const HEADER_VARIABLE: &str = "PAQUEBOT_HEADER_";

/// The command, with all that is the same for every packet.
fn command(line: &CommandLine) -> Command {
    let mut command = Command::new(&line.program);
    command.args(&line.arguments).current_dir(&line.dir).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A server that was itself started by such a handler has these of another packet.
    command.env_remove(CONTENT_TYPE).env_remove(TRACE_CONTEXT);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with(HEADER_VARIABLE)) {
            command.env_remove(name);
        }
    }
    command
}

/// Why it could not be started.
fn not_started(line: &CommandLine, error: &std::io::Error) -> String {
    format!("starting {} failed: {error}", line.program.display())
}
