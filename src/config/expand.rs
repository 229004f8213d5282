//! References in strings: `${VAR}`, `${VAR:-default}` and `${file:/run/secrets/x}`.
//!
//! Decides what a string of the config file stands for. Never expands twice: what a variable or a
//! file holds is taken as it is. `$${` stands for a plain `${`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// A secret is a line; more is a mistake, such as a device that never ends.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A string after expansion.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    /// What the string stands for.
    pub(super) text: String,
    /// Whether it may be shown.
    pub(super) origin: Origin,
}

/// Where an expanded string comes from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the config file as it is.
    #[default]
    Literal,
    /// Part of it comes from a variable.
    Variable,
    /// Part of it comes from a file, which may be a secret: it must not be shown.
    File,
}

/// Why a reference stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A `${` without a `}`.
    #[error("expected a `}}` after `${{`, found none")]
    Unclosed,
    /// Neither `file:` nor a variable's name follows the `${`.
    #[error("expected a variable's name or `file:` and a path after `${{`, found {found:?}")]
    BadName {
        /// What stands there.
        found: String,
    },
    /// A reference inside the default of another.
    #[error("expected a plain text as the default, found another reference in {found:?}")]
    Nested {
        /// The default.
        found: String,
    },
    /// The variable is not set, and there is no default.
    #[error("expected the environment variable {name} to be set, found that it is not")]
    NotSet {
        /// Its name.
        name: String,
    },
    /// The file can't be used.
    #[error("expected a readable text file {}, found: {reason}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Expands every reference in `raw`. Relative paths are relative to `folder`.
///
/// # Errors
///
/// Every reference that stands for nothing.
pub(super) fn expand(
    raw: &str,
    environment: &Environment,
    folder: &Path,
) -> Result<Expanded, Vec<ExpandError>> {
    let mut expanded = Expanded::default();
    let mut errors = Vec::new();
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.text.push_str(before);
            expanded.text.push_str("${");
            rest = after;
            continue;
        }
        expanded.text.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            errors.push(ExpandError::Unclosed);
            return Err(errors);
        };
        rest = after;
        match resolve(reference, environment, folder) {
            Ok((text, origin)) => {
                expanded.text.push_str(&text);
                if expanded.origin != Origin::File {
                    expanded.origin = origin;
                }
            }
            Err(error) => errors.push(error),
        }
    }
    expanded.text.push_str(rest);
    if errors.is_empty() { Ok(expanded) } else { Err(errors) }
}

fn resolve(
    reference: &str,
    environment: &Environment,
    folder: &Path,
) -> Result<(String, Origin), ExpandError> {
    if let Some(path) = reference.strip_prefix("file:") {
        return secret(&folder.join(path)).map(|text| (text, Origin::File));
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(ExpandError::BadName { found: reference.to_owned() });
    }
    if let Some(default) = default.filter(|default| default.contains("${")) {
        return Err(ExpandError::Nested { found: default.to_owned() });
    }
    // As in a shell, `:-` also stands in for a variable that is set to nothing.
    let value = environment.get(name).filter(|value| !value.is_empty() || default.is_none());
    match value.or(default) {
        Some(value) => Ok((value.to_owned(), Origin::Variable)),
        None => Err(ExpandError::NotSet { name: name.to_owned() }),
    }
}

/// The contents of a file without the line break that an editor leaves at its end.
fn secret(path: &Path) -> Result<String, ExpandError> {
    let failed = |reason: String| ExpandError::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("more than {FILE_BYTES_MAX} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
