//! What only one part of a config may have: names, addresses, patterns, files and folders.
//!
//! Decides which two claims collide. Never looks at the disk: two paths are the same when they are
//! the same text, without `.` and `..`. What links hide is found by the locks at run time.

use std::path::{Component, Path, PathBuf};

use paquebot_protocol::TargetPattern;

use super::address::Listen;
use super::client::ADMIN_SOCKET;
use super::document::Place;
use super::problem::Fault;

/// A claim to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// A source's name.
    SourceName(String),
    /// A handler's name.
    HandlerName(String),
    /// Packets to the targets of a pattern.
    Pattern(TargetPattern),
    /// How packets to the targets of a pattern are kept, by one of several policies.
    Policy { policy: String, targets: TargetPattern },
    /// Writing a file.
    File(PathBuf),
    /// Keeping a store in a folder, with the door for commands.
    DataDir(PathBuf),
    /// Listening somewhere.
    Listen(Listen),
    /// Trying a server's address in turn.
    Server(String),
    /// A web page's origin that is let in by one source.
    Origin { source: String, origin: String },
    /// Reading the standard input.
    StandardInput,
}

/// The claims made so far.
#[derive(Debug, Default)]
pub(super) struct Claims {
    made: Vec<(Claim, String, Place)>,
}

impl Claims {
    /// Makes a claim for `key`, which stands at `place`; says who has made it before.
    pub(super) fn make(&mut self, claim: Claim, key: &str, place: &Place) -> Option<Fault> {
        let earlier = self.made.iter().find(|(earlier, _, _)| earlier.collides(&claim));
        let taken = earlier.map(|(_, by, first)| Fault::Taken {
            expected: claim.expected(),
            found: claim.found(),
            by: by.clone(),
            first: first.clone(),
        });
        self.made.push((claim, key.to_owned(), place.clone()));
        taken
    }
}

impl Claim {
    fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Listen(Listen::Tcp(ours)), Self::Listen(Listen::Tcp(theirs))) => {
                ours.collides(theirs)
            }
            (Self::Listen(Listen::Unix(ours)), Self::Listen(Listen::Unix(theirs)))
            | (Self::File(ours), Self::File(theirs))
            | (Self::DataDir(ours), Self::DataDir(theirs)) => plain(ours) == plain(theirs),
            (Self::DataDir(folder), Self::Listen(Listen::Unix(socket)))
            | (Self::Listen(Listen::Unix(socket)), Self::DataDir(folder)) => {
                plain(&folder.join(ADMIN_SOCKET)) == plain(socket)
            }
            (
                Self::Policy { policy: ours, targets: earlier },
                Self::Policy { policy: theirs, targets: later },
            ) => earlier == later || (ours != theirs && earlier.covers(later)),
            (ours, theirs) => ours == theirs,
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::SourceName(_) | Self::HandlerName(_) => "a name of its own",
            Self::Pattern(_) => "a pattern that no handler has yet",
            Self::Policy { .. } => "a pattern that no earlier policy takes whole",
            Self::File(_) => "a file of its own",
            Self::DataDir(_) => "a folder of its own",
            Self::Listen(_) => "an address of its own",
            Self::Server(_) | Self::Origin { .. } => "each entry once",
            Self::StandardInput => "one source that reads the standard input",
        }
    }

    fn found(&self) -> String {
        match self {
            Self::SourceName(text)
            | Self::HandlerName(text)
            | Self::Server(text)
            | Self::Origin { origin: text, .. } => format!("{text:?}"),
            Self::Pattern(pattern) | Self::Policy { targets: pattern, .. } => {
                format!("\"{pattern}\"")
            }
            Self::File(path) | Self::DataDir(path) => path.display().to_string(),
            Self::Listen(listen) => listen.to_string(),
            Self::StandardInput => "another".to_owned(),
        }
    }
}

/// A path without `.` and `..`, as far as its text alone tells.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
