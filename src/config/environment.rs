//! The environment of the process, as far as a config depends on it.
//!
//! Decides which variables override keys of the file. Never changes the environment, and nothing
//! else in this room reads it, so that a test can bring its own.

use std::collections::BTreeMap;

use paquebot_protocol::ClientId;

/// What the names of all our variables begin with.
const PREFIX: &str = "PAQUEBOT_";
/// Stands in a variable's name for the dot of a key.
const DOT: &str = "__";
/// The longest client id, in characters, all of one byte (INTERFACE, section 1).
const CLIENT_ID_MAX: usize = 64;

/// Variables and host name: all that a config takes from outside its file.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    host_name: String,
}

impl Environment {
    /// An environment of these variables only, on a host without a name.
    #[must_use]
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect(), host_name: String::new() }
    }

    /// The environment of this process. Variables that are not UTF-8 are as good as not set.
    #[must_use]
    pub fn of_this_process() -> Self {
        let utf8 = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self::of(utf8).with_host_name(host_name)
    }

    /// The same, on a host of this name.
    #[must_use]
    pub fn with_host_name(mut self, host_name: impl Into<String>) -> Self {
        self.host_name = host_name.into();
        self
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The host's name, reduced to what a client id may hold; none when nothing is left of it.
    pub(super) fn client_id(&self) -> Option<ClientId> {
        let reduced: String =
            self.host_name.trim().chars().take(CLIENT_ID_MAX).map(allowed).collect();
        if reduced.chars().all(|c| c == '-') { None } else { reduced.parse().ok() }
    }

    /// The variable that overrides `key`, and its value when it is set.
    pub(super) fn override_of(&self, key: &str) -> Option<(String, &str)> {
        let name = variable_of(key);
        let value = self.get(&name)?;
        Some((name, value))
    }

    /// Every variable that wants to override a key, with that key.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, String)> {
        self.variables.keys().filter_map(|name| {
            let key = name.strip_prefix(PREFIX)?;
            name.contains(DOT).then(|| (name.as_str(), key.to_lowercase().replace(DOT, ".")))
        })
    }
}

/// The variable that overrides `key`: `PAQUEBOT_CLIENT__SPOOL__MAX_BYTES` for
/// `client.spool.max_bytes`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', DOT))
}

/// Whether `key` lies in the table `section`, at any depth.
pub(super) fn is_below(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

fn allowed(c: char) -> char {
    if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }
}
