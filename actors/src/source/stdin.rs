//! The source `stdin`: each line on the standard input is an event.

use serde_json::Value;
use tokio::io::{AsyncReadExt, Stdin};

use super::event::{self, Event};
use super::lines::{LineOptions, Lines};
use super::load::{Load, Stopping};
use super::outlet::Outlet;
use super::recipe::{Kitchen, Recipe};
use super::worker::Worker;

/// What `when` and templates can look at.
pub const STDIN_FIELDS: [&str; 3] = ["line", "json", "size"];

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Starts to read the standard input.
///
/// # Errors
/// When no thread can be started for it.
pub fn start(options: LineOptions, recipe: Recipe, outlet: Outlet) -> std::io::Result<Worker> {
    let name = recipe.source.clone();
    Worker::start(&name, async move |mut stopping| {
        work(options, &Kitchen::new(recipe, &outlet), &outlet, &mut stopping).await;
    })
}

/// A line, as `when` and templates see it.
pub(super) struct Line<'l> {
    pub(super) line: &'l [u8],
    pub(super) at: u64,
}

impl Event for Line<'_> {
    fn field(&self, name: &str) -> Value {
        match name {
            "line" => event::text(self.line),
            "json" => event::json(self.line),
            "size" => event::size(self.line),
            _ => Value::Null,
        }
    }

    fn place(&self) -> String {
        format!("byte {}", self.at)
    }
}

async fn work(options: LineOptions, kitchen: &Kitchen, outlet: &Outlet, stopping: &mut Stopping) {
    let mut input: Stdin = tokio::io::stdin();
    let (mut lines, mut chunk) = (Lines::new(options, 0, false), vec![0; CHUNK_BYTES]);
    loop {
        let mut stop = stopping.clone();
        let read = tokio::select! {
            read = input.read(&mut chunk) => read,
            () = stop.wait() => return,
        };
        let mut load = Load::default();
        let mut add = |line: &[u8], at: u64| {
            let line = Line { line, at };
            if let Some(draft) = kitchen.make(&line) {
                load.add(outlet, &draft, line.line);
            }
        };
        let is_over = match read {
            Ok(0) => {
                lines.finish(&mut add);
                true
            }
            Ok(read) => {
                lines.take(chunk.get(..read).unwrap_or_default(), &mut add);
                false
            }
            Err(error) => {
                tracing::error!(source = kitchen.source(), %error, "standard input cannot be read");
                true
            }
        };
        if !load.store(kitchen.source(), outlet, stopping).await {
            return;
        }
        if is_over {
            tracing::info!(source = kitchen.source(), "the standard input has ended");
            return;
        }
    }
}
