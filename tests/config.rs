//! The config file: what it means, what is wrong with it, and where.
//!
//! Proves that every problem is found at its line and column, and all of them at once; that the
//! environment fills in and overrides; and that the file we ship is valid as it stands and with
//! every optional key written out. Each test loads a real file from a folder of its own.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy only knows that functions with #[test] are tests, not what they call"
)]

#[path = "config/defaults.rs"]
mod defaults;
#[path = "config/destination.rs"]
mod destination;
#[path = "config/docs.rs"]
mod docs;
#[path = "config/driver.rs"]
mod driver;
#[path = "config/effect.rs"]
mod effect;
#[path = "config/environment.rs"]
mod environment;
#[path = "config/foresight.rs"]
mod foresight;
#[path = "config/grammar.rs"]
mod grammar;
#[path = "config/hostile.rs"]
mod hostile;
#[path = "config/place.rs"]
mod place;
#[path = "config/problems.rs"]
mod problems;
#[path = "config/program.rs"]
mod program;
#[path = "config/promises.rs"]
mod promises;

use std::path::{Path, PathBuf};

use paquebot::config::{Config, Environment, Loaded, Problems, load};
use tempfile::TempDir;

/// A folder with a config file in it, and the environment in which that is read.
struct Rig {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Rig {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn environment(&self) -> Environment {
        Environment::of(self.variables.clone()).with_host_name("box")
    }

    fn load(&self, text: impl AsRef<[u8]>) -> Result<Loaded, Problems> {
        load(&self.write("config.toml", text), &self.environment())
    }

    /// Loads a file that is expected to be valid.
    fn config(&self, text: &str) -> Config {
        match self.load(text) {
            Ok(loaded) => loaded.config,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// Loads a file that is expected to be invalid; a line for each problem, without the path.
    fn problems(&self, text: impl AsRef<[u8]>) -> Vec<String> {
        match self.load(text) {
            Ok(loaded) => panic!("valid: {:?}", loaded.config),
            Err(problems) => lines(&problems, &self.path("config.toml")),
        }
    }
}

fn lines(problems: &Problems, path: &Path) -> Vec<String> {
    let path = path.display().to_string();
    problems.to_string().lines().map(|line| line.strip_prefix(&path).unwrap().to_owned()).collect()
}

/// The least that makes a client.
const CLIENT: &str = "[client]\ndata_dir = 'c'\nservers = ['s:1']\n";
/// The least that makes a server without a warning.
const SERVER: &str = "[server]\nlisten = '127.0.0.1:1'\ndata_dir = 's'\n\
                      [[server.handler]]\nname = 'h'\ntargets = ['>']\nkind = 'discard'\n";
