//! A process that the measurement started: its one line of output, and its end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::usage::Usage;
use crate::exit::{Code, Failure};

/// A running process; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    name: &'static str,
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this very program with other arguments.
    pub(super) fn start<S: AsRef<OsStr>>(
        name: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(Failure::of(Code::Internal, "finding this program"))?;
        let started = Command::new(program)
            .args(arguments)
            .env("PAQUEBOT_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = started.map_err(Failure::of(Code::Internal, name))?;
        let output = process.stdout.take();
        let output = output.ok_or_else(|| Failure::new(Code::Internal, "no output to read"))?;
        Ok(Self { name, process, output: BufReader::new(output) })
    }

    /// Waits for the next line of its output.
    pub(super) fn line(&mut self) -> Result<Value, Failure> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        read.map_err(Failure::of(Code::Io, self.name))?;
        serde_json::from_str(&line).map_err(|_| {
            let message = format!("the {} of the measurement ended early: {line:?}", self.name);
            Failure::new(Code::Internal, message)
        })
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(self.process.id())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
