//! The source `exec`: what a command writes to its standard output is an event, by the line or as a
//! whole.
//!
//! A command is run now and then, or is kept running and started again when it ends. There is never
//! more than one of it, and nothing of it is left running when the source stops. While the spool is
//! full nobody reads what it writes, so that it waits, as any writer to a full pipe does. What it has
//! written and is not stored when the process dies is lost: nobody can ask for it again.

mod child;
mod complaints;

use std::time::Duration;

use serde_json::Value;

use super::event::{self, Event};
use super::lines::{LineOptions, Lines};
use super::load::{Load, Stopping};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};
use super::worker::Worker;
use crate::clock;
use crate::seldom::Seldom;
use child::{Child, Ended};

/// What `when` and templates can look at.
pub const EXEC_FIELDS: [&str; 4] = ["line", "json", "exit_code", "size"];

/// The same where each line is an event.
pub const EXEC_LINE_FIELDS: [&str; 3] = ["line", "json", "size"];

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// When a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// At the start, and each time that so much has passed, unless it is still running.
    Every(Duration),
    /// All the time: it is started again so long after it has ended.
    Restart(Duration),
}

/// What of a command's output is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Each line.
    Line(LineOptions),
    /// All of a run.
    Whole,
}

/// How the source is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOptions {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// When it is run.
    pub runs: Runs,
    /// What of its output is an event.
    pub output: Output,
}

/// Starts to run a command.
///
/// # Errors
/// When no thread can be started for it.
pub fn start(options: ExecOptions, recipe: Recipe, outlet: Outlet) -> std::io::Result<Worker> {
    let name = recipe.source.clone();
    Worker::start(&name, async move |mut stopping| {
        let (kitchen, failures) = (Kitchen::new(recipe, &outlet), Failures::default());
        Exec { options, kitchen, outlet, failures }.work(&mut stopping).await;
    })
}

/// The source at work.
struct Exec {
    options: ExecOptions,
    kitchen: Kitchen,
    outlet: Outlet,
    failures: Failures,
}

/// Runs that failed since that was logged last.
#[derive(Default)]
struct Failures {
    count: u64,
    told: Seldom,
}

/// What a command has written.
struct Written<'w> {
    program: &'w str,
    data: &'w [u8],
    exit_code: Option<i32>,
}

impl Event for Written<'_> {
    fn field(&self, name: &str) -> Value {
        match name {
            "line" => event::text(self.data),
            "json" => event::json(self.data),
            "exit_code" => Value::from(self.exit_code),
            "size" => event::size(self.data),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        format!("output of {}", self.program)
    }
}

impl Exec {
    async fn work(&mut self, stopping: &mut Stopping) {
        let mut next = clock::instant();
        while !stopping.is_near() {
            self.run(stopping).await;
            let now = clock::instant();
            next = match self.options.runs {
                Runs::Every(every) => {
                    // Times that passed while it ran are left out.
                    let passed = now.duration_since(next).as_nanos() / every.as_nanos().max(1);
                    next + every * (u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1)
                }
                Runs::Restart(after) => now + after,
            };
            stopping.pause(next.saturating_duration_since(now)).await;
        }
    }

    /// Runs the command once.
    async fn run(&mut self, stopping: &mut Stopping) {
        let source = self.kitchen.source();
        tracing::debug!(source, command = ?self.options.command, "starts a command");
        let mut child = match Child::start(source, &self.options.command) {
            Ok(child) => child,
            Err(error) => {
                self.kitchen.complain(&self.written(&[], None), &format!("it cannot run: {error}"));
                return;
            }
        };
        let ended = match self.options.output {
            Output::Line(options) => {
                self.send_lines(options, &mut child, stopping).await;
                child.end().await
            }
            Output::Whole => {
                let gathered = self.gather(&mut child, stopping).await;
                let ended = child.end().await;
                if let (Ok(Ended { code, .. }), false) = (&ended, stopping.is_near()) {
                    self.send_whole(gathered, *code, stopping).await;
                }
                ended
            }
        };
        if !stopping.is_near() {
            self.tell(ended);
        }
    }

    /// Makes packets of the lines of a run.
    async fn send_lines(&self, options: LineOptions, child: &mut Child, stopping: &mut Stopping) {
        let (mut lines, mut chunk) = (Lines::new(options, 0, false), vec![0; CHUNK_BYTES]);
        loop {
            let read = child.read(&mut chunk, stopping).await;
            let mut load = Load::default();
            let add = |line: &[u8], _: u64| self.add(&self.written(line, None), &mut load);
            match read {
                Some(read) => lines.take(chunk.get(..read).unwrap_or_default(), add),
                None => lines.finish(add),
            }
            if !self.store(load, stopping).await || read.is_none() {
                return;
            }
        }
    }

    /// Gathers all that a run writes; how much it is when that is too much.
    async fn gather(&self, child: &mut Child, stopping: &Stopping) -> Result<Vec<u8>, u64> {
        let most = self.outlet.packet_bytes_max();
        let (mut gathered, mut bytes, mut chunk) = (Vec::new(), 0, vec![0; CHUNK_BYTES]);
        while let Some(read) = child.read(&mut chunk, stopping).await {
            bytes += read as u64;
            // What is too much is read all the same: the command may have more to do than to write.
            if bytes <= most as u64 {
                gathered.extend_from_slice(chunk.get(..read).unwrap_or_default());
            }
        }
        if bytes <= most as u64 { Ok(gathered) } else { Err(bytes) }
    }

    /// Makes a packet of all that a run has written.
    async fn send_whole(&self, gathered: Result<Vec<u8>, u64>, code: i32, stopping: &mut Stopping) {
        match gathered {
            Ok(data) => {
                let mut load = Load::default();
                self.add(&self.written(&data, Some(code)), &mut load);
                self.store(load, stopping).await;
            }
            Err(bytes) => {
                let most = self.outlet.packet_bytes_max();
                let why = format!("expected at most {most} bytes, found {bytes}: not sent");
                self.kitchen.complain(&self.written(&[], Some(code)), &why);
            }
        }
    }

    fn written<'w>(&'w self, data: &'w [u8], exit_code: Option<i32>) -> Written<'w> {
        let program = self.options.command.first().map_or("", String::as_str);
        Written { program, data, exit_code }
    }

    fn add(&self, written: &Written<'_>, load: &mut Load) {
        if let Some(draft) = self.kitchen.make(written) {
            load.add(&self.outlet, &draft, written.data);
        }
    }

    async fn store(&self, load: Load, stopping: &mut Stopping) -> bool {
        load.store(self.kitchen.source(), &self.outlet, stopping).await
    }

    /// Logs how a run has ended, if it is worth a word.
    fn tell(&mut self, ended: std::io::Result<Ended>) {
        let source = self.kitchen.source();
        match ended {
            Ok(Ended { code: 0, .. }) => tracing::debug!(source, "a command has ended"),
            Ok(Ended { code, said }) => {
                self.failures.count += 1;
                if self.failures.told.is_due() {
                    let (command, failures) = (&self.options.command, self.failures.count);
                    let said = said.unwrap_or_default();
                    tracing::warn!(
                        source,
                        ?command,
                        code,
                        failures,
                        "a command has failed: {said}"
                    );
                    self.failures.count = 0;
                }
            }
            Err(error) => tracing::error!(source, %error, "a command cannot be ended"),
        }
    }
}
