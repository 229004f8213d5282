//! The program that a handler of kind `exec` asks.
//!
//! Decides what may be configured. Never looks whether there is such a program: it may come later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::destination::{read_concurrency, read_timeout};
use super::kind;
use super::loading::Reported;
use super::problem::Fault;
use super::section::Section;

const MODES: [(&str, ProgramMode); 2] =
    [("packet", ProgramMode::Packet), ("lines", ProgramMode::Lines)];

/// A program, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program: an absolute path, or a name that is looked for in `PATH`.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
    /// Where it runs: the folder of the config file.
    pub dir: PathBuf,
    /// How it is asked.
    pub mode: ProgramMode,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many packets may be under way at once, each of another lane.
    pub concurrency: u64,
}

/// How a program is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgramMode {
    /// It is started for each packet.
    Packet,
    /// It goes on running, and is given a line for each packet.
    Lines,
}

impl Program {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Reported> {
        let command = section.full_list("command", &kind::argument()).into_values();
        let mode = section.optional("mode", &kind::choice(&MODES, &[]), ProgramMode::Packet);
        let timeout = read_timeout(section);
        let concurrency = read_concurrency(section);
        let dir = section.loading().folder();
        let mut command = command?.into_iter();
        let program = command.next().unwrap_or_default();
        if program.is_empty() {
            let expected = "a program first".to_owned();
            let fault = Fault::Value { expected, found: "an empty text".to_owned() };
            return Err(section.complain("command", fault));
        }
        let program = found_from(dir, &program);
        Ok(Self {
            program,
            arguments: command.collect(),
            dir: dir.to_owned(),
            mode: mode?,
            timeout: timeout?,
            concurrency: concurrency?,
        })
    }
}

/// As shells do: with a slash in it a program is a path, which begins at the config's folder.
fn found_from(dir: &Path, program: &str) -> PathBuf {
    if program.contains('/') { dir.join(program).components().collect() } else { program.into() }
}
