//! A process that the measurement started: the lines of its output, the word to begin, and its end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::usage::Usage;
use crate::exit::{Code, Failure};

/// A running process; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    name: &'static str,
    process: Child,
    input: Option<ChildStdin>,
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
            .env("PAQUEBOT_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = started.map_err(Failure::of(Code::Internal, name))?;
        let input = process.stdin.take();
        let output = process.stdout.take();
        let output = output.ok_or_else(|| Failure::new(Code::Internal, "no output to read"))?;
        Ok(Self { name, process, input, output: BufReader::new(output) })
    }

    /// Tells it to begin.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        let Some(input) = &mut self.input else { return Ok(()) };
        input.write_all(b"begin\n").map_err(Failure::of(Code::Io, self.name))
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

    /// Waits for its figures; `progress` hears how many packets it has stored and had handled.
    pub(super) fn figures(&mut self, progress: impl Fn(u64, u64)) -> Result<Value, Failure> {
        loop {
            let line = self.line()?;
            let number = |key| line.get(key).and_then(Value::as_u64);
            let Some(stored) = number("progress") else { return Ok(line) };
            progress(stored, number("handled").unwrap_or_default());
        }
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
