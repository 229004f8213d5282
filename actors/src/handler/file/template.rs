//! Paths with places to fill in: a file for each target, or for each client.
//!
//! Decides which file a packet's line is in. What is filled in is always one name, never a way through
//! directories, and two targets never share one.

use std::path::{Path, PathBuf};

use paquebot_protocol::{ClientId, TargetId};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use xxhash_rust::xxh3::xxh3_128;

const TARGET: &str = "{target}";
const CLIENT: &str = "{client}";

/// What a file's name cannot have, or what would make two names one.
const KEPT_OUT: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b'~');

/// File systems take names of 255 bytes, and something stands around this one.
const NAME_BYTES_MAX: usize = 160;

/// A path, absolute, in which something may have to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(String);

impl PathTemplate {
    /// The template of a path.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn new(path: &Path) -> Result<Self, String> {
        let Some(text) = path.to_str() else {
            return Ok(Self(path.to_string_lossy().into_owned()));
        };
        let rest = text.replace(TARGET, "").replace(CLIENT, "");
        if rest.contains(['{', '}']) {
            return Err(format!("no other braces than {TARGET} and {CLIENT}"));
        }
        // What stands beside a file (its marker, what was rotated) has its name and a suffix: no target
        // may have such a name.
        if text.ends_with('}') {
            return Err(format!("a name that goes on after the brace, such as {TARGET}.ndjson"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path, when it is always the same.
    #[must_use]
    pub fn plain(&self) -> Option<PathBuf> {
        let has = |place: &str| self.0.contains(place);
        (!has(TARGET) && !has(CLIENT)).then(|| PathBuf::from(&self.0))
    }

    /// The text, for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory in which nothing has to be filled in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        let fixed = self.0.split('{').next().unwrap_or_default();
        let end = fixed.rfind('/').unwrap_or_default().max(1).min(fixed.len());
        Path::new(fixed.get(..end).unwrap_or("/"))
    }

    /// Where the packets of a client to a target go.
    pub(super) fn fill(&self, client: &ClientId, target: &TargetId) -> PathBuf {
        let filled = self.0.replace(TARGET, &name(target.as_str()));
        PathBuf::from(filled.replace(CLIENT, &name(client.as_str())))
    }

    /// Whether it may have been filled in so.
    pub(super) fn made(&self, path: &str) -> bool {
        let text = self.0.replace(CLIENT, TARGET);
        let mut parts = text.split(TARGET);
        let Some(mut rest) = parts.next().and_then(|first| path.strip_prefix(first)) else {
            return false;
        };
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let at = match parts.peek() {
                None => rest.len().checked_sub(part.len()).filter(|_| rest.ends_with(part)),
                Some(_) => rest.find(part),
            };
            let Some((name, after)) = at.and_then(|at| rest.split_at_checked(at)) else {
                return false;
            };
            if name.is_empty() || name.contains('/') {
                return false;
            }
            rest = after.get(part.len()..).unwrap_or_default();
        }
        rest.is_empty()
    }
}

/// The name of a file, or a part of one.
fn name(text: &str) -> String {
    let mut name = utf8_percent_encode(text, KEPT_OUT).to_string();
    if name.starts_with('.') {
        name.replace_range(..1, "%2E");
    }
    if name.len() > NAME_BYTES_MAX {
        let hash = xxh3_128(text.as_bytes());
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        name.push_str(&format!("~{hash:032x}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PathTemplate;

    fn filled(template: &str, client: &str, target: &str) -> String {
        let template = PathTemplate::new(Path::new(template)).expect("a template");
        let path = template
            .fill(&client.parse().expect("a client id"), &target.parse().expect("a target id"));
        let path = path.display().to_string();
        assert!(template.made(&path), "{path}");
        path
    }

    #[test]
    fn what_is_filled_in_is_one_name() {
        assert_eq!(filled("/o/{target}.ndjson", "c", "orders.eu"), "/o/orders.eu.ndjson");
        assert_eq!(filled("/o/{client}/{target}.x", "till-1", "a"), "/o/till-1/a.x");
        assert_eq!(filled("/o/{target}.x", "c", "/etc/passwd"), "/o/%2Fetc%2Fpasswd.x");
        assert_eq!(filled("/o/{client}/x", "..", "a"), "/o/%2E./x");
        assert_eq!(filled("/o/{target}.x", "c", "50%~"), "/o/50%25%7E.x");
        let long = filled("/o/{target}.x", "c", &"ä".repeat(120));
        assert!(long.len() < 3 + 160 + 36, "{long}");
        assert_ne!(long, filled("/o/{target}.x", "c", &("ä".repeat(119) + "b")));
    }

    #[test]
    fn other_paths_are_not_its_own() {
        let template = PathTemplate::new(Path::new("/o/{target}.log")).expect("a template");
        for other in ["/o/a.ndjson", "/o/.log", "/p/a.log", "/o/a/b.log", "/o/a.log.1"] {
            assert!(!template.made(other), "{other}");
        }
        for wrong in ["/o/{lane}.x", "/o/{target}", "/o/{target.x"] {
            assert!(PathTemplate::new(Path::new(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(template.folder(), Path::new("/o"));
    }
}
