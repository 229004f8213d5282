//! Where the config file is.
//!
//! Decides which of the four places is used. Never opens the file, and never passes over a place
//! that was named on purpose: if `-c` or `PAQUEBOT_CONFIG` names no file, another one that happens
//! to lie around would be the wrong one.

use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// The variable that names the config file.
pub const CONFIG_VARIABLE: &str = "PAQUEBOT_CONFIG";
/// Where the file is looked for, in turn, when nobody names it.
pub const DEFAULT_PLACES: [&str; 2] = ["config.toml", "/etc/paquebot/config.toml"];

/// A place where a config file was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// The argument of `-c`.
    Argument(PathBuf),
    /// The value of [`CONFIG_VARIABLE`].
    Variable(PathBuf),
    /// One of the default places.
    Default(PathBuf),
}

/// There is no config file. Its text names every place that was tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a config file, found none {}", places(.tried))]
pub struct NotFound {
    /// The places, in the order in which they were tried.
    pub tried: Vec<Candidate>,
}

/// Finds the config file: `argument` (of `-c`), else the variable `PAQUEBOT_CONFIG`, else the
/// first of `defaults` (usually [`DEFAULT_PLACES`]) that exists. An empty variable is not set.
///
/// # Errors
///
/// The file that was named does not exist, or nothing was named and no default exists.
pub fn locate(
    argument: Option<&Path>,
    environment: &Environment,
    defaults: &[&Path],
) -> Result<PathBuf, NotFound> {
    let variable = environment.get(CONFIG_VARIABLE).filter(|path| !path.is_empty());
    let tried = match (argument, variable) {
        (Some(path), _) => vec![Candidate::Argument(path.to_owned())],
        (None, Some(path)) => vec![Candidate::Variable(path.into())],
        (None, None) => defaults.iter().map(|&path| Candidate::Default(path.into())).collect(),
    };
    let found = tried.iter().map(Candidate::path).find(|path| exists(path)).map(Path::to_owned);
    found.ok_or(NotFound { tried })
}

impl Candidate {
    /// The path that was tried.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Argument(path) | Self::Variable(path) | Self::Default(path) => path,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(path) => write!(f, "at {} (given by -c)", path.display()),
            Self::Variable(path) => write!(f, "at {} (given by {CONFIG_VARIABLE})", path.display()),
            Self::Default(path) => write!(f, "at {}", path.display()),
        }
    }
}

/// A file that may not be looked at counts as there: reading it will say why it can't be used.
fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

fn places(tried: &[Candidate]) -> String {
    let named = tried.iter().any(|place| !matches!(place, Candidate::Default(_)));
    let texts: Vec<_> = tried.iter().map(ToString::to_string).collect();
    let listed = texts.join(", ");
    if named {
        listed
    } else {
        format!("by -c FILE (not given), by {CONFIG_VARIABLE} (not set), {listed}")
    }
}
